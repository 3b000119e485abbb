//! `mail.post`: a mail that is asked for in a transaction is on its way exactly when that commits, whoever dies in between.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::stage::{catching, caught, metric, plain, progress, reaches};

/// Asks for a mail as a plugin does in a transaction of its own; its id.
async fn post(sql: &Client, letter: &Value) -> String {
    let asked = "select mail.post($1::text::jsonb)::text";
    let row = sql.query_one(asked, &[&letter.to_string()]).await;
    row.expect("it is taken").get(0)
}

async fn run(sql: &Client, statement: &str) {
    sql.batch_execute(statement).await.expect(statement);
}

async fn count(sql: &Client, table: &str) -> i64 {
    let counting = format!("select count(*) from {table}");
    let row = sql.query_one(&counting, &[]).await;
    row.expect("rows are counted").get(0)
}

#[tokio::test]
async fn a_mail_is_on_its_way_exactly_when_its_transaction_commits() {
    let host = catching().await;
    let sql = host.sql().await;
    run(&sql, "begin").await;
    post(&sql, &plain("nobody@example.org")).await;
    run(&sql, "rollback").await;
    run(&sql, "begin").await;
    let letter = json!({
        "to": "ada@example.org", "template": "auth/otp", "language": "de", "variables": {"code": "12345678", "expires_minutes": 5},
    });
    let id = post(&sql, &letter).await;
    run(&sql, "commit").await;
    let sent = reaches(&host, &id, "sent").await;
    assert_eq!(sent["attempts"], 1);
    let mail = &caught(&host, 1).await[0];
    assert_eq!(mail["Raw"]["To"], json!(["ada@example.org"]));
    assert_eq!(count(&sql, "mail.letters").await, 0);
    assert_eq!(count(&sql, "mail.messages").await, 1);
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn a_courier_that_dies_while_it_writes_a_mail_has_done_nothing_and_the_next_one_does_it_once()
{
    let host = catching().await;
    let (sql, holder) = (host.sql().await, host.sql().await);
    run(
        &holder,
        "create function public.hold() returns trigger language plpgsql as \
           $$ begin perform pg_advisory_xact_lock(7); return null; end $$; \
         create trigger hold after insert on mail.messages for each row execute function public.hold(); \
         select pg_advisory_lock(7)",
    )
    .await;
    let id = post(&sql, &plain("ada@example.org")).await;
    let killed = eventually("the courier in the middle of it", async || {
        let kill = "select pg_terminate_backend(pid) from pg_locks l join pg_database d on d.oid = l.database \
                    where l.locktype = 'advisory' and not l.granted and d.datname = current_database()";
        let killed = sql.query(kill, &[]).await.expect("it can be killed");
        (!killed.is_empty()).then_some(killed.len())
    })
    .await;
    assert_eq!(killed, 1);
    assert_eq!(progress(&host, &id).await["status"], "queued");
    run(
        &holder,
        "drop trigger hold on mail.messages; select pg_advisory_unlock(7)",
    )
    .await;
    reaches(&host, &id, "sent").await;
    caught(&host, 1).await;
    assert_eq!(count(&sql, "mail.messages").await, 1);
    drop((sql, holder));
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_mail_has_failed_and_keeps_no_other_one_waiting() {
    let host = catching().await;
    let sql = host.sql().await;
    for letter in [json!([]), json!({"subject": "a"}), json!({"to": 7})] {
        let asked = "select mail.post($1::text::jsonb)";
        let refused = sql.query_one(asked, &[&letter.to_string()]).await;
        let code = refused.expect_err("it is no letter").code().cloned();
        assert_eq!(code.expect("a state").code(), "22023", "{letter}");
    }
    let mut ids = Vec::new();
    for letter in [
        json!({"to": "ada@example.org", "template": "auth/nothing"}),
        json!({"to": "no address", "subject": "a", "text": "b"}),
        json!({"to": "ada@example.org", "colour": "red"}),
    ] {
        ids.push(post(&sql, &letter).await);
    }
    let good = post(&sql, &plain("ada@example.org")).await;
    reaches(&host, &good, "sent").await;
    for id in ids {
        let failed = progress(&host, &id).await;
        assert_eq!(failed["status"], "failed", "{failed}");
        let error = failed["last_error"].as_str().expect("there is a reason");
        assert!(error.starts_with("never written: "), "{error}");
        let again = host.post(&format!("/mail/messages/{id}/retry")).operator();
        let again = again.send().await.expect_status(409);
        assert_eq!(again.code(), "MAIL_NOT_RETRYABLE");
    }
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn a_mail_to_nobody_is_forgotten_and_one_to_a_listed_address_is_not_sent() {
    let host = catching().await;
    let sql = host.sql().await;
    let add = host.post("/mail/suppressions").operator();
    let add = add.json(&json!({"address": "eve@example.org"}));
    let _ = add.send().await.expect_status(201);
    post(&sql, &json!({"to": null})).await;
    let listed = post(&sql, &plain("Eve@example.org")).await;
    reaches(&host, &listed, "suppressed").await;
    assert_eq!(count(&sql, "mail.letters").await, 0);
    assert_eq!(count(&sql, "mail.messages").await, 1);
    assert_counted(&host).await;
    drop(sql);
    host.stop().await;
}

async fn assert_counted(host: &TestHost) {
    let counted = eventually("the metric", async || {
        let counted = metric(host, "suppressed_total").await;
        (counted > 0.0).then_some(counted)
    })
    .await;
    assert!((counted - 1.0).abs() < f64::EPSILON, "{counted}");
}
