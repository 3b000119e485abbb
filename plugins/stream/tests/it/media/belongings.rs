//! What a family has here, so that the conformance tests try another family on it: a media session.

use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};
use nself_plugin_testkit::{
    TestHost,
    conformance::{Belonging, Making},
};

use super::home::{SESSIONS, film};

pub(crate) fn of(host: &TestHost, family: Uuid) -> Making<'_> {
    Box::pin(async move {
        let film = film(&host.sql().await, family, "").await;
        let asked = host
            .post(SESSIONS)
            .role(Role::Owner, family)
            .json(&json!({"content_id": film}))
            .send()
            .await;
        let session = asked.expect_status(201).data()["id"].clone();
        let session = session.as_str().expect("an id");
        vec![Belonging::new(&format!("{SESSIONS}/{{id}}"), &[session])]
    })
}
