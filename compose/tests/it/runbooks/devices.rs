//! A television of a family is lost.

use nself_compose::shell::eventually;
use serde_json::{Value, json};

use super::{
    page::{Page, cell, when},
    person::{OPEN, Person},
};
use crate::household::{Household, Reply, text};

pub(super) fn drill(page: &mut Page) {
    let household = Household::start(&["mail", "auth"], OPEN);
    let (owner, family) = Person::registers(&household).makes_a_family(&household);
    let token = pairs(&household, &owner);
    assert_eq!(beats(&household, &token).status, 200);

    let table = page.types(
        &household,
        "nself auth devices --family ID",
        &[("ID", &family)],
    );
    let table = table.good("the devices of the family");
    let lost = cell(&table, &["Television"], "ID");
    let removed = page.confirms(&household, "nself auth devices remove ID", &[("ID", &lost)]);
    removed.good("it is let out");
    eventually("its tokens are refused", || {
        let answered = beats(&household, &token);
        when(answered.status == 401, answered.body)
    });

    let again = pairs(&household, &owner);
    assert_eq!(beats(&household, &again).status, 200);
    let devices = household.data(&["auth", "devices", "--family", &family]);
    let is_another = |device: &Value| device["id"] != *lost && device["revoked_at"].is_null();
    assert!(
        devices.as_array().expect("a list").iter().any(is_another),
        "{devices}"
    );
    assert_eq!(
        beats(&household, &token).status,
        401,
        "the old one stays out"
    );
    let audit = page
        .types(&household, "nself auth audit", &[])
        .good("what it did");
    assert!(audit.contains(&lost), "{audit}");
}

/// Pairs a television by the code that it shows; its token.
fn pairs(household: &Household, owner: &Person) -> String {
    let begun = form(
        household,
        "/oauth/device_authorization",
        "client_id=tv-app&name=Television&kind=tv",
    );
    let path = format!("/auth/device/{}", text(&begun, "/user_code"));
    let decided = household.posts(&path, &owner.header(), &json!({"decision": "approve"}));
    assert_eq!(decided.status, 200, "{decided:?}");
    let code = text(&begun, "/device_code");
    let fields = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=tv-app&device_code={code}"
    );
    text(&form(household, "/oauth/token", &fields), "/access_token")
}

fn form(household: &Household, path: &str, fields: &str) -> Value {
    let reply = household
        .asks(path, &["--data", fields])
        .expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body.parse().expect("JSON")
}

/// What a device that is there says of itself.
fn beats(household: &Household, token: &str) -> Reply {
    let header = format!("authorization: Bearer {token}");
    household.posts("/auth/devices/heartbeat", &header, &json!({}))
}
