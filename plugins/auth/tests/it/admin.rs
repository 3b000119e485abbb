//! What an operator sees and does; nobody else does.

use nself_plugin_testkit::{Answer, eventually};
use serde_json::{Value, json};

use crate::stage::{PASSWORD, Session, Stage};

async fn operator(stage: &Stage, method: &str, path: &str, body: Option<Value>) -> Answer {
    let request = stage.host.request(method, path).operator();
    match body {
        Some(body) => request.json(&body).send().await,
        None => request.send().await,
    }
}

async fn get(stage: &Stage, path: &str) -> Value {
    operator(stage, "GET", path, None)
        .await
        .expect_status(200)
        .data()
}

fn id(session: &Session) -> &str {
    session.0["user"]["id"]
        .as_str()
        .expect("a person has an id")
}

fn emails(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter()
        .filter_map(|one| one["email"].as_str())
        .collect()
}

#[tokio::test]
async fn accounts_are_found_page_by_page() {
    let stage = Stage::open().await;
    for name in ["ada", "bob", "eve"] {
        stage.person(&format!("{name}@example.org")).await;
    }
    let all = get(&stage, "/auth/admin/users").await;
    assert_eq!(
        emails(&all),
        ["eve@example.org", "bob@example.org", "ada@example.org"]
    );
    assert_eq!(
        emails(&get(&stage, "/auth/admin/users?query=BOB@").await),
        ["bob@example.org"]
    );
    assert_eq!(
        emails(&get(&stage, "/auth/admin/users?query=%25").await),
        [""; 0],
        "no pattern"
    );
    assert_eq!(
        emails(&get(&stage, "/auth/admin/users?status=suspended").await),
        [""; 0]
    );
    let first = get(&stage, "/auth/admin/users?limit=2").await;
    assert_eq!(emails(&first), ["eve@example.org", "bob@example.org"]);
    let last = first[1]["id"].as_str().expect("an id");
    let rest = get(&stage, &format!("/auth/admin/users?limit=2&before={last}")).await;
    assert_eq!(emails(&rest), ["ada@example.org"]);
    let one = rest[0]["id"].as_str().expect("an id");
    let shown = get(&stage, &format!("/auth/admin/users/{one}")).await;
    assert_eq!(shown["factors"]["has_password"], true);
    assert_eq!(shown["factors"]["sessions"], 1);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_is_suspended_is_out_everywhere_until_activated() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let beside = stage.host.beside().start().await;
    let path = format!("/auth/admin/users/{}", id(&ada));
    let shown = operator(&stage, "PATCH", &path, Some(json!({"status": "suspended"}))).await;
    assert_eq!(
        shown.expect_status(200).data()["user"]["status"],
        "suspended"
    );
    for host in [&stage.host, &beside] {
        eventually("each host refuses the access token", async || {
            let answer = host.get("/auth/me").token(ada.access()).send().await;
            (answer.status == 401).then_some(())
        })
        .await;
    }
    let _ = stage.refresh(ada.refresh()).await.expect_status(401);
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(401);
    let _ = operator(&stage, "PATCH", &path, Some(json!({"status": "active"})))
        .await
        .expect_status(200);
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    let audit = get(
        &stage,
        &format!("/auth/admin/audit?user={}&action=auth.account_*", id(&ada)),
    )
    .await;
    let actions: Vec<&str> = audit["entries"]
        .as_array()
        .expect("a list of entries")
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    assert_eq!(
        actions,
        ["auth.account_activated", "auth.account_suspended"]
    );
    let actor = audit["entries"][0]["actor"].as_str().expect("an actor");
    assert!(actor.starts_with("operator/"), "{actor}");
    beside.stop().await;
    stage.host.stop().await;
}

