//! Keys are turned while somebody is signed in.

use nself_compose::shell::eventually;
use serde_json::Value;

use super::{
    page::{Page, cell, when},
    person::{OPEN, Person},
};
use crate::household::Household;

pub(super) fn drill(page: &mut Page) {
    let household = Household::start(&["mail", "auth"], OPEN);
    keys_of_tokens(page, &household);
    the_operators(page, &household);
}

fn keys_of_tokens(page: &mut Page, household: &Household) {
    let before = Person::registers(household);
    let prepared = page
        .types(household, "nself auth keys rotate", &[])
        .good("a next one");
    let next = cell(&prepared, &["next"], "KEY");
    let still = Person::signs_in(household);
    assert_eq!(still.signed_by(), before.signed_by(), "it signs in a day");
    let turned = page
        .types(household, "nself auth keys rotate --now", &[])
        .good("it signs");
    assert_eq!(cell(&turned, &["active"], "KEY"), next, "{turned}");
    let shown = page.types(
        household,
        "curl -s localhost:3000/.well-known/jwks.json",
        &[],
    );
    let shown: Value = shown.good("the keys").parse().expect("JSON");
    let mut shown = shown["keys"].as_array().expect("keys").iter();
    assert!(shown.any(|key| key["kid"] == *next), "{next}");
    eventually("a fresh token names it", || {
        let signed_by = Person::signs_in(household).signed_by();
        when(signed_by == next, signed_by)
    });
    assert!(before.is_known(household), "tokens of the old key hold");
}

fn the_operators(page: &mut Page, household: &Household) {
    let made = page.types(household, "nself config key NAME", &[("NAME", "second")]);
    let second = made.good("a key").trim().to_owned();
    assert_eq!(status(household, &second), 401, "nobody has read it yet");
    page.types(household, "nself stop", &[]).good("it stops");
    page.types(household, "nself up --detach", &[])
        .good("it starts");
    for key in [&household.key, &second] {
        assert_eq!(status(household, key), 200);
    }
    household.forget("[identity.api_keys.operator]");
    household.run(&["stop"]).good("it stops");
    household.run(&["up", "--detach"]).good("it starts");
    assert_eq!(status(household, &household.key), 401);
    assert_eq!(status(household, &second), 200);
}

/// How a request with that key is answered.
fn status(household: &Household, key: &str) -> u16 {
    let header = format!("x-api-key: {key}");
    let asked = household.asks("/mail/status", &["--header", &header]);
    asked.expect("an answer").status
}
