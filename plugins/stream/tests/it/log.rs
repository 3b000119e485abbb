//! The log in SQL: what is published in a transaction is there when it commits, in the order of commits and without a gap.

use std::collections::BTreeMap;

use nself_plugin_api::{
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, eventually, within};
use tokio_postgres::{Client as Sql, error::SqlState};

use crate::stage::{builder, count, host, publish, until_count};

/// What a channel holds: offset and data.
async fn all(sql: &Sql, channel: &str) -> Vec<(i64, Value)> {
    let query = "select p.off, p.data from stream.publications p join stream.channels c on c.id = p.channel_id \
        where c.name = $1 order by p.off";
    let rows = sql
        .query(query, &[&channel])
        .await
        .expect("the log can be read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// SQL that publishes to public channels.
async fn run(sql: &Sql, text: &str) {
    let ran = sql.batch_execute(text).await;
    ran.unwrap_or_else(|error| panic!("{text}: {error:?}"));
}

async fn refused(sql: &Sql, text: &str) -> SqlState {
    let error = sql.batch_execute(text).await.expect_err(text);
    error.code().expect("the server refused it").clone()
}

#[tokio::test]
async fn a_publication_exists_exactly_when_its_transaction_commits() {
    let host = host().await;
    let sql = host.sql().await;
    run(
        &sql,
        "begin; select stream.publish('public:a', '1'); rollback",
    )
    .await;
    publish(&sql, "public:a", json!(2)).await;
    run(
        &sql,
        "begin; select stream.publish('public:a', '3'); savepoint s; select stream.publish('public:a', '4'); \
         rollback to s; select stream.publish('public:a', '5'); select stream.publish('public:b', '6'); commit",
    )
    .await;
    run(&sql, "begin; select stream.publish('public:a', '7'); select stream.publish('public:a', '8'); rollback").await;
    publish(&sql, "public:a", json!(9)).await;
    let expected = [(1, json!(2)), (2, json!(3)), (3, json!(5)), (4, json!(9))];
    assert_eq!(all(&sql, "public:a").await, expected);
    assert_eq!(all(&sql, "public:b").await, [(1, json!(6))]);
    assert_eq!(count(&sql, "select count(*) from stream.staged").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn offsets_follow_the_order_of_commits_and_an_open_transaction_holds_nobody_up() {
    let host = host().await;
    let (slow, fast) = (host.sql().await, host.sql().await);
    run(&slow, "begin; select stream.publish('public:a', '\"slow\"'); select stream.publish('public:b', '\"slow\"')").await;
    let published = publish(&fast, "public:a", json!("fast"));
    within("a publication beside an open transaction", published).await;
    run(&slow, "commit").await;
    let expected = [(1, json!("fast")), (2, json!("slow"))];
    assert_eq!(all(&fast, "public:a").await, expected);
    host.stop().await;
}

/// Publishes in transactions to several channels each, in an order of its own, every third of them for nothing.
async fn write(sql: Sql, writer: usize) -> usize {
    let mut committed = 0;
    for turn in 0..30_usize {
        let mut text = "begin;".to_owned();
        for step in 0..3 {
            let channel = (writer * 7 + turn * 5 + step * 3) % 5;
            let data = format!("'[{writer}, {turn}, {step}]'");
            text.extend([
                "select stream.publish('public:c",
                &channel.to_string(),
                "', ",
                &data,
                ");",
            ]);
        }
        let is_kept = !(writer + turn).is_multiple_of(3);
        text += if is_kept { "commit" } else { "rollback" };
        run(&sql, &text).await;
        committed += usize::from(is_kept);
    }
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_many_channels_leave_no_gap_and_wait_for_nobody_in_a_circle() {
    let host = host().await;
    let mut writers = Vec::new();
    for writer in 0..8 {
        writers.push(tokio::spawn(write(host.sql().await, writer)));
    }
    let mut committed = 0;
    for writer in writers {
        committed += within("a writer", writer).await.expect("nobody deadlocks");
    }
    let sql = host.sql().await;
    let mut told = 0;
    for channel in 0..5 {
        let all = all(&sql, &format!("public:c{channel}")).await;
        let mut last = BTreeMap::new();
        for (place, (off, data)) in (1_i64..).zip(&all) {
            assert_eq!(*off, place, "public:c{channel} has a gap");
            let [writer, turn, step] = [0, 1, 2].map(|at| data[at].as_u64().expect("a number"));
            let before = last.insert(writer, (turn, step));
            assert!(
                before.is_none_or(|before| before < (turn, step)),
                "a writer is out of order"
            );
        }
        told += all.len();
    }
    assert_eq!(told, committed * 3);
    host.stop().await;
}

#[tokio::test]
async fn a_key_makes_two_publications_one() {
    let host = host().await;
    let sql = host.sql().await;
    let twice = "select stream.publish('public:a', '1', '{\"key\": \"k\"}')";
    run(&sql, &format!("{twice}; {twice}")).await;
    run(&sql, twice).await;
    run(
        &sql,
        "select stream.publish('public:b', '1', '{\"key\": \"k\"}')",
    )
    .await;
    run(
        &sql,
        "begin; select stream.publish('public:a', '2', '{\"key\": \"l\"}'); rollback",
    )
    .await;
    run(
        &sql,
        "select stream.publish('public:a', '3', '{\"key\": \"l\"}')",
    )
    .await;
    assert_eq!(all(&sql, "public:a").await, [(1, json!(1)), (2, json!(3))]);
    assert_eq!(all(&sql, "public:b").await, [(1, json!(1))]);
    // Who wants to know the offset is told the first one's.
    let again = "select off from stream.append('public:a', '4', null, null, 'k')";
    assert_eq!(count(&sql, again).await, 1);
    // A key is kept for five minutes.
    run(&sql, "update stream.keys set until = now()").await;
    run(&sql, twice).await;
    assert_eq!(all(&sql, "public:a").await.len(), 3);
    host.stop().await;
}

#[tokio::test]
async fn what_is_no_publication_is_refused_at_once() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.small]\nmessage_bytes_max = 10")
        .start()
        .await;
    let sql = host.sql().await;
    let family = Uuid::now_v7();
    for (channel, data, options, state) in [
        (
            format!("family:{family}:small:a"),
            "\"0123456789\"",
            "{}",
            SqlState::PROGRAM_LIMIT_EXCEEDED,
        ),
        (
            format!("family:{family}:"),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            format!("family:{family}"),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            format!("family:{}:a", family.to_string().to_uppercase()),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            format!("family:{family}::a"),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "small:a".to_owned(),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public".to_owned(),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public:..".to_owned(),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public:ä".to_owned(),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public:a\n".to_owned(),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            format!("public:{}", "a".repeat(255)),
            "1",
            "{}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public:a".to_owned(),
            "1",
            "{\"id\": 1}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public:a".to_owned(),
            "1",
            "{\"key\": 1}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public:a".to_owned(),
            "1",
            "{\"tags\": {\"a\": 1}}",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
        (
            "public:a".to_owned(),
            "1",
            "[]",
            SqlState::INVALID_PARAMETER_VALUE,
        ),
    ] {
        let text = format!("select stream.publish('{channel}', '{data}', '{options}')");
        assert_eq!(refused(&sql, &text).await, state, "{text:.200}");
    }
    run(&sql, &format!("select stream.publish('family:{family}:small:a', '1', '{{\"tags\": {{\"a\": \"b\"}}}}')")).await;
    run(&sql, "select stream.publish('public:a', '1', null)").await;
    host.stop().await;
}

#[tokio::test]
async fn only_whom_the_operator_lets_publishes() {
    let host = builder().plugin("nself-plugin-hello").start().await;
    let theirs = host.sql_as("hello").await;
    let text = "select stream.publish('public:a', '1')";
    assert_eq!(
        refused(&theirs, text).await,
        SqlState::INSUFFICIENT_PRIVILEGE
    );
    let text = "insert into stream.staged (channel, namespace, is_ephemeral, data) values ('public:a', 'public', false, '1')";
    assert_eq!(
        refused(&theirs, text).await,
        SqlState::INSUFFICIENT_PRIVILEGE
    );
    host.stop().await;
}

#[tokio::test]
async fn work_in_one_family_s_name_publishes_to_no_other() {
    let host = builder().plugin("nself-plugin-hello").start().await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let sql = host.sql().await;
    let hello = host.sql_as("hello").await;
    // Roles are the server's, so there are logins of other databases as well.
    let login: String = hello
        .query_one("select session_user::text", &[])
        .await
        .expect("hello has a login")
        .get(0);
    // As the host grants it to who is granted stream.channels/1.
    run(&sql, &format!("grant usage on schema stream to \"{login}\"; grant execute on function stream.publish to \"{login}\"")).await;
    run(
        &hello,
        &format!("select set_config('nself.family_id', '{ours}', false)"),
    )
    .await;
    run(
        &hello,
        &format!("select stream.publish('family:{ours}:news', '1')"),
    )
    .await;
    let text = format!("select stream.publish('family:{theirs}:news', '1')");
    assert_eq!(
        refused(&hello, &text).await,
        SqlState::INSUFFICIENT_PRIVILEGE
    );
    host.stop().await;
}

#[tokio::test]
async fn writers_notify_only_who_waits() {
    let host = host().await;
    let sql = host.sql().await;
    let mut heard = listen(&host).await;
    publish(&sql, "public:a", json!(1)).await;
    run(&sql, "notify nself_stream, 'mark'").await;
    assert_eq!(heard.recv().await.as_deref(), Some("mark"));
    run(
        &sql,
        "insert into stream.waiters values (gen_random_uuid(), now() + interval '1 hour')",
    )
    .await;
    publish(&sql, "public:a", json!(2)).await;
    assert_eq!(heard.recv().await.as_deref(), Some(""));
    host.stop().await;
}

/// What is said on the channel of the hosts.
async fn listen(host: &TestHost) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (said, heard) = tokio::sync::mpsc::unbounded_channel();
    let url = host.database().url();
    let (client, mut connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .expect("the database answers");
    tokio::spawn(async move {
        let mut messages =
            std::pin::pin!(std::future::poll_fn(|task| connection.poll_message(task)));
        loop {
            match messages.as_mut().await {
                Some(Ok(tokio_postgres::AsyncMessage::Notification(one))) => {
                    if said.send(one.payload().to_owned()).is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    });
    let listening = client.batch_execute("listen nself_stream").await;
    listening.expect("anybody may listen");
    // Kept as long as the test: with it the connection would end.
    std::mem::forget(client);
    heard
}

#[tokio::test]
async fn a_namespace_keeps_so_many_publications_for_so_long() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.few]\nhistory_size = 3\nhistory_seconds = 3600")
        .start()
        .await;
    let sql = host.sql().await;
    let channel = format!("family:{}:few:a", Uuid::now_v7());
    for number in 1..=5 {
        publish(&sql, &channel, json!(number)).await;
    }
    let history = format!("select count(*) from stream.history('{channel}', null, 100, false)");
    assert_eq!(count(&sql, &history).await, 3);
    // What is not kept is dropped a minute later, when every reader has had it.
    assert_eq!(count(&sql, "select stream.prune(100)").await, 0);
    run(
        &sql,
        "update stream.publications set created_at = created_at - interval '2 minutes'",
    )
    .await;
    until_count(
        &sql,
        "select stream.prune(100) + count(*) from stream.publications",
        3,
    )
    .await;
    assert_eq!(all(&sql, &channel).await.first().map(|one| one.0), Some(3));
    run(
        &sql,
        "update stream.publications set created_at = created_at - interval '1 hour'",
    )
    .await;
    assert_eq!(count(&sql, &history).await, 0);
    eventually("nothing is left", async || {
        count(&sql, "select stream.prune(100)").await;
        all(&sql, &channel).await.is_empty().then_some(())
    })
    .await;
    // The channel goes on where it was, until nobody has used it for long.
    publish(&sql, &channel, json!(6)).await;
    assert_eq!(all(&sql, &channel).await, [(6, json!(6))]);
    run(&sql, "delete from stream.publications; update stream.channels set used_at = now() - interval '31 days'").await;
    eventually("the channel is gone", async || {
        count(&sql, "select stream.prune(100)").await;
        (count(&sql, "select count(*) from stream.channels").await == 0).then_some(())
    })
    .await;
    host.stop().await;
}