#[tokio::test]
async fn an_account_is_made_with_a_password_or_with_a_link_to_set_one() {
    let stage = Stage::set().await;
    let body = json!({"email": "Ada@example.org", "password": PASSWORD});
    let made = operator(&stage, "POST", "/auth/admin/users", Some(body.clone())).await;
    assert_eq!(
        made.expect_status(201).data()["user"]["email"],
        "ada@example.org"
    );
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    let taken = operator(&stage, "POST", "/auth/admin/users", Some(body)).await;
    assert_eq!((taken.status, &*taken.code()), (409, "EMAIL_TAKEN"));
    let weak = json!({"email": "eve@example.org", "password": "password"});
    let weak = operator(&stage, "POST", "/auth/admin/users", Some(weak)).await;
    assert_eq!((weak.status, &*weak.code()), (422, "PASSWORD_COMMON"));
    let body = json!({"email": "bob@example.org", "display_name": "Bob"});
    let made = operator(&stage, "POST", "/auth/admin/users", Some(body)).await;
    let made = made.expect_status(201).data();
    assert_eq!(made["factors"]["has_password"], false);
    let token = stage
        .mailed_token("bob@example.org", "password/reset")
        .await;
    let reset = json!({"token": token, "password": PASSWORD});
    let _ = stage
        .post("/auth/password/reset", &reset)
        .await
        .expect_status(200);
    let _ = stage
        .login("bob@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_operator_vouches_for_an_address() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    assert_eq!(ada.0["user"]["is_email_verified"], false);
    let path = format!("/auth/admin/users/{}", id(&ada));
    let shown = operator(
        &stage,
        "PATCH",
        &path,
        Some(json!({"is_email_verified": true})),
    )
    .await;
    assert_eq!(
        shown.expect_status(200).data()["user"]["is_email_verified"],
        true
    );
    let back = operator(
        &stage,
        "PATCH",
        &path,
        Some(json!({"is_email_verified": false})),
    )
    .await;
    assert_eq!(back.status, 422);
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_operator_deletes_and_signs_out() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    let sessions = get(&stage, &format!("/auth/admin/sessions?user={}", id(&ada))).await;
    assert_eq!(emails(&sessions), ["ada@example.org"; 2]);
    let newest = sessions[0]["id"].as_str().expect("an id");
    let path = format!("/auth/admin/sessions/{newest}");
    let _ = operator(&stage, "DELETE", &path, None)
        .await
        .expect_status(200);
    let gone = operator(&stage, "DELETE", &path, None).await;
    assert_eq!((gone.status, &*gone.code()), (404, "SESSION_NOT_FOUND"));
    let path = format!("/auth/admin/users/{}", id(&ada));
    let ended = operator(&stage, "POST", &format!("{path}/sign-out"), Some(json!({}))).await;
    assert_eq!(ended.expect_status(200).data()["sessions"], 1);
    let _ = stage.refresh(ada.refresh()).await.expect_status(401);
    let _ = operator(&stage, "DELETE", &path, None)
        .await
        .expect_status(200);
    stage.mail("ada@example.org", "deleted").await;
    for method in ["PATCH", "DELETE"] {
        let body = (method == "PATCH").then(|| json!({"status": "active"}));
        let gone = operator(&stage, method, &path, body).await;
        assert_eq!(
            (gone.status, &*gone.code()),
            (404, "USER_NOT_FOUND"),
            "{method}"
        );
    }
    let shown = get(&stage, &path).await;
    assert_eq!(shown["user"]["status"], "deleted");
    assert_eq!(shown["user"]["email"], Value::Null);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_role_in_an_app_comes_with_the_next_token_and_goes_at_once() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let put = async |path: &str, body: Option<Value>| operator(&stage, "PUT", path, body).await;
    let named = json!({"name": "Chat"});
    let _ = put("/auth/admin/apps/chat", Some(named.clone()))
        .await
        .expect_status(200);
    let bad = put("/auth/admin/apps/Chat%20x", Some(named)).await;
    assert_eq!((bad.status, &*bad.code()), (422, "APP_INVALID"));
    let path = format!("/auth/admin/apps/chat/roles/{}", id(&ada));
    let _ = put(&format!("{path}/moderator"), None)
        .await
        .expect_status(200);
    for reserved in ["admin", "anonymous", "Owner"] {
        let refused = put(&format!("{path}/{reserved}"), None).await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (422, "APP_INVALID"),
            "{reserved}"
        );
    }
    let ada = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    assert_eq!(ada.claims()["app_roles"], json!({"chat": ["moderator"]}));
    assert_eq!(
        emails(&get(&stage, "/auth/admin/apps/chat/roles").await),
        ["ada@example.org"]
    );
    let _ = operator(&stage, "DELETE", &format!("{path}/moderator"), None)
        .await
        .expect_status(200);
    eventually("the token that tells of the role is refused", async || {
        let answer = stage.get_as(&ada, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let ada = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    assert_eq!(ada.claims().get("app_roles"), None);
    let _ = operator(&stage, "DELETE", "/auth/admin/apps/chat", None)
        .await
        .expect_status(200);
    let gone = operator(&stage, "DELETE", "/auth/admin/apps/chat", None).await;
    assert_eq!((gone.status, &*gone.code()), (404, "APP_NOT_FOUND"));
    stage.host.stop().await;
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page_and_only_what_auth_wrote() {
    let stage = Stage::open().await;
    for name in ["ada", "bob", "eve"] {
        stage.person(&format!("{name}@example.org")).await;
    }
    let sql = stage.host.sql().await;
    sql.batch_execute("select nself.audit('other.secret', 'somebody')")
        .await
        .expect("the host audits");
    let mut seen = Vec::new();
    let mut path = "/auth/admin/audit?limit=2".to_owned();
    loop {
        let page = get(&stage, &path).await;
        for entry in page["entries"].as_array().expect("a list") {
            seen.push(entry["action"].as_str().expect("an action").to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/auth/admin/audit?limit=2&before={next}");
    }
    let count = |action: &str| seen.iter().filter(|one| *one == action).count();
    assert_eq!(
        (count("auth.signed_up"), count("auth.signed_in")),
        (3, 3),
        "{seen:?}"
    );
    assert_eq!(count("other.secret"), 0);
    let bad = operator(&stage, "GET", "/auth/admin/audit?before=x", None).await;
    assert_eq!((bad.status, &*bad.code()), (400, "QUERY_INVALID"));
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn nobody_but_an_operator_gets_in() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let user = format!("/auth/admin/users/{}", id(&ada));
    for (method, path) in [
        ("GET", "/auth/admin/users"),
        ("POST", "/auth/admin/users"),
        ("GET", &user),
        ("PATCH", &user),
        ("DELETE", &user),
        ("POST", &format!("{user}/sign-out")),
        ("GET", "/auth/admin/sessions"),
        ("GET", "/auth/admin/devices"),
        ("GET", "/auth/admin/audit"),
        ("GET", "/auth/admin/lockouts"),
        ("GET", "/auth/admin/providers"),
        ("GET", "/auth/admin/apps"),
    ] {
        let request = || stage.host.request(method, path);
        assert_eq!(request().send().await.status, 401, "{method} {path}");
        let as_person = request().token(ada.access()).send().await;
        assert_eq!(as_person.status, 403, "{method} {path}");
    }
    let _ = stage
        .get_as(&ada, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}
