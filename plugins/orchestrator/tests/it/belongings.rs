//! What a family has here, so that the conformance tests try another family on it: a run that waits, and a command.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::{
    TestHost,
    conformance::{Belonging, Making},
};
use serde_json::json;
use uuid::Uuid;

use crate::stage::{definition, put};

const WAITS: &str = "  - rest:\n      listen:\n        to:\n          one:\n            with:\n              type: org.example.morning\n";

pub(crate) fn of(host: &TestHost, family: Uuid) -> Making<'_> {
    Box::pin(async move {
        put(host, "apart", &definition("apart", "", WAITS)).await;
        let started = host
            .post("/v1/workflows/test/apart/latest/runs")
            .role(Role::Owner, family)
            .json(&json!({"input": {}}))
            .send()
            .await;
        let run = started.expect_status(201).data()["id"].clone();
        let device = TestHost::id_of(Role::Device, family);
        let asked = host
            .post(&format!("/v1/devices/{device}/commands"))
            .role(Role::Owner, family)
            .json(&json!({"name": "player.pause"}))
            .send()
            .await;
        let command = asked.expect_status(201).data()["id"].clone();
        let text = |id: &serde_json::Value| id.as_str().expect("an id").to_owned();
        vec![
            Belonging::new("/v1/workflow-runs/{id}", &[text(&run)]),
            Belonging::new("/v1/device-commands/{id}", &[text(&command)]),
            Belonging::new("/v1/devices/{id}/commands", &[device]),
        ]
    })
}
