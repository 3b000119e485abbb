//! Each route: no token, wrong role, right role, another family.

use nself_plugin_api::{prelude::Role, uuid::Uuid};
use nself_plugin_testkit::{Answer, TestHost};
use serde_json::{Value, json};

/// Two families, and a note of the first one.
struct Stage {
    host: TestHost,
    family: Uuid,
    other: Uuid,
    note: String,
}

impl Stage {
    async fn set() -> Self {
        let host = TestHost::builder()
            .plugin("nself-plugin-hello")
            .start()
            .await;
        let (family, other) = (Uuid::now_v7(), Uuid::now_v7());
        let written = host.post("/hello/notes").role(Role::Owner, family);
        let written = written
            .json(&json!({"title": "Shopping", "body": "Milk"}))
            .send()
            .await;
        let note = written.expect_status(201).data()["id"]
            .as_str()
            .expect("a note has an id")
            .to_owned();
        Self {
            host,
            family,
            other,
            note,
        }
    }

    /// The answer of `METHOD /path`, where `{id}` is the note's, to a role in the first or the other family, or to nobody.
    async fn ask(&self, route: &str, caller: Caller, body: &Value) -> Answer {
        let (method, path) = route.split_once(' ').expect("a route is method and path");
        let request = self.host.request(method, &path.replace("{id}", &self.note));
        let request = match caller {
            Nobody => request,
            Ours(role) => request.role(role, self.family),
            Theirs(role) => request.role(role, self.other),
        };
        if body.is_null() {
            request.send().await
        } else {
            request.json(body).send().await
        }
    }

