//! What the tests of the plugin have in common: hosts, families with a device, and commands.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use uuid::Uuid;

/// A family with a paired device, and who is in it.
pub(crate) struct Home {
    pub family: Uuid,
    pub device: Uuid,
    pub device_token: String,
}

pub(crate) async fn host() -> TestHost {
    host_with("").await
}

/// A host whose `[plugins.orchestrator.config]` has these lines.
pub(crate) async fn host_with(config: &str) -> TestHost {
    TestHost::builder()
        .plugin("nself-plugin-orchestrator")
        .config(&format!("[plugins.orchestrator.config]\n{config}\n"))
        .start()
        .await
}

/// A family with a device.
pub(crate) async fn home(host: &TestHost) -> Home {
    let sql = host.sql().await;
    let row = sql
        .query_one(
            "with f as (insert into public.families (name) values ('Home') returning id) \
             insert into public.devices (family_id, name) select id, 'TV' from f returning family_id, id",
            &[],
        )
        .await
        .expect("a family and its device");
    let (family, device) = (row.get(0), row.get(1));
    Home {
        family,
        device,
        device_token: host.token_of(device, Some((Role::Device, family))),
    }
}

/// Asks for a command as the owner of the family.
pub(crate) async fn ask(host: &TestHost, home: &Home, body: Value) -> Value {
    let answer = host
        .post(&format!("/v1/devices/{}/commands", home.device))
        .role(Role::Owner, home.family)
        .json(&body)
        .send()
        .await;
    answer.expect_status(201).data()
}

pub(crate) async fn pause(host: &TestHost, home: &Home) -> Value {
    ask(host, home, json!({"name": "player.pause"})).await
}

/// What the device gets when it asks, waiting for at most so many seconds.
pub(crate) async fn fetch(host: &TestHost, home: &Home, wait: u32) -> Vec<Value> {
    let answer = host
        .get(&format!("/v1/devices/{}/commands?wait={wait}", home.device))
        .token(&home.device_token)
        .send()
        .await;
    let data = answer.expect_status(200).data();
    data.as_array().expect("a list").clone()
}

/// A command as the owner of the family sees it.
pub(crate) async fn show(host: &TestHost, home: &Home, id: &Value) -> Value {
    let id = id.as_str().expect("an id");
    let answer = host
        .get(&format!("/v1/device-commands/{id}"))
        .role(Role::Owner, home.family)
        .send()
        .await;
    answer.expect_status(200).data()
}
