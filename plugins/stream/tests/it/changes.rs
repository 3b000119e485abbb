//! Changes of tables: told to the family that the row belongs to, and no more of them than everybody there may read.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::TestHost;
use tokio_postgres::Client as Sql;

use crate::stage::{Client, builder, family, publish};

/// Posts are told to those who may see content, to grown-ups, and to everybody whom a family has.
const LISTED: &str = r#"
[plugins.stream.config.tables."public.posts"]
namespace = "AUDIENCE"
columns = ["title", "visibility"]
[plugins.stream.config.tables."public.conversations"]
[plugins.stream.config.namespaces.adults]
subscribe = ["OWNER", "ADMIN", "ADULT_MEMBER"]
[plugins.stream.config.namespaces.people]
subscribe = ["OWNER", "ADMIN", "ADULT_MEMBER", "YOUTH_MEMBER", "CHILD_MEMBER"]
[plugins.stream.config.namespaces.everybody]
[plugins.stream.config.namespaces.short]
subscribe = ["OWNER"]
message_bytes_max = 250
"#;

struct Stage {
    host: TestHost,
    sql: Sql,
    family: Uuid,
    author: Uuid,
    channel: String,
}

impl Stage {
    async fn set(audience: &str) -> Self {
        let host = builder()
            .config(&LISTED.replace("AUDIENCE", audience))
            .start()
            .await;
        let sql = host.sql().await;
        let (family, _, author) = family(&sql, Role::AdultMember).await;
        for table in ["public.posts", "public.conversations", "public.posts"] {
            let let_them = "select stream.publish_changes($1::text::regclass)";
            sql.execute(let_them, &[&table])
                .await
                .expect("its owner may");
        }
        Self {
            host,
            sql,
            family,
            author,
            channel: format!("family:{family}:{audience}:posts"),
        }
    }

    async fn listen(&self, role: Role) -> Client {
        let token = self.host.token(role, self.family);
        let mut client = Client::connect(self.host.address(), &token).await;
        let _ = client.subscribe(&self.channel).await;
        client
    }

    async fn post(&self, visibility: &str) -> Uuid {
        let make = "insert into public.posts (family_id, author_id, title, body, visibility) \
            values ($1, $2, 'Tea', 'secret', $3) returning id";
        let made = self
            .sql
            .query_one(make, &[&self.family, &self.author, &visibility])
            .await;
        made.expect("a post").get(0)
    }

    async fn change(&self, id: Uuid, change: &str) {
        let update = format!("update public.posts set {change} where id = $1");
        let changed = self.sql.execute(&update, &[&id]).await;
        assert_eq!(changed.expect("it is changed"), 1);
    }
}

fn plain(op: &str, id: Uuid) -> Value {
    json!({"op": op, "table": "public.posts", "id": id})
}

fn whole(op: &str, id: Uuid, title: &str, visibility: &str) -> Value {
    json!({"op": op, "table": "public.posts", "id": id, "row": {"title": title, "visibility": visibility}})
}

