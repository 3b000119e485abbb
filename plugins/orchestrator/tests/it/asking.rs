//! Who may ask for what.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{Home, ask, fetch, home, host, host_with, pause, show};

async fn ask_with_key(host: &TestHost, home: &Home, key: &str, name: &str) -> (u16, Value) {
    let answer = host
        .post(&format!("/v1/devices/{}/commands", home.device))
        .role(Role::Owner, home.family)
        .header("idempotency-key", key)
        .json(&json!({"name": name}))
        .send()
        .await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn only_who_manages_devices_of_the_family_and_operators_command_them() {
    let host = host().await;
    let (ours, theirs) = (home(&host).await, home(&host).await);
    let path = format!("/v1/devices/{}/commands", ours.device);
    let body = json!({"name": "player.pause"});
    for (role, family, status) in [
        (Role::Owner, ours.family, 201),
        (Role::Admin, ours.family, 201),
        (Role::AdultMember, ours.family, 404),
        (Role::ChildMember, ours.family, 404),
        (Role::Device, ours.family, 404),
        (Role::Owner, theirs.family, 404),
    ] {
        let answer = host.post(&path).role(role, family).json(&body).send().await;
        assert_eq!(answer.status, status, "{} of {family}", role.name());
    }
    let by_operator = host.post(&path).operator().json(&body).send().await;
    let command = by_operator.expect_status(201).data();
    assert_eq!(command["family_id"], json!(ours.family));

    let id = command["id"].as_str().expect("an id");
    let path = format!("/v1/device-commands/{id}");
    let shown = host
        .get(&path)
        .role(Role::Owner, theirs.family)
        .send()
        .await;
    assert_eq!(shown.code(), "COMMAND_NOT_FOUND");
    let cancel = host.post(&format!("{path}/cancel"));
    let cancelled = cancel.role(Role::Owner, theirs.family).send().await;
    assert_eq!(cancelled.code(), "COMMAND_NOT_FOUND");
    let all = host
        .get("/v1/device-commands")
        .role(Role::Owner, theirs.family)
        .send()
        .await;
    assert_eq!(all.data(), json!([]));
    host.stop().await;
}

#[tokio::test]
async fn a_device_that_is_not_there_or_was_let_out_gets_no_commands() {
    let host = host().await;
    let home = home(&host).await;
    let device = home.device;
    let nobody = Home {
        device: Uuid::now_v7(),
        ..home
    };
    let body = json!({"name": "player.pause"});
    let path = format!("/v1/devices/{}/commands", nobody.device);
    let answer = host.post(&path).operator().json(&body).send().await;
    assert_eq!(answer.code(), "COMMAND_DEVICE_NOT_FOUND");
    let sql = host.sql().await;
    let revoke = "update public.devices set revoked_at = now() where family_id = $1";
    sql.execute(revoke, &[&nobody.family])
        .await
        .expect("it is let out");
    let path = format!("/v1/devices/{device}/commands");
    let answer = host.post(&path).operator().json(&body).send().await;
    assert_eq!(answer.code(), "COMMAND_DEVICE_NOT_FOUND");
    host.stop().await;
}

#[tokio::test]
async fn the_same_request_again_is_the_same_command() {
    let host = host().await;
    let home = home(&host).await;
    let (status, first) = ask_with_key(&host, &home, "\"k1\"", "player.pause").await;
    let (_, again) = ask_with_key(&host, &home, "\"k1\"", "player.pause").await;
    assert_eq!((status, &first), (201, &again));
    let (status, other) = ask_with_key(&host, &home, "\"k1\"", "player.play").await;
    assert_eq!((status, &other["code"]), (409, &json!("COMMAND_KEY_USED")));
    assert_eq!(fetch(&host, &home, 0).await.len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn what_can_be_no_command_is_refused() {
    let host = host_with("device_commands_max = 1").await;
    let home = home(&host).await;
    let path = format!("/v1/devices/{}/commands", home.device);
    for body in [
        json!({"name": ""}),
        json!({"name": "Rm -rf"}),
        json!({"name": "a", "expires_seconds": 0}),
        json!({"name": "a", "expires_seconds": 700_000}),
        json!({"name": "a", "input": "x".repeat(70_000)}),
    ] {
        let answer = host.post(&path).operator().json(&body).send().await;
        assert_eq!(answer.code(), "COMMAND_INVALID", "{}", answer.text());
    }
    pause(&host, &home).await;
    let answer = host
        .post(&path)
        .operator()
        .json(&json!({"name": "player.pause"}))
        .send()
        .await;
    assert_eq!((answer.status, &*answer.code()), (429, "COMMAND_TOO_MANY"));
    host.stop().await;
}

#[tokio::test]
async fn a_command_that_is_taken_back_is_not_handed_out_and_stands_in_the_audit_log() {
    let host = host().await;
    let home = home(&host).await;
    let command = ask(
        &host,
        &home,
        json!({"name": "door.open", "input": {"pin": "no-log-4711"}}),
    )
    .await;
    let id = command["id"].as_str().expect("an id");
    let path = format!("/v1/device-commands/{id}/cancel");
    let cancel = || host.post(&path).role(Role::Owner, home.family).send();
    assert_eq!(cancel().await.data()["status"], "cancelled");
    assert_eq!(cancel().await.code(), "COMMAND_ENDED");
    assert_eq!(fetch(&host, &home, 0).await, Vec::<Value>::new());
    assert_eq!(
        show(&host, &home, &command["id"]).await["status"],
        "cancelled"
    );

    let sql = host.sql().await;
    let rows = sql
        .query(
            "select action, details::text from nself.audit_log where target = $1 order by sequence",
            &[&id],
        )
        .await
        .expect("the audit log");
    let actions: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        actions,
        ["orchestrator.command_asked", "orchestrator.command_ended"]
    );
    let told = rows
        .iter()
        .any(|row| row.get::<_, &str>(1).contains("no-log-4711"));
    assert!(
        !told && !host.log().contains("no-log-4711"),
        "its input is nobody's business"
    );
    host.stop().await;
}
