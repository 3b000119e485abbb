//! What breaks on the way, and what is left of it: nothing that was half done, and nobody who cannot go on.

mod clocks;
mod crowd;
mod letters;
mod postbox;

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use self::postbox::Postbox;
use crate::{
    rows::rows,
    stage::{PASSWORD, Session, Stage},
};

#[tokio::test]
async fn a_sign_in_that_loses_the_database_leaves_nothing_and_works_when_it_is_back() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let before = rows(&stage).await;
    let holder = stage.host.sql().await;
    holder
        .batch_execute("begin; lock table auth.sessions in exclusive mode")
        .await
        .expect("the table is held");
    // The password is right, and the session is about to be written when the database goes.
    let signing_in = stage.login("ada@example.org", PASSWORD);
    let losing = async {
        waits(&stage, "auth.sessions").await;
        stage.host.database_away().await
    };
    let (lost, outage) = tokio::join!(signing_in, losing);
    assert_eq!(lost.status, 503, "{}", lost.text());
    assert!(lost.headers.contains_key("retry-after") || lost.code() == "DATABASE_UNAVAILABLE");
    assert!(lost.json().get("data").is_none());
    let refused = stage.login("ada@example.org", PASSWORD).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    outage.end().await;
    drop(holder);
    assert_eq!(rows(&stage).await, before, "nothing was half written");
    let session = eventually("the database is back", async || {
        let answer = stage.login("ada@example.org", PASSWORD).await;
        (answer.status == 200).then(|| Session(answer.data()))
    })
    .await;
    let _ = stage
        .get_as(&session, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}

/// Until a statement waits for what the test holds.
async fn waits(stage: &Stage, what: &str) {
    let sql = stage.host.sql().await;
    eventually(&format!("somebody waiting for {what}"), async || {
        let waiting = "select from pg_locks l join pg_database d on d.oid = l.database \
             where not l.granted and d.datname = current_database()";
        let waiting = sql.query(waiting, &[]).await.expect("the locks are listed");
        (!waiting.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_killed_between_a_rotation_and_its_answer_signs_nobody_out() {
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .program()
        .config("[plugins.mail.listen]\n1025 = 0")
        .config("[plugins.auth.config]\nsign_up = \"open\"\nrefresh_grace_seconds = 300");
    let mut stage = Stage {
        host: host.start().await,
    };
    let ada = stage.person("ada@example.org").await;
    let sql = stage.host.sql().await;
    // The statement that turns the token has done its work and waits before its end.
    sql.batch_execute(
        "create function public.hold() returns trigger language plpgsql as \
           $$ begin perform pg_advisory_xact_lock(7); return null; end $$; \
         create trigger hold after update on auth.sessions execute function public.hold(); \
         select pg_advisory_lock(7)",
    )
    .await
    .expect("the rotation can be held");
    let watcher = stage.host.sql().await;
    let address = stage.host.address();
    let token = ada.refresh().to_owned();
    let asking = tokio::spawn(async move { ask_without_an_answer(address, &token).await });
    waits(&stage, "the rotation's lock").await;
    stage.host.kill().await;
    assert_eq!(
        asking.await.expect("it was asked"),
        "",
        "there was no answer"
    );
    // The database does not know that nobody waits any more.
    sql.batch_execute("select pg_advisory_unlock(7)")
        .await
        .expect("it goes on");
    let generation = eventually("the rotation is committed", async || {
        let generation = "select generation from auth.sessions";
        let row = watcher
            .query_one(generation, &[])
            .await
            .expect("one session");
        let generation: i32 = row.get(0);
        (generation > 1).then_some(generation)
    })
    .await;
    assert_eq!(generation, 2);
    sql.batch_execute("drop trigger hold on auth.sessions")
        .await
        .expect("it is gone");

    stage.host.start_again().await;
    let renewed = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    let _ = stage
        .get_as(&renewed, "/auth/me")
        .send()
        .await
        .expect_status(200);
    let next = Session(
        stage
            .refresh(renewed.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_ne!(next.refresh(), renewed.refresh(), "the chain goes on");
    let _ = stage
        .get_as(&next, "/auth/me")
        .send()
        .await
        .expect_status(200);
    drop((sql, watcher));
    stage.host.stop().await;
}

/// Kills the host while a statement of somebody's request waits for what the test holds, and ends the statement too.
async fn dies_while_asked(stage: &mut Stage, session: &Session, path: &'static str, body: &Value) {
    let address = stage.host.address();
    let (access, body) = (session.access().to_owned(), body.to_string());
    let asking =
        tokio::spawn(
            async move { send_without_an_answer(address, path, Some(&access), &body).await },
        );
    waits(stage, path).await;
    stage.host.kill().await;
    assert_eq!(
        asking.await.expect("it was asked"),
        "",
        "there was no answer"
    );
    // The database does not know that nobody waits any more.
    let sql = stage.host.sql().await;
    let end = "select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database \
               where not l.granted and d.datname = current_database()";
    sql.query(end, &[]).await.expect("nobody waits");
}

/// Asks for the next tokens; what comes until the connection ends.
async fn ask_without_an_answer(address: std::net::SocketAddr, token: &str) -> String {
    let body = json!({"refresh_token": token}).to_string();
    send_without_an_answer(address, "/auth/refresh", None, &body).await
}

/// Sends a request; what comes until the connection ends.
async fn send_without_an_answer(
    address: std::net::SocketAddr,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stream = tokio::net::TcpStream::connect(address).await;
    let mut stream = stream.expect("the host listens");
    let token = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{token}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it hears");
    let mut answer = Vec::new();
    // A connection that is reset has said nothing either.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_registers_while_the_mail_server_is_down_is_mailed_when_it_is_back() {
    let port = Postbox::open().await.close();
    let stage = Stage::with(&format!(
        "[plugins.mail.config]\ndelivery = \"smtp\"\nsmtp_host = \"127.0.0.1\"\nsmtp_port = {port}\nsmtp_tls = \"none\"\n\
         from = \"Us <us@example.org>\"\nretry_first_seconds = 1\nretry_last_seconds = 1"
    ))
    .await;
    let account = json!({"email": "ada@example.org", "password": PASSWORD});
    let _ = stage
        .post("/auth/register", &account)
        .await
        .expect_status(202);
    let sql = stage.host.sql().await;
    eventually("a try that failed", async || {
        let tried = "select from mail.messages where attempts > 0 and last_error is not null";
        let tried = sql.query(tried, &[]).await.expect("the queue is read");
        (!tried.is_empty()).then_some(())
    })
    .await;
    let postbox = Postbox::open_at(port).await;
    let token = postbox.token_of("verify-email").await;
    let proved = stage
        .post("/auth/verify-email", &json!({"token": token}))
        .await;
    let ada = Session(proved.expect_status(200).data());
    let _ = stage
        .get_as(&ada, "/auth/me")
        .send()
        .await
        .expect_status(200);
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    assert_eq!(postbox.count(), 1, "mailed once");
    drop(sql);
    stage.host.stop().await;
}