/// What the channel tells of the rows of each visibility, heard by each of those who are let into it.
async fn check(audience: &str, listeners: &[Role], told: &[(&str, bool)], approved: bool) {
    let stage = Stage::set(audience).await;
    let mut clients = Vec::new();
    for role in listeners {
        clients.push(stage.listen(*role).await);
    }
    for (visibility, is_whole) in told {
        let id = stage.post(visibility).await;
        let expected = if *is_whole {
            whole("insert", id, "Tea", visibility)
        } else {
            plain("insert", id)
        };
        stage
            .change(
                id,
                "child_approved_at = now(), child_approved_by = author_id",
            )
            .await;
        for client in &mut clients {
            assert_eq!(
                client.publication().await["data"],
                expected,
                "{audience} {visibility}"
            );
            let after = client.publication().await["data"]["row"].is_object();
            let is_approved = approved && matches!(*visibility, "family" | "public");
            assert_eq!(
                after,
                *is_whole || is_approved,
                "{audience} {visibility} approved"
            );
        }
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn who_sees_content_is_told_what_the_family_sees_and_of_the_rest_that_it_changed() {
    let readers = [
        Role::Owner,
        Role::Admin,
        Role::AdultMember,
        Role::YouthMember,
    ];
    let told = [
        ("family", true),
        ("public", true),
        ("adults_only", false),
        ("private", false),
    ];
    check("changes", &readers, &told, false).await;
}

#[tokio::test]
async fn among_grown_ups_what_is_for_them_is_told_too() {
    let adults = [Role::Owner, Role::Admin, Role::AdultMember];
    let told = [("family", true), ("adults_only", true), ("private", false)];
    check("adults", &adults, &told, false).await;
}

#[tokio::test]
async fn where_children_listen_what_was_approved_for_them_is_told() {
    let people = [Role::Owner, Role::YouthMember, Role::ChildMember];
    let told = [
        ("family", false),
        ("public", false),
        ("adults_only", false),
        ("private", false),
    ];
    check("people", &people, &told, true).await;
}

#[tokio::test]
async fn where_machines_listen_nothing_is_told_but_that_something_changed() {
    let all = [
        Role::Owner,
        Role::YouthMember,
        Role::ChildMember,
        Role::Device,
    ];
    let told = [
        ("family", false),
        ("public", false),
        ("adults_only", false),
        ("private", false),
    ];
    check("everybody", &all, &told, false).await;
}

#[tokio::test]
async fn nobody_hears_of_a_table_whom_its_namespace_does_not_let_in() {
    let stage = Stage::set("changes").await;
    let theirs = stage.host.token(Role::Owner, Uuid::now_v7());
    for (token, code) in [
        (stage.host.token(Role::ChildMember, stage.family), 103),
        (stage.host.token(Role::Device, stage.family), 103),
        (theirs, 102),
    ] {
        let mut client = Client::connect(stage.host.address(), &token).await;
        let request = json!({"channel": stage.channel});
        assert_eq!(client.refusal("subscribe", request).await, code);
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_row_that_is_hidden_deleted_or_taken_back_is_told_as_what_it_is_for_a_reader() {
    let stage = Stage::set("changes").await;
    let mut client = stage.listen(Role::YouthMember).await;
    let id = stage.post("family").await;
    let first = client.publication().await;
    assert_eq!(first["data"], whole("insert", id, "Tea", "family"));
    for (change, expected) in [
        ("title = 'Coffee'", whole("update", id, "Coffee", "family")),
        ("visibility = 'private'", plain("update", id)),
        ("title = 'Cake'", plain("update", id)),
        (
            "visibility = 'family'",
            whole("update", id, "Cake", "family"),
        ),
        ("deleted_at = now()", plain("delete", id)),
        ("deleted_at = null", whole("insert", id, "Cake", "family")),
    ] {
        stage.change(id, change).await;
        assert_eq!(client.publication().await["data"], expected, "{change}");
    }
    let delete = "delete from public.posts where id = $1";
    stage
        .sql
        .execute(delete, &[&id])
        .await
        .expect("it is deleted");
    assert_eq!(client.publication().await["data"], plain("delete", id));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_change_is_told_when_its_transaction_commits_and_never_keeps_it_from_that() {
    let stage = Stage::set("short").await;
    let mut client = stage.listen(Role::Owner).await;
    let make = format!(
        "insert into public.posts (family_id, author_id, title, visibility) values ('{}', '{}', 'x', 'family')",
        stage.family, stage.author
    );
    let undone = format!("begin; {make}; rollback;");
    stage
        .sql
        .batch_execute(&undone)
        .await
        .expect("it is undone");
    // A row that says nothing about whom it is for, and a table that is listed without any columns.
    let talk = "insert into public.conversations (family_id, kind, title, created_by) values ($1, 'group', 'Secret', $2)";
    let made = stage
        .sql
        .execute(talk, &[&stage.family, &stage.author])
        .await;
    made.expect("a conversation");
    let talks = format!("family:{}:changes:conversations", stage.family);
    let history = client
        .ask("history", json!({"channel": talks, "limit": 10}))
        .await;
    let told = &history["history"]["publications"][0]["data"];
    assert_eq!(told["table"], "public.conversations", "{history}");
    assert_eq!(told["row"], json!(null), "{history}");
    // What is longer than a publication may be is still written, and told without what it says.
    let id = stage.post("family").await;
    let first = client.publication().await;
    assert_eq!(first["data"], whole("insert", id, "Tea", "family"));
    stage.change(id, "title = repeat('x', 300)").await;
    assert_eq!(client.publication().await["data"], plain("update", id));
    publish(&stage.sql, &stage.channel, json!("end")).await;
    assert_eq!(client.publication().await["data"], "end");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_table_that_is_not_listed_or_not_let_is_silent_and_one_without_families_cannot_be() {
    let stage = Stage::set("changes").await;
    for table in ["public.users", "public.families", "stream.channels"] {
        let refused = stage
            .sql
            .execute(
                "select stream.publish_changes($1::text::regclass)",
                &[&table],
            )
            .await;
        let error = refused.expect_err(table);
        assert_eq!(
            error.code().expect("of the server").code(),
            "22023",
            "{table}"
        );
    }
    for table in ["public.recipes", "public.posts"] {
        let change = if table == "public.posts" {
            "stop_publishing_changes"
        } else {
            "publish_changes"
        };
        let change = format!("select stream.{change}($1::text::regclass)");
        stage
            .sql
            .execute(&change, &[&table])
            .await
            .expect("its owner may");
    }
    let _ = stage.post("family").await;
    let recipe = "insert into public.recipes (family_id, author_id, title) values ($1, $2, 'Cake')";
    let made = stage
        .sql
        .execute(recipe, &[&stage.family, &stage.author])
        .await;
    made.expect("a recipe");
    let told = "select count(*) from stream.publications";
    assert_eq!(crate::stage::count(&stage.sql, told).await, 0);
    stage.host.stop().await;
}
