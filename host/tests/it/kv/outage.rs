//! Stores that go away and come back, and what their errors tell.

use std::{sync::Arc, time::Instant};

use nself::capability::kv::{KvError, Store};
use nself_plugin_api::abi::{bytes::Bytes, error::Error};

use super::{Fixture, RedisServer, assert_code, bytes, handle, text, until};

/// A password that must not appear anywhere.
const PASSWORD: &str = "hunter2";

#[track_caller]
fn assert_silent(error: &Error) {
    for text in [&error.message, &error.cause, &error.details].map(Bytes::to_text) {
        assert!(!text.contains(PASSWORD), "the password is in {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_die_and_come_back() {
    let Some(mut server) = RedisServer::start(Some(PASSWORD)).await else {
        return;
    };
    let kv = handle(Arc::new(Store::redis(&server.url()).unwrap()), "notes");
    kv.set("a".into(), bytes("x"), 0).await.unwrap();
    assert_eq!(kv.increment("n".into(), 1, 0).await.unwrap(), 1);

    server.kill();
    for _ in 0..3 {
        let asked = Instant::now();
        let error = assert_code(kv.get("a".into()).await, "KV_UNAVAILABLE");
        assert_eq!(error.status, 503);
        assert!(
            error.retry_after_ms > 0 && asked.elapsed().as_secs() < 5,
            "refused soon"
        );
        assert_silent(&error);
    }

    server.run().await;
    kv.set("a".into(), bytes("y"), 0)
        .await
        .expect("the first call after its return succeeds");
    assert_eq!(text(&kv, "a").await.as_deref(), Some("y"));
    assert_eq!(
        kv.increment("n".into(), 1, 0).await.unwrap(),
        1,
        "a new server gets the scripts again"
    );
}

#[tokio::test]
async fn the_host_starts_before_redis() {
    let Some(mut server) = RedisServer::start(None).await else {
        return;
    };
    server.kill();
    let kv = handle(Arc::new(Store::redis(&server.url()).unwrap()), "notes");
    assert_code(kv.get("a".into()).await, "KV_UNAVAILABLE");
    server.run().await;
    until("the store is there", async || {
        kv.get("a".into()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let Some(server) = RedisServer::start(Some("another")).await else {
        return;
    };
    let url = format!("redis+unix://{}?pass={PASSWORD}", server.socket().display());
    let kv = handle(Arc::new(Store::redis(&url).unwrap()), "notes");
    let error = assert_code(kv.get("a".into()).await, "KV_UNAVAILABLE");
    assert_silent(&error);
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_and_not_shown() {
    for url in [
        "",
        "hunter2",
        "http://u:hunter2@host",
        "redis://u:hunter2@host:port/0",
        "redis://:hunter2@h/x",
    ] {
        let error = Store::redis(url).expect_err(url);
        assert!(matches!(error, KvError::Url(_)), "{url}");
        assert!(
            !format!("{error} {error:?}").contains(PASSWORD),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_connections_may_be_cut() {
    let fixture = Fixture::postgres().await.expect("Postgres is always there");
    let kv = fixture.plugin("notes");
    kv.set("a".into(), bytes("x"), 0).await.unwrap();
    let admin = fixture.database().client().await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.execute(cut, &[]).await.unwrap();
    until("a new connection serves", async || {
        match kv.get("a".into()).await {
            Ok(_) => true,
            Err(error) => {
                assert_code::<()>(Err(error), "KV_UNAVAILABLE");
                false
            }
        }
    })
    .await;
    admin.batch_execute("DROP TABLE nself.kv").await.unwrap();
    let error = assert_code(kv.get("a".into()).await, "KV_UNAVAILABLE");
    assert!(
        error.cause.to_text().contains("nself.kv"),
        "the log says what is wrong: {}",
        error.cause.to_text()
    );
    assert!(
        !error.message.to_text().contains("nself.kv"),
        "the caller is not told"
    );
}

#[tokio::test]
async fn the_sweep_takes_expired_rows_in_batches() {
    let fixture = Fixture::postgres().await.expect("Postgres is always there");
    let kv = fixture.plugin("notes");
    for key in ["a", "b", "c", "d", "e"] {
        kv.set(key.into(), bytes("x"), 1).await.unwrap();
    }
    kv.set("stays".into(), bytes("x"), 0).await.unwrap();
    until("the last expires", async || text(&kv, "e").await.is_none()).await;
    let mut batches = Vec::new();
    for _ in 0..4 {
        batches.push(fixture.store.sweep(2).await.unwrap());
    }
    assert_eq!(batches, [2, 2, 1, 0]);
    assert_eq!(text(&kv, "stays").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn a_redis_that_accepts_and_never_answers_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("redis.sock");
    let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let url = format!("redis+unix://{}", socket.display());
    let kv = handle(Arc::new(Store::redis(&url).unwrap()), "notes");
    assert_code(kv.get("a".into()).await, "KV_UNAVAILABLE");
}

#[tokio::test]
async fn a_row_that_stays_locked_ends_in_a_timeout() {
    let fixture = Fixture::postgres().await.expect("Postgres is always there");
    let kv = fixture.plugin("notes");
    kv.increment("n".into(), 1, 0).await.unwrap();
    let mut admin = fixture.database().client().await;
    let holder = admin.transaction().await.unwrap();
    holder
        .execute("SELECT * FROM nself.kv FOR UPDATE", &[])
        .await
        .unwrap();
    let error = assert_code(kv.increment("n".into(), 1, 0).await, "KV_UNAVAILABLE");
    assert!(
        error.cause.to_text().contains("did not answer"),
        "{}",
        error.cause.to_text()
    );
    holder.rollback().await.unwrap();
    assert!(
        kv.increment("n".into(), 1, 0).await.unwrap() >= 2,
        "it works again"
    );
}

#[tokio::test]
async fn a_server_that_hangs_up_on_tls_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://:{PASSWORD}@{}", listener.local_addr().unwrap());
    let kv = handle(Arc::new(Store::redis(&url).unwrap()), "notes");
    let hang_up = async { while listener.accept().await.is_ok() {} };
    let error = tokio::select! {
        answer = kv.get("a".into()) => assert_code(answer, "KV_UNAVAILABLE"),
        () = hang_up => unreachable!("the listener stays"),
    };
    assert_silent(&error);
}
