//! SQL functions that come with a capability: for whoever was granted it, and nothing else of the provider's schema.

use std::{fs, io::Write as _};

use nself::plugin::registry::{ChangeError, NewSigner};
use nself_plugin_testkit::{LIMIT, TestHost, library};
use tokio_postgres::error::SqlState;

use crate::{fixture, started};

async fn both() -> TestHost {
    fixture()
        .plugin("nself-plugin-fixture-caller")
        .start()
        .await
}

async fn check_denied(host: &TestHost, sql: &str) {
    let caller = host.sql_as("fixture-caller").await;
    let denied = caller.query(sql, &[]).await.expect_err(sql);
    let code = Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(denied.code(), code, "{sql}: {denied:?}");
}

async fn check_kept(host: &TestHost, name: &str) {
    let caller = host.sql_as("fixture-caller").await;
    let kept = caller.query_one("select fixture.keep($1)", &[&name]).await;
    let kept: String = kept.expect("it was granted").get(0);
    assert_eq!(
        kept, "/plugins/fixture-caller",
        "the function knows who calls"
    );
}

/// Another build of the fixture, as far as the host can tell.
async fn upgrade(host: &TestHost) {
    let directory = tempfile::tempdir().expect("there is room for a file");
    let other = directory.path().join("other.so");
    fs::copy(library("nself-plugin-fixture").path, &other).expect("a file can be copied");
    let file = fs::OpenOptions::new().append(true).open(&other);
    let grown = file.and_then(|mut file| file.write_all(b"another build"));
    grown.expect("a copy can be changed");
    let upgraded = host
        .registry()
        .upgrade_file(&other, LIMIT, NewSigner::Refuse)
        .await;
    assert!(upgraded.expect("it is a plugin").replaced);
}

#[tokio::test]
async fn who_has_the_capability_calls_its_functions_and_reaches_nothing_else() {
    let host = both().await;
    check_kept(&host, "a").await;
    for sql in [
        "select * from fixture.items",
        "insert into fixture.items (name) values ('b')",
        "select fixture.forget('a')",
        "create function fixture.mine() returns int language sql return 1",
    ] {
        check_denied(&host, sql).await;
    }
    let fixture = host.sql_as("fixture").await;
    let own = fixture.query_one("select fixture.forget('a')", &[]).await;
    own.expect("in its own schema a plugin calls everything");
    host.stop().await;
}

#[tokio::test]
async fn functions_are_granted_when_either_side_comes_later_or_is_exchanged() {
    let host = both().await;
    let registry = host.registry();
    let disabled = registry.disable("fixture", LIMIT, true).await;
    let _ = disabled.expect("all together");
    for id in ["fixture", "fixture-caller"] {
        let _ = registry.enable(id).await.expect("it starts again");
    }
    check_kept(&host, "a").await;
    let login = nself::postgres::roles::login_name(host.database().name(), "fixture-caller");
    let lost = format!(
        "revoke execute on function fixture.keep(text) from \"{login}\";\
         grant execute on function fixture.forget(text) to \"{login}\""
    );
    let sql = host.sql().await;
    sql.batch_execute(&lost).await.expect("a superuser may");
    check_denied(&host, "select fixture.keep('b')").await;
    upgrade(&host).await;
    check_kept(&host, "b").await;
    check_denied(&host, "select fixture.forget('b')").await;
    host.stop().await;
}

#[tokio::test]
async fn a_provider_without_a_function_that_it_offers_does_not_start() {
    let host = started().await;
    let registry = host.registry();
    let sql = host.sql().await;
    for (change, expected) in [
        (
            "alter function fixture.keep(text) reset search_path",
            "the function fixture.keep(text) is SECURITY DEFINER and has no search_path",
        ),
        (
            "drop function fixture.keep(text)",
            "the function fixture.keep(text), which comes with a capability, does not exist",
        ),
    ] {
        let _ = registry.disable("fixture", LIMIT, false).await;
        sql.batch_execute(change).await.expect("a superuser may");
        let refused = registry.enable("fixture").await;
        let refused = refused.expect_err(expected);
        assert!(matches!(refused, ChangeError::Start(_)), "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
    host.stop().await;
}
