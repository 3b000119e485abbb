//! The audit log: what cannot be done to it, and what shows when somebody did it anyway.

use std::os::unix::fs::PermissionsExt as _;

use jiff::civil::Date;
use nself::audit::{
    self, Broken, Entry, Filter, archive,
    months::{self, MonthError},
    witness::Heads,
};
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
        ("system-0", 3, "/nself")
    );
    let family = audit::tail(&client, &Filter::of_family(FAMILY))
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
               VALUES ('system-1', 1, 'a', 'b', 'c', '', '')";
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
        stream: "system-0".into(),
        sequence,
        problem: problem.into(),
    };
    let only = "WHERE stream = 'system-0' AND sequence";
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
        "DELETE FROM nself.audit_heads WHERE stream = 'system-0'",
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

/// Writes a chain of the house into months that are over, as the trigger would have written it then.
async fn write_history(client: &Client, months: &[&str]) {
    for month in months {
        let (year, number) = month.split_once('-').unwrap();
        let partition = format!("nself.audit_log_{year}_{number}");
        let sql = format!(
            "CREATE TABLE {partition} PARTITION OF nself.audit_log
                 FOR VALUES FROM ('{month}-01T00:00Z') TO ('{month}-01T00:00Z'::timestamptz AT TIME ZONE 'UTC' + interval '1 month');
             ALTER TABLE {partition} DISABLE TRIGGER USER;
             DO $$
             DECLARE
                 entry nself.audit_log;
                 head nself.audit_heads;
             BEGIN
                 FOR n IN 1..3 LOOP
                     INSERT INTO nself.audit_heads VALUES ('system-0', 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
                     SELECT * INTO head FROM nself.audit_heads WHERE stream = 'system-0';
                     entry := ROW('system-0', head.sequence + 1, nself.uuid_v7(), '{month}-15T12:00Z'::timestamptz + n * interval '1 s',
                         '/nself', '/nself', 'key.made', 'key/' || n, '{{}}', NULL, head.hash, NULL);
                     entry.hash := nself.audit_hash(entry);
                     INSERT INTO nself.audit_log SELECT entry.*;
                     UPDATE nself.audit_heads SET sequence = entry.sequence, hash = entry.hash WHERE stream = 'system-0';
                 END LOOP;
             END $$;
             ALTER TABLE {partition} ENABLE ALWAYS TRIGGER audit_log_no_change;"
        );
        client.batch_execute(&sql).await.expect(month);
    }
}

fn date(text: &str) -> Date {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_month_that_is_over_is_sealed_once_and_the_seal_is_chained() {
    let database = migrated().await;
    let mut client = database.client().await;
    write_history(&client, &["2026-01", "2026-02"]).await;
    let sealed = months::close(&mut client).await.unwrap();
    assert_eq!(sealed, [date("2026-01-01"), date("2026-02-01")]);
    assert_eq!(months::close(&mut client).await.unwrap(), []);
    let entries = audit::tail(
        &client,
        &Filter {
            action: Some("audit.*".into()),
            ..Filter::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].details["entries"], 3);
    assert_eq!(audit::verify(&client, None).await.unwrap(), []);
    let refused = client
        .batch_execute("UPDATE nself.audit_seals SET entries = 1")
        .await
        .unwrap_err();
    assert!(
        refused
            .as_db_error()
            .unwrap()
            .message()
            .starts_with("the audit log is append-only")
    );
}

#[tokio::test]
async fn a_sealed_month_that_was_rewritten_whole_is_named_by_its_seal() {
    let database = migrated().await;
    let mut client = database.client().await;
    write_history(&client, &["2026-01"]).await;
    months::close(&mut client).await.unwrap();
    // A superuser changes the last entry and mends the chain behind it, the head included.
    client
        .batch_execute(
            "ALTER TABLE nself.audit_log_2026_01 DISABLE TRIGGER USER;
             UPDATE nself.audit_log_2026_01 SET actor = 'x' WHERE sequence = 3;
             UPDATE nself.audit_log_2026_01 a SET hash = nself.audit_hash(a) WHERE sequence = 3;
             UPDATE nself.audit_heads h SET hash = a.hash FROM nself.audit_log_2026_01 a
             WHERE h.stream = a.stream AND h.sequence = a.sequence",
        )
        .await
        .unwrap();
    let broken = audit::verify(&client, None).await.unwrap();
    let problems: Vec<&str> = broken.iter().map(|place| &*place.problem).collect();
    assert_eq!(problems, ["the month 2026-01 is not what was sealed"]);
}

#[tokio::test]
async fn old_months_go_into_files_that_prove_themselves_and_the_chain_goes_on() {
    let database = migrated().await;
    let mut client = database.client().await;
    let directory = tempfile::tempdir().unwrap();
    write_history(&client, &["2026-01", "2026-02", "2026-03"]).await;
    months::close(&mut client).await.unwrap();
    let done = months::put_away(&mut client, date("2026-03-01"), directory.path())
        .await
        .unwrap();
    let what: Vec<_> = done
        .iter()
        .map(|archived| (&*archived.month, archived.entries))
        .collect();
    assert_eq!(what, [("2026-01", 3), ("2026-02", 3)]);
    assert_eq!(audit::verify(&client, None).await.unwrap(), []);
    let left = "SELECT min(at)::text FROM nself.audit_log";
    let left: String = client.query_one(left, &[]).await.unwrap().get(0);
    assert!(left.starts_with("2026-03"), "{left}");

    let file = &done[1].file;
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let proof = archive::prove(&client, file).await.unwrap();
    assert_eq!(
        (proof.entries, proof.month.as_deref()),
        (3, Some("2026-02"))
    );
    assert_eq!(proof.broken, []);

    // What somebody does to the file shows.
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let changed = directory.path().join("changed.jsonl");
    std::fs::write(&changed, text.replace("key/2", "key/9")).unwrap();
    let proof = archive::prove(&client, &changed).await.unwrap();
    assert_eq!(
        (
            proof.month,
            &*proof.broken[0].problem,
            proof.broken[0].sequence
        ),
        (None, "the row was changed", 5)
    );
    std::fs::write(&changed, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
    let proof = archive::prove(&client, &changed).await.unwrap();
    assert_eq!(&*proof.broken[0].problem, "the row before it is missing");
    std::fs::write(&changed, format!("{}\nnot an entry\n", lines[0])).unwrap();
    let refused = archive::prove(&client, &changed).await.unwrap_err();
    assert!(
        refused.to_string().contains("changed.jsonl line 2"),
        "{refused}"
    );
    // The session is as before.
    assert_eq!(audit::verify(&client, None).await.unwrap(), []);

    // A month that was thrown away without its anchor is missed.
    client
        .batch_execute("DROP TABLE nself.audit_log_2026_03")
        .await
        .unwrap();
    let broken = audit::verify(&client, None).await.unwrap();
    assert_eq!(
        (&*broken[0].stream, &*broken[0].problem),
        ("system-0", "the last rows are missing")
    );
}

#[tokio::test]
async fn a_month_stays_when_its_file_cannot_be_written() {
    let database = migrated().await;
    let mut client = database.client().await;
    write_history(&client, &["2026-01"]).await;
    months::close(&mut client).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    // A file where the directory should be.
    let refused = months::put_away(&mut client, date("2026-03-01"), file.path())
        .await
        .unwrap_err();
    assert!(matches!(refused, MonthError::Archive(_)), "{refused}");
    let left = "SELECT count(*) FROM nself.audit_log_2026_01";
    assert_eq!(
        client.query_one(left, &[]).await.unwrap().get::<_, i64>(0),
        3
    );
    // Neither the newest nor one without a seal can be dropped by hand.
    let unsealed = client
        .execute("SELECT nself.drop_audit_month('2026-02-01')", &[])
        .await
        .unwrap_err();
    assert!(
        unsealed
            .as_db_error()
            .unwrap()
            .message()
            .contains("not sealed")
    );
}

#[tokio::test]
async fn a_witness_finds_a_chain_that_was_rewritten_whole() {
    let database = migrated().await;
    let client = database.client().await;
    append_five(&client).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("heads.json");
    assert!(Heads::read(&path).unwrap().is_none());
    Heads::now(&client).await.unwrap().write(&path).unwrap();
    let seen = Heads::read(&path).unwrap().unwrap();
    append_five(&client).await;
    assert_eq!(seen.contradicted(&client).await.unwrap(), []);
    client
        .batch_execute(
            "ALTER TABLE nself.audit_log DISABLE TRIGGER ALL; ALTER TABLE nself.audit_heads DISABLE TRIGGER ALL;
             DELETE FROM nself.audit_log; DELETE FROM nself.audit_heads",
        )
        .await
        .unwrap();
    assert_eq!(
        audit::verify(&client, None).await.unwrap(),
        [],
        "nothing is left to contradict"
    );
    let broken = seen.contradicted(&client).await.unwrap();
    assert_eq!(broken.len(), 2);
    assert_eq!(broken[0].problem, "a row that was seen is gone");
    std::fs::write(&path, "{\"a\": 1}").unwrap();
    let refused = Heads::read(&path).unwrap_err();
    assert!(
        refused.to_string().contains("heads.json line 1"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_entry_of_another_time_is_refused() {
    let database = migrated().await;
    let client = database.client().await;
    let refused = client
        .execute(
            "INSERT INTO nself.audit_log (stream, sequence, at, source, actor, action, previous_hash, hash)
             VALUES ('x', 1, '2020-01-01', 'a', 'b', 'c', '', '')",
            &[],
        )
        .await
        .unwrap_err();
    assert!(
        refused
            .as_db_error()
            .unwrap()
            .message()
            .contains("is written now, not at"),
        "{refused}"
    );
}
