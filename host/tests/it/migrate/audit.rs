//! The audit log: what cannot be done to it, and what shows when somebody did it anyway.

use nself::audit::{self, Broken, Entry, Filter};
use tokio_postgres::Client;
use uuid::Uuid;

use super::migrated;

const FAMILY: Uuid = Uuid::from_u128(7);

async fn append_five(client: &Client) {
    for n in 0..5 {
        let entry = Entry {
            family_id: (n % 2 == 1).then_some(FAMILY),
            ..Entry::new("key.made", format!("key/{n}"))
        };
        audit::append(client, &entry).await.unwrap();
    }
}

#[tokio::test]
async fn entries_are_chained_per_stream_and_read_newest_first() {
    let database = migrated().await;
    let client = database.client().await;
    append_five(&client).await;
    assert_eq!(audit::verify(&client, None).await.unwrap(), []);
    let records = audit::tail(
        &client,
        &Filter {
            limit: 2,
            ..Filter::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(
        records
            .iter()
            .map(|record| record.target.as_deref())
            .collect::<Vec<_>>(),
        [Some("key/4"), Some("key/3")]
    );
    assert_eq!(
        (
            records[0].stream.as_str(),
            records[0].sequence,
            records[0].source.as_str()
        ),
        ("system", 3, "/nself")
    );
    let family = audit::tail(
        &client,
        &Filter {
            family_id: Some(FAMILY),
            ..Filter::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(
        family
            .iter()
            .map(|record| record.sequence)
            .collect::<Vec<_>>(),
        [2, 1]
    );
}

#[tokio::test]
async fn change_is_refused_even_to_the_owner() {
    let database = migrated().await;
    let client = database.client().await;
    append_five(&client).await;
    for sql in [
        "UPDATE nself.audit_log SET actor = 'x'",
        "DELETE FROM nself.audit_log",
        "TRUNCATE nself.audit_log",
        "DELETE FROM nself.audit_heads",
        "SET session_replication_role = replica; DELETE FROM nself.audit_log",
    ] {
        let error = client.batch_execute(sql).await.expect_err(sql);
        assert!(
            error
                .as_db_error()
                .unwrap()
                .message()
                .starts_with("the audit log is append-only"),
            "{sql}: {error}"
        );
    }
}

#[tokio::test]
async fn a_row_that_is_written_past_the_function_is_chained_too() {
    let database = migrated().await;
    let client = database.client().await;
    append_five(&client).await;
    let sql =
        "INSERT INTO nself.audit_log (stream, sequence, source, actor, action, previous_hash, hash)
               VALUES ('system', 1, 'a', 'b', 'c', '', '')";
    client.batch_execute(sql).await.unwrap();
    assert_eq!(audit::verify(&client, None).await.unwrap(), []);
}

async fn check_detected(tamper: &str, expected: Broken) {
    let database = migrated().await;
    let client = database.client().await;
    append_five(&client).await;
    let off = "ALTER TABLE nself.audit_log DISABLE TRIGGER ALL; ALTER TABLE nself.audit_heads DISABLE TRIGGER ALL;";
    client
        .batch_execute(&format!("{off} {tamper}"))
        .await
        .unwrap();
    assert_eq!(
        audit::verify(&client, None).await.unwrap(),
        [expected],
        "{tamper}"
    );
    assert_eq!(
        audit::verify(&client, Some(&FAMILY.to_string()))
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn tampering_shows_at_the_first_broken_row() {
    let broken = |sequence, problem: &str| Broken {
        stream: "system".into(),
        sequence,
        problem: problem.into(),
    };
    let only = "WHERE stream = 'system' AND sequence";
    check_detected(
        &format!("UPDATE nself.audit_log SET actor = 'x' {only} = 2"),
        broken(2, "the row was changed"),
    )
    .await;
    check_detected(
        &format!("UPDATE nself.audit_log SET at = at + '1 s' {only} = 1"),
        broken(1, "the row was changed"),
    )
    .await;
    check_detected(
        &format!("DELETE FROM nself.audit_log {only} = 2"),
        broken(3, "the row before it is missing"),
    )
    .await;
    check_detected(
        &format!("DELETE FROM nself.audit_log {only} = 3"),
        broken(3, "the last rows are missing"),
    )
    .await;
    check_detected(
        &format!("DELETE FROM nself.audit_log {only} > 0"),
        broken(1, "the last rows are missing"),
    )
    .await;
    check_detected(
        "DELETE FROM nself.audit_heads WHERE stream = 'system'",
        broken(4, "the head of the stream is missing"),
    )
    .await;
    let rehash = format!(
        "UPDATE nself.audit_log SET actor = 'x' {only} = 2; UPDATE nself.audit_log a SET hash = nself.audit_hash(a) {only} = 2"
    );
    check_detected(&rehash, broken(3, "it does not continue the row before it")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_make_one_chain() {
    let database = migrated().await;
    let writers = (0..8).map(async |_| {
        let client = database.client().await;
        for _ in 0..25 {
            audit::append(&client, &Entry::new("key.used", "key/1"))
                .await
                .unwrap();
        }
    });
    futures_util::future::join_all(writers).await;
    let client = database.client().await;
    assert_eq!(audit::verify(&client, None).await.unwrap(), []);
    assert_eq!(
        audit::tail(&client, &Filter::default()).await.unwrap()[0].sequence,
        200
    );
}