    async fn check(&self, route: &str, body: Value, rows: &[(Caller, u16)]) {
        for (caller, status) in rows {
            let answer = self.ask(route, *caller, &body).await;
            assert_eq!(
                answer.status,
                *status,
                "{route} as {caller:?}: {}",
                answer.text()
            );
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Caller {
    Nobody,
    Ours(Role),
    Theirs(Role),
}

use Caller::{Nobody, Ours, Theirs};

#[tokio::test]
async fn people_of_the_family_list_its_notes() {
    let stage = Stage::set().await;
    let rows = [
        (Nobody, 401),
        (Ours(Role::Device), 403),
        (Ours(Role::ChildMember), 200),
        (Theirs(Role::Owner), 200),
    ];
    stage.check("GET /hello/notes", Value::Null, &rows).await;
    let ours = stage
        .ask("GET /hello/notes", Ours(Role::ChildMember), &Value::Null)
        .await
        .data();
    assert_eq!(ours[0]["title"], "Shopping");
    let theirs = stage
        .ask("GET /hello/notes", Theirs(Role::Owner), &Value::Null)
        .await
        .data();
    assert_eq!(theirs, json!([]));
    stage.host.stop().await;
}

#[tokio::test]
async fn grown_ups_write_notes_in_their_own_family() {
    let stage = Stage::set().await;
    let rows = [
        (Nobody, 401),
        (Ours(Role::YouthMember), 403),
        (Ours(Role::ChildMember), 403),
        (Ours(Role::Device), 403),
        (Ours(Role::AdultMember), 201),
        (Theirs(Role::Owner), 201),
    ];
    stage
        .check("POST /hello/notes", json!({"title": "Called"}), &rows)
        .await;
    let sql = stage.host.sql().await;
    let count = "select count(*) from hello.notes where family_id = $1";
    let count: i64 = sql
        .query_one(count, &[&stage.family])
        .await
        .expect("notes can be counted")
        .get(0);
    assert_eq!(count, 2, "the stage's and the grown-up's");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_note_is_shown_to_people_of_its_family() {
    let stage = Stage::set().await;
    let rows = [
        (Nobody, 401),
        (Ours(Role::Device), 403),
        (Ours(Role::YouthMember), 200),
        (Theirs(Role::Owner), 404),
    ];
    stage
        .check("GET /hello/notes/{id}", Value::Null, &rows)
        .await;
    stage.host.stop().await;
}

#[tokio::test]
async fn a_note_is_rewritten_by_grown_ups_of_its_family() {
    let stage = Stage::set().await;
    let rows = [
        (Nobody, 401),
        (Ours(Role::ChildMember), 403),
        (Theirs(Role::Owner), 404),
    ];
    stage
        .check("PUT /hello/notes/{id}", json!({"title": "Stolen"}), &rows)
        .await;
    let shown = stage
        .ask("GET /hello/notes/{id}", Ours(Role::Owner), &Value::Null)
        .await;
    assert_eq!(
        shown.data()["title"],
        "Shopping",
        "nothing has happened so far"
    );
    let rows = [(Ours(Role::AdultMember), 200)];
    stage
        .check(
            "PUT /hello/notes/{id}",
            json!({"title": "Groceries"}),
            &rows,
        )
        .await;
    let shown = stage
        .ask("GET /hello/notes/{id}", Ours(Role::Owner), &Value::Null)
        .await;
    assert_eq!(shown.data()["title"], "Groceries");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_note_is_removed_by_those_who_run_its_family() {
    let stage = Stage::set().await;
    let rows = [
        (Nobody, 401),
        (Ours(Role::AdultMember), 403),
        (Theirs(Role::Owner), 404),
        (Ours(Role::Admin), 204),
        (Ours(Role::Admin), 404),
    ];
    stage
        .check("DELETE /hello/notes/{id}", Value::Null, &rows)
        .await;
    stage
        .check(
            "GET /hello/notes/{id}",
            Value::Null,
            &[(Ours(Role::Owner), 404)],
        )
        .await;
    stage.host.stop().await;
}

#[tokio::test]
async fn a_note_without_a_title_or_with_too_much_text_is_refused_with_the_reason() {
    let stage = Stage::set().await;
    let refused = [
        (json!({"title": ""}), "NOTE_TITLE"),
        (json!({"title": "a".repeat(201)}), "NOTE_TITLE"),
        (
            json!({"title": "a", "body": "a".repeat(20_001)}),
            "NOTE_BODY",
        ),
        (json!({"title": "a", "colour": "red"}), "BODY_INVALID"),
    ];
    for (draft, code) in refused {
        let answer = stage
            .ask("POST /hello/notes", Ours(Role::Owner), &draft)
            .await;
        assert_eq!((answer.status, &*answer.code()), (422, code));
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn pages_go_back_in_time_without_a_gap() {
    let host = TestHost::builder()
        .plugin("nself-plugin-hello")
        .config("[plugins.hello.config]\npage_size = 2")
        .start()
        .await;
    let family = Uuid::now_v7();
    for title in ["one", "two", "three"] {
        let written = host
            .post("/hello/notes")
            .role(Role::Owner, family)
            .json(&json!({"title": title}));
        let _ = written.send().await.expect_status(201);
    }
    let page = async |query: &str| {
        let page = host
            .get(&format!("/hello/notes{query}"))
            .role(Role::Owner, family)
            .send()
            .await;
        page.expect_status(200).data()
    };
    let first = page("").await;
    let titles = |page: &Value| -> Vec<String> {
        let notes = page.as_array().expect("a page is a list").iter();
        notes
            .map(|note| note["title"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(titles(&first), ["three", "two"]);
    let last = first[1]["id"].as_str().expect("a note has an id");
    assert_eq!(titles(&page(&format!("?before={last}")).await), ["one"]);
    assert_eq!(
        host.get("/hello/notes?before=x")
            .role(Role::Owner, family)
            .send()
            .await
            .status,
        400
    );
    host.stop().await;
}

#[tokio::test]
async fn notes_are_read_and_written_by_graphql_too() {
    let stage = Stage::set().await;
    let adult = stage.host.token(Role::AdultMember, stage.family);
    let ask = async |field: &str, arguments: Value| {
        let answer = stage.host.action(field, &adult, arguments).await;
        answer.unwrap_or_else(|error| panic!("{field}: {error}"))
    };
    let input = json!({"input": {"title": "Trip", "body": "Tickets"}});
    let second = ask("hello_write_note", input).await;
    let shown = ask("hello_note", json!({"id": second["id"]})).await;
    assert_eq!(shown["body"], "Tickets");
    let all = ask("hello_latest_notes", json!({})).await;
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    let before = ask("hello_latest_notes", json!({"before": second["id"]})).await;
    assert_eq!(before[0]["id"], stage.note);
    assert_eq!(before.as_array().map(Vec::len), Some(1));
    let elsewhere = stage.host.token(Role::Owner, stage.other);
    let theirs = stage
        .host
        .action("hello_note", &elsewhere, json!({"id": second["id"]}));
    let error = theirs.await.expect_err("it is another family's");
    assert_eq!(error["extensions"]["code"], "NOTE_NOT_FOUND");
    stage.host.stop().await;
}
