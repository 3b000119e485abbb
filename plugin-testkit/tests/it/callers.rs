//! Whom a plugin sees behind a token or a key.

use nself_plugin_api::{manifest::Role, uuid::Uuid};
use nself_plugin_testkit::TestHost;
use serde_json::json;

use crate::started;

#[tokio::test]
async fn a_person_has_a_family_and_a_role_in_it() {
    let host = started().await;
    let (family, user) = (Uuid::now_v7(), Uuid::now_v7());
    let token = host.token_of(user, Some((Role::ChildMember, family)));
    let seen = host
        .get("/fixture/children")
        .token(&token)
        .send()
        .await
        .data();
    let expected = json!({
        "kind": "User", "role": "CHILD_MEMBER", "user_id": user, "device_id": null, "family_id": family,
        "scopes": [],
    });
    assert_eq!(seen, expected);
    let nobodys = host.token_of(user, None);
    let seen = host
        .get("/fixture/anybody")
        .token(&nobodys)
        .send()
        .await
        .data();
    assert_eq!(
        (&seen["user_id"], &seen["role"]),
        (&json!(user), &json!(null))
    );
    host.stop().await;
}

#[tokio::test]
async fn a_device_is_no_user() {
    let host = started().await;
    let seen = host
        .get("/fixture/device")
        .role(Role::Device, Uuid::now_v7())
        .send()
        .await
        .data();
    assert_eq!(
        (&seen["kind"], &seen["user_id"]),
        (&json!("Device"), &json!(null))
    );
    assert!(seen["device_id"].is_string(), "{seen}");
    host.stop().await;
}

#[tokio::test]
async fn keys_open_what_their_scopes_name() {
    let host = started().await;
    let service = host
        .post("/fixture/service")
        .token(TestHost::SERVICE_KEY)
        .send()
        .await;
    assert_eq!(service.data()["scopes"], json!(["fixture.write"]));
    assert_eq!(
        host.get("/fixture/operator")
            .token(TestHost::SERVICE_KEY)
            .send()
            .await
            .status,
        403
    );
    let operator = host.get("/fixture/operator").operator().send().await;
    assert_eq!(operator.data()["kind"], "Operator");
    assert_eq!(
        host.get("/fixture/operator")
            .token("nsk_nobody")
            .send()
            .await
            .status,
        401
    );
    host.stop().await;
}
