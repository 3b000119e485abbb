//! Changes of tables: told to those who may read the row, by the family's channel where that is everybody in it, and else one by one.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::TestHost;
use tokio_postgres::Client as Sql;

use crate::stage::{Client, builder, family, publish};

/// Posts are told to those who may see content, to grown-ups, or to everybody whom a family has.
const LISTED: &str = r#"
[plugins.stream.config.tables."public.posts"]
namespace = "AUDIENCE"
columns = ["title", "visibility"]
[plugins.stream.config.tables."public.conversations"]
columns = ["title"]
[plugins.stream.config.tables."public.messages"]
columns = ["body"]
[plugins.stream.config.tables."public.reminders"]
columns = ["text"]
audience = "author"
[plugins.stream.config.tables."public.devices"]
columns = ["name"]
audience = "family"
[plugins.stream.config.tables."public.comments"]
columns = ["body"]
[plugins.stream.config.namespaces.adults]
subscribe = ["OWNER", "ADMIN", "ADULT_MEMBER"]
[plugins.stream.config.namespaces.people]
subscribe = ["OWNER", "ADMIN", "ADULT_MEMBER", "YOUTH_MEMBER", "CHILD_MEMBER"]
[plugins.stream.config.namespaces.everybody]
[plugins.stream.config.namespaces.short]
subscribe = ["OWNER"]
message_bytes_max = 250
"#;

const PEOPLE: [Role; 5] = [
    Role::Owner,
    Role::Admin,
    Role::AdultMember,
    Role::YouthMember,
    Role::ChildMember,
];

