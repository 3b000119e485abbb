//! Hasura's authentication hook.

use nself_plugin_testkit::{Answer, Request, TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{Session, Stage};

const SECRET: &str = "a secret of the hook";

async fn stage() -> Stage {
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .config("[plugins.mail.listen]\n1025 = 0")
        .config("[plugins.auth.config]\nsign_up = \"open\"")
        .secret("hasura-webhook-secret", SECRET)
        .start()
        .await;
    Stage { host }
}

fn ask<'a>(stage: &'a Stage, session: &Session) -> Request<'a> {
    let request = stage.get_as(session, "/auth/hasura/webhook");
    request.header("x-hasura-webhook-secret", SECRET)
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!((answer.status, &*answer.code()), (401, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn hasura_is_told_who_calls_until_the_session_ends() {
    let stage = stage().await;
    let ada = stage.person("ada@example.org").await;
    let answer = ask(&stage, &ada).send().await.expect_status(200);
    let variables = answer.json();
    assert_eq!(variables["x-hasura-role"], "user");
    assert_eq!(variables["x-hasura-user-id"], ada.0["user"]["id"]);
    let fields = variables.as_object().expect("an object");
    assert!(fields.values().all(Value::is_string), "{variables}");
    assert!(!fields.contains_key("x-hasura-allowed-roles"));
    let age = answer.headers["cache-control"]
        .to_str()
        .expect("it is text");
    assert!(age.starts_with("max-age="), "{age}");
    let admin = ask(&stage, &ada)
        .header("x-hasura-role", "admin")
        .send()
        .await;
    refused(&admin);
    let by_address = format!("/auth/hasura/webhook?secret={}", SECRET.replace(' ', "%20"));
    let _ = stage
        .get_as(&ada, &by_address)
        .send()
        .await
        .expect_status(200);
    let _ = stage
        .post_as(&ada, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    eventually("the hook refuses the token", async || {
        let answer = ask(&stage, &ada).send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    stage.host.stop().await;
}

#[tokio::test]
async fn nobody_but_hasura_is_told_and_nobody_is_nobody() {
    let stage = stage().await;
    let ada = stage.person("ada@example.org").await;
    refused(&stage.get_as(&ada, "/auth/hasura/webhook").send().await);
    let wrong = stage.get_as(&ada, "/auth/hasura/webhook");
    refused(
        &wrong
            .header("x-hasura-webhook-secret", "another")
            .send()
            .await,
    );
    let without = stage.host.get("/auth/hasura/webhook");
    refused(
        &without
            .header("x-hasura-webhook-secret", SECRET)
            .send()
            .await,
    );
    let operator = stage.host.get("/auth/hasura/webhook").operator();
    refused(
        &operator
            .header("x-hasura-webhook-secret", SECRET)
            .send()
            .await,
    );
    let forged = stage.host.get("/auth/hasura/webhook").token("a.b.c");
    refused(
        &forged
            .header("x-hasura-webhook-secret", SECRET)
            .send()
            .await,
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn without_a_secret_the_hook_is_closed() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    for secret in ["", "x"] {
        let request = stage.get_as(&ada, "/auth/hasura/webhook");
        refused(
            &request
                .header("x-hasura-webhook-secret", secret)
                .send()
                .await,
        );
    }
    stage.host.stop().await;
}
