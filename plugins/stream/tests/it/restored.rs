//! Backups that are put back: nobody goes on from what the database has forgotten.

use std::process::Stdio;

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, postgres_program, within};
use tokio::process::Command;

use crate::stage::{Client, host, publish};

/// Runs a program of Postgres's on the host's database.
async fn run(host: &TestHost, program: &str, arguments: &[&str]) {
    let mut command = Command::new(postgres_program(program));
    command
        .args(arguments)
        .arg("--dbname")
        .arg(host.database().url());
    let ended = within(program, command.stdin(Stdio::null()).output()).await;
    let ended = ended.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{program}: {said}");
}

fn position(epoch: &Value, offset: i64) -> Value {
    json!({"channel": "chat:kitchen", "recover": true, "epoch": epoch, "offset": offset})
}

#[tokio::test]
async fn who_knows_more_than_a_backup_that_was_put_back_is_told_that_something_is_lost() {
    let host = host().await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    let channel = format!("family:{family}:chat:kitchen");
    let token = host.token(Role::Owner, family);
    let mut client = Client::connect(host.address(), &token).await;
    let begun = client.subscribe("chat:kitchen").await;
    for number in 1..=5 {
        publish(&sql, &channel, json!(number)).await;
    }
    let folder = tempfile::tempdir().expect("there is room for a backup");
    let file = folder.path().join("stream.dump");
    let file = file.to_str().expect("a name of letters");
    run(
        &host,
        "pg_dump",
        &["--schema", "stream", "--format", "custom", "--file", file],
    )
    .await;
    for number in 6..=8 {
        publish(&sql, &channel, json!(number)).await;
    }
    // Its own join stands before them.
    let mut last = 0;
    while last < 8 {
        last = client.push().await["pub"]["offset"]
            .as_i64()
            .unwrap_or(last);
    }
    run(
        &host,
        "pg_restore",
        &["--clean", "--if-exists", "--single-transaction", file],
    )
    .await;
    // Who is there is told to subscribe again.
    let lost = loop {
        let push = client.push().await;
        if push["unsubscribe"].is_object() {
            break push["unsubscribe"]["code"].clone();
        }
    };
    assert_eq!(lost, 2500);
    // Offsets 6 to 9 of another course of events than the client's.
    for number in 6..=9 {
        publish(&sql, &channel, json!({"other": number})).await;
    }
    let again = client.subscribe_with(position(&begun["epoch"], 8)).await;
    assert_eq!(
        (&again["was_recovering"], &again["recovered"]),
        (&json!(true), &json!(null)),
        "{again}"
    );
    assert_eq!(again["offset"], 9, "{again}");
    assert_ne!(again["epoch"], begun["epoch"]);
    let mut early = Client::connect(host.address(), &token).await;
    let early = early.subscribe_with(position(&begun["epoch"], 3)).await;
    assert_eq!(early["recovered"], json!(null), "{early}");
    let mut other = Client::connect(host.address(), &token).await;
    let other = other.subscribe_with(position(&again["epoch"], 8)).await;
    assert_eq!(other["recovered"], true, "{other}");
    assert_eq!(other["publications"][0]["data"], json!({"other": 9}));
    host.stop().await;
}

#[tokio::test]
async fn a_copy_of_the_database_and_an_operator_s_word_are_another_course() {
    let host = host().await;
    let sql = host.sql().await;
    let course = async |sql: &tokio_postgres::Client| -> String {
        let row = sql.query_one("select stream.course()", &[]).await;
        row.expect("everybody may ask").get(0)
    };
    let mut client = Client::connect(host.address(), &host.token_of(Uuid::now_v7(), None)).await;
    let begun = client.subscribe("public:a").await;
    let (first, same) = (course(&sql).await, course(&sql).await);
    assert_eq!(first, same);
    let begin = sql.batch_execute("select stream.begin_anew()").await;
    begin.expect("a superuser may");
    assert_eq!(client.push().await["unsubscribe"]["code"], 2500);
    let again = client.subscribe("public:a").await;
    assert_ne!(again["epoch"], begun["epoch"]);
    let last = course(&sql).await;
    assert_ne!(first, last);
    drop(sql);
    let (name, copy) = (
        host.database().name().to_owned(),
        format!("{}_copy", host.database().name()),
    );
    let mut elsewhere = host.database().config();
    let connect = async |config: &tokio_postgres::Config| {
        let (client, connection) = config
            .connect(tokio_postgres::NoTls)
            .await
            .expect("it answers");
        tokio::spawn(connection);
        client
    };
    let administrator = connect(elsewhere.dbname("postgres")).await;
    // A database that somebody is connected to cannot be copied.
    let outage = host.database_away().await;
    let make = format!("create database \"{copy}\" template \"{name}\"");
    administrator
        .batch_execute(&make)
        .await
        .expect("it is copied");
    outage.end().await;
    let there = connect(elsewhere.dbname(&copy)).await;
    assert_ne!(course(&there).await, last);
    drop(there);
    let drop_it = format!("drop database \"{copy}\" with (force)");
    administrator
        .batch_execute(&drop_it)
        .await
        .expect("it is dropped");
    host.stop().await;
}