/// A member of the family who listens.
struct Listener {
    role: Role,
    person: Uuid,
    member: Uuid,
    client: Client,
}

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
        for table in [
            "public.posts",
            "public.conversations",
            "public.messages",
            "public.posts",
        ] {
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

    /// A member of that role who listens to what is theirs, and to the family's channel where they may.
    async fn member(&self, role: Role) -> Listener {
        let (person, member) = self.add(role).await;
        let token = self.host.token_of(person, Some((role, self.family)));
        let mut client = Client::connect(self.host.address(), &token).await;
        let _ = client.subscribe("me").await;
        let _ = client
            .ask("subscribe", json!({"channel": self.channel}))
            .await;
        Listener {
            role,
            person,
            member,
            client,
        }
    }

    /// A person and their membership. A family has one owner, who is there from its beginning.
    async fn add(&self, role: Role) -> (Uuid, Uuid) {
        if role == Role::Owner {
            let owner = "select user_id, id from public.family_members where family_id = $1 and role = 'OWNER'";
            let row = self.sql.query_one(owner, &[&self.family]).await;
            let row = row.expect("an owner");
            return (row.get(0), row.get(1));
        }
        let make = "insert into public.users (display_name) values ('Somebody') returning id";
        let made = self.sql.query_one(make, &[]).await;
        let person: Uuid = made.expect("a person").get(0);
        let add = "select public.add_member($1, $2, $3, null, null)";
        let added = self
            .sql
            .query_one(add, &[&self.family, &person, &role.name()])
            .await;
        (person, added.expect("a member").get(0))
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

impl Listener {
    /// What they are told next, and on which channel: `me`, or the table's.
    async fn told(&mut self) -> (String, Value) {
        let push = self.client.push().await;
        let name = push["channel"].as_str().expect("a channel").to_owned();
        let last = name.rsplit(':').next().unwrap_or_default().to_owned();
        (last, push["pub"]["data"].clone())
    }
}

/// What a role is told of a post of that visibility that somebody else writes: nothing, by the family's channel, or on its own.
fn expected(
    audience: &str,
    role: Role,
    visibility: &str,
    is_approved: bool,
) -> Option<&'static str> {
    let grown = matches!(role, Role::Owner | Role::Admin | Role::AdultMember);
    let is_for_family = matches!(visibility, "family" | "public");
    let may_read = match role {
        Role::ChildMember => is_for_family && is_approved,
        Role::YouthMember => is_for_family,
        _ => is_for_family || visibility == "adults_only",
    };
    let (is_let_in, is_for_all) = match audience {
        "changes" => (role != Role::ChildMember, is_for_family),
        "adults" => (grown, is_for_family || visibility == "adults_only"),
        "people" => (true, is_for_family && is_approved),
        // Machines are let in, which read no posts.
        _ => (true, false),
    };
    match (may_read, is_let_in && is_for_all) {
        (false, _) => None,
        (true, true) => Some("posts"),
        (true, false) => Some("me"),
    }
}

/// Every role hears of the rows that it may read and of no others, whoever is let into the family's channel with it.
async fn check(audience: &str) {
    let stage = Stage::set(audience).await;
    let mut listeners = Vec::new();
    for role in PEOPLE {
        listeners.push(stage.member(role).await);
    }
    for visibility in ["family", "public", "adults_only", "private"] {
        let id = stage.post(visibility).await;
        stage
            .change(
                id,
                "child_approved_at = now(), child_approved_by = author_id",
            )
            .await;
        for listener in &mut listeners {
            let before = expected(audience, listener.role, visibility, false);
            let after = expected(audience, listener.role, visibility, true);
            let place = format!("{audience} {visibility} {:?}", listener.role);
            if let Some(channel) = before {
                let told = (channel.to_owned(), whole("insert", id, "Tea", visibility));
                assert_eq!(listener.told().await, told, "{place}");
            }
            match (before, after) {
                (None, None) => {}
                (_, Some(channel)) if before == after => {
                    let told = (channel.to_owned(), whole("update", id, "Tea", visibility));
                    assert_eq!(listener.told().await, told, "{place} approved");
                }
                // It comes into sight where it was not, and goes where it was: two channels, in whatever order.
                _ => {
                    let mut moves = Vec::new();
                    moves.extend(
                        after.map(|now| (now.to_owned(), whole("insert", id, "Tea", visibility))),
                    );
                    if before == Some("me") && after == Some("posts") {
                        moves.push(("me".to_owned(), plain("delete", id)));
                    }
                    for _ in 0..moves.len() {
                        let told = listener.told().await;
                        assert!(moves.contains(&told), "{place}: {told:?}");
                    }
                }
            }
        }
    }
    // Nobody was told anything else.
    for listener in &mut listeners {
        let mine = format!("family:{}:me:{}", stage.family, listener.person);
        publish(&stage.sql, &mine, json!("end")).await;
        assert_eq!(
            listener.told().await.1,
            "end",
            "{audience} {:?}",
            listener.role
        );
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn who_sees_content_is_told_what_the_family_sees_and_grown_ups_more() {
    check("changes").await;
}

#[tokio::test]
async fn among_grown_ups_what_is_for_them_is_told_to_all_at_once() {
    check("adults").await;
}

#[tokio::test]
async fn where_children_listen_what_was_approved_for_them_is_told_to_all_at_once() {
    check("people").await;
}

#[tokio::test]
async fn where_machines_listen_everybody_is_told_by_themselves() {
    check("everybody").await;
}

#[tokio::test]
async fn what_is_private_is_told_to_its_author_and_to_whom_it_is_for() {
    let stage = Stage::set("changes").await;
    let mut author = stage.member(Role::YouthMember).await;
    let mut reader = stage.member(Role::AdultMember).await;
    let mut child = stage.member(Role::ChildMember).await;
    let mut other = stage.member(Role::Admin).await;
    // A post and its audience come about together.
    let id = Uuid::now_v7();
    let make = format!(
        "begin; insert into public.posts (id, family_id, author_id, title, visibility) \
             values ('{id}', '{family}', '{author}', 'Secret', 'private'); \
         insert into public.post_audiences (family_id, post_id, member_id) values ('{family}', '{id}', '{reader}'), \
             ('{family}', '{id}', '{child}'); commit",
        family = stage.family,
        author = author.member,
        reader = reader.member,
        child = child.member,
    );
    stage.sql.batch_execute(&make).await.expect("a post");
    for listener in [&mut author, &mut reader] {
        let told = ("me".to_owned(), whole("insert", id, "Secret", "private"));
        assert_eq!(listener.told().await, told);
    }
    stage.change(id, "visibility = 'family'").await;
    let shown = ("posts".to_owned(), whole("insert", id, "Secret", "family"));
    assert_eq!(other.told().await, shown);
    // Who read it alone reads it with the others now.
    for listener in [&mut author, &mut reader] {
        let told = [listener.told().await, listener.told().await];
        assert!(told.contains(&shown), "{told:?}");
        assert!(
            told.contains(&("me".to_owned(), plain("delete", id))),
            "{told:?}"
        );
    }
    // The child, for whom nobody has approved it, was told nothing.
    let mine = format!("family:{}:me:{}", stage.family, child.person);
    publish(&stage.sql, &mine, json!("end")).await;
    assert_eq!(child.told().await.1, "end");
    stage.host.stop().await;
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
        (
            "title = 'Coffee'",
            Some(whole("update", id, "Coffee", "family")),
        ),
        // Out of sight is gone, and nothing is heard of it until it is back.
        ("visibility = 'private'", Some(plain("delete", id))),
        ("title = 'Cake'", None),
        (
            "visibility = 'family'",
            Some(whole("insert", id, "Cake", "family")),
        ),
        ("deleted_at = now()", Some(plain("delete", id))),
        (
            "deleted_at = null",
            Some(whole("insert", id, "Cake", "family")),
        ),
    ] {
        stage.change(id, change).await;
        if let Some(expected) = expected {
            assert_eq!(client.publication().await["data"], expected, "{change}");
        }
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

#[tokio::test]
async fn what_is_said_in_a_conversation_is_told_to_who_is_in_it() {
    let stage = Stage::set("changes").await;
    let mut writer = stage.member(Role::AdultMember).await;
    let mut reader = stage.member(Role::YouthMember).await;
    let mut child = stage.member(Role::ChildMember).await;
    let mut other = stage.member(Role::Admin).await;
    let talk = Uuid::now_v7();
    let family = stage.family;
    let make = format!(
        "begin; insert into public.conversations (id, family_id, kind, title, created_by) \
             values ('{talk}', '{family}', 'group', 'Surprise', '{writer}'); \
         insert into public.conversation_members (family_id, conversation_id, member_id) \
             values ('{family}', '{talk}', '{writer}'), ('{family}', '{talk}', '{reader}'), ('{family}', '{talk}', '{child}'); commit",
        writer = writer.member,
        reader = reader.member,
        child = child.member,
    );
    stage
        .sql
        .batch_execute(&make)
        .await
        .expect("a conversation");
    let author = writer.member;
    let say = async |body: &str| -> Uuid {
        let say = "insert into public.messages (family_id, conversation_id, author_id, body) values ($1, $2, $3, $4) returning id";
        let said = stage
            .sql
            .query_one(say, &[&family, &talk, &author, &body])
            .await;
        said.expect("a message").get(0)
    };
    let cake = say("Who bakes the cake?").await;
    let first = json!({"op": "insert", "table": "public.conversations", "id": talk, "row": {"title": "Surprise"}});
    let message = |op: &str, id: Uuid, body: &str| json!({"op": op, "table": "public.messages", "id": id, "row": {"body": body}});
    for listener in [&mut writer, &mut reader] {
        assert_eq!(listener.told().await, ("me".to_owned(), first.clone()));
        // The conversation's last message is newer, or has the same time.
        let mut told = listener.told().await.1;
        if told["table"] == "public.conversations" {
            told = listener.told().await.1;
        }
        assert_eq!(told, message("insert", cake, "Who bakes the cake?"));
    }
    // Who leaves hears no more of it.
    let leave = "update public.conversation_members set left_at = now() where member_id = $1";
    let left = stage.sql.execute(leave, &[&reader.member]).await;
    assert_eq!(left.expect("they leave"), 1);
    let _ = say("I do").await;
    // A child does not chat, and who is not in it is told nothing, by no channel.
    for listener in [&mut reader, &mut child, &mut other] {
        let mine = format!("family:{family}:me:{}", listener.person);
        publish(&stage.sql, &mine, json!("end")).await;
        // Of the conversation itself a change may have been told after its first message.
        let mut told = listener.told().await.1;
        if told["table"] == "public.conversations" {
            told = listener.told().await.1;
        }
        assert_eq!(told, "end", "{:?}", listener.role);
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_somebody_s_own_is_told_to_them_and_what_says_nothing_to_nobody() {
    let stage = Stage::set("changes").await;
    let sql = &stage.sql;
    for table in ["public.reminders", "public.devices", "public.comments"] {
        let let_them = "select stream.publish_changes($1::text::regclass)";
        sql.execute(let_them, &[&table])
            .await
            .expect("its owner may");
    }
    let mut own = stage.member(Role::YouthMember).await;
    let mut other = stage.member(Role::Owner).await;
    let devices = format!("family:{}:changes:devices", stage.family);
    let _ = other.client.subscribe(&devices).await;
    let remind = "insert into public.reminders (family_id, member_id, text, remind_at) values ($1, $2, 'Call', now()) returning id";
    let reminder: Uuid = sql
        .query_one(remind, &[&stage.family, &own.member])
        .await
        .expect("a reminder")
        .get(0);
    let told = json!({"op": "insert", "table": "public.reminders", "id": reminder, "row": {"text": "Call"}});
    assert_eq!(own.told().await, ("me".to_owned(), told));
    // A comment is for those who see its post, which its row does not say.
    let post = stage.post("family").await;
    let comment = "insert into public.comments (family_id, post_id, author_id, body) values ($1, $2, $3, 'Well done')";
    let said = sql
        .execute(comment, &[&stage.family, &post, &own.member])
        .await;
    said.expect("a comment");
    for listener in [&mut own, &mut other] {
        let told = ("posts".to_owned(), whole("insert", post, "Tea", "family"));
        assert_eq!(listener.told().await, told);
    }
    // That it has changed and not what it says.
    let pair = "insert into public.devices (family_id, name, kind) values ($1, 'Screen', 'tv') returning id";
    let device: Uuid = sql
        .query_one(pair, &[&stage.family])
        .await
        .expect("a device")
        .get(0);
    let told = json!({"op": "insert", "table": "public.devices", "id": device});
    assert_eq!(other.told().await, ("devices".to_owned(), told));
    for listener in [&mut own, &mut other] {
        let mine = format!("family:{}:me:{}", stage.family, listener.person);
        publish(sql, &mine, json!("end")).await;
        assert_eq!(listener.told().await.1, "end");
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_a_person_s_own_in_a_family_is_nobody_else_s_and_not_theirs_elsewhere() {
    let stage = Stage::set("changes").await;
    let own = stage.member(Role::AdultMember).await;
    let mine = format!("family:{}:me:{}", stage.family, own.person);
    let elsewhere = stage
        .host
        .token_of(own.person, Some((Role::AdultMember, Uuid::now_v7())));
    for token in [
        stage.host.token(Role::Owner, stage.family),
        stage.host.token(Role::Device, stage.family),
        stage.host.token_of(own.person, None),
        elsewhere,
    ] {
        let mut client = Client::connect(stage.host.address(), &token).await;
        for channel in [mine.clone(), mine.to_uppercase(), format!("{mine}:more")] {
            for method in ["subscribe", "history"] {
                let request = json!({"channel": channel});
                assert_eq!(client.refusal(method, request).await, 102, "{channel}");
            }
        }
    }
    for channel in [
        format!("{mine}:more"),
        format!("family:{}:me", stage.family),
        format!("family:{}:me:all", stage.family),
    ] {
        let refused = stage
            .sql
            .execute("select stream.publish($1, '1')", &[&channel])
            .await;
        assert!(refused.is_err(), "{channel}");
    }
    stage.host.stop().await;
}

/// The roles that stand in `stream.readers` are those of the policy.
#[test]
fn who_reads_posts_and_conversations_is_said_by_the_policy() {
    let policy = include_str!("../../../../db/policy.toml");
    for action in ["content.view", "conversation.view", "conversation.create"] {
        assert!(
            policy.contains(&format!("\"{action}\" = \"O A D Y\"")),
            "{action}"
        );
    }
}
