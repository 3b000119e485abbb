//! What stands behind the routes: events, row-level security, the sweep.

use nself_plugin_api::{prelude::Role, uuid::Uuid};
use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

async fn write(host: &TestHost, family: Uuid, title: &str) -> Uuid {
    let written = host
        .post("/hello/notes")
        .role(Role::Owner, family)
        .json(&json!({"title": title}));
    let id = written.send().await.expect_status(201).data()["id"].take();
    id.as_str()
        .and_then(|id| id.parse().ok())
        .expect("a note has an id")
}

#[tokio::test]
async fn a_note_and_its_event_come_from_one_transaction() {
    let host = TestHost::builder()
        .plugin("nself-plugin-hello")
        .start()
        .await;
    let family = Uuid::now_v7();
    let note = write(&host, family, "Shopping").await;
    let sql = host.sql().await;
    let both = "select e.type, e.source, e.family_id, e.data, e.xid::text = n.xmin::text
        from nself.events e join hello.notes n on n.id::text = e.subject where n.id = $1";
    let row = sql
        .query_one(both, &[&note])
        .await
        .expect("one event tells of the note");
    assert_eq!(row.get::<_, String>(0), "hello.note_written");
    assert!(row.get::<_, String>(1).ends_with("hello"));
    assert_eq!(row.get::<_, Uuid>(2), family);
    assert_eq!(row.get::<_, Value>(3)["title"], "Shopping");
    assert!(row.get::<_, bool>(4), "the same transaction wrote both");
    // A note that the table refuses leaves no event either.
    let refused = host
        .post("/hello/notes")
        .role(Role::Owner, family)
        .json(&json!({"title": "a\u{0}b"}));
    assert!(refused.send().await.status >= 400);
    let count = "select count(*) from nself.events where type = 'hello.note_written'";
    let count: i64 = sql
        .query_one(count, &[])
        .await
        .expect("events can be counted")
        .get(0);
    assert_eq!(count, 1);
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn the_database_itself_shows_a_family_only_its_own_notes() {
    let host = TestHost::builder()
        .plugin("nself-plugin-hello")
        .start()
        .await;
    let (family, other) = (Uuid::now_v7(), Uuid::now_v7());
    write(&host, family, "Shopping").await;
    let sql = host.sql_as("hello").await;
    let visible = async || -> i64 {
        let count = sql.query_one("select count(*) from hello.notes", &[]).await;
        count.expect("the plugin's login reads its table").get(0)
    };
    assert_eq!(visible().await, 0, "without a family nothing is there");
    for (whose, expected) in [(other, 0), (family, 1)] {
        let set = "select set_config('nself.family_id', $1, false)";
        sql.query_one(set, &[&whose.to_string()])
            .await
            .expect("a setting is set");
        assert_eq!(visible().await, expected);
    }
    let smuggle = "insert into hello.notes (family_id, title) values ($1, 'smuggled')";
    let refused = sql
        .execute(smuggle, &[&other])
        .await
        .expect_err("not into another family");
    assert!(
        refused
            .as_db_error()
            .is_some_and(|error| error.message().contains("row-level security"))
    );
    for forbidden in [
        "set role postgres",
        "select * from nself.plugins",
        "drop table hello.notes",
    ] {
        assert!(sql.batch_execute(forbidden).await.is_err(), "{forbidden}");
    }
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn the_sweep_forgets_what_was_removed_long_ago_and_nothing_else() {
    let host = TestHost::builder()
        .plugin("nself-plugin-hello")
        .config("[plugins.hello.config]\nkeep_removed_days = 7")
        .start()
        .await;
    let family = Uuid::now_v7();
    let [kept, recent, old] = [
        write(&host, family, "kept").await,
        write(&host, family, "recent").await,
        write(&host, family, "old").await,
    ];
    let sql = host.sql().await;
    for (note, days) in [(recent, 6), (old, 8)] {
        let remove =
            "update hello.notes set removed_at = now() - make_interval(days => $2) where id = $1";
        sql.execute(remove, &[&note, &days])
            .await
            .expect("a note is removed");
    }
    let sweep = host.running("hello").await;
    sweep.instance().run_task(0).await.expect("the sweep runs");
    let left = eventually("the sweep", async || {
        let left = sql
            .query("select id from hello.notes order by title", &[])
            .await;
        let left: Vec<Uuid> = left
            .expect("notes can be read")
            .iter()
            .map(|row| row.get(0))
            .collect();
        (left.len() == 2).then_some(left)
    })
    .await;
    assert_eq!(left, [kept, recent]);
    drop((sql, sweep));
    host.stop().await;
}
