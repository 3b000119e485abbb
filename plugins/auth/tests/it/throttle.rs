//! Guessing passwords is slow from everywhere, and nobody is locked out by somebody else's guesses.

use nself_plugin_testkit::Answer;
use serde_json::json;

use crate::stage::{PASSWORD, Stage};

/// Callers are told apart by what the proxy before the host says.
const BEHIND_A_PROXY: &str = "[http]\ntrusted_proxies = [\"127.0.0.1/32\"]\n\
    [plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 20\ntries_per_account = 5";

/// Where its owner signs in from.
const HOME: &str = "203.0.113.7";

async fn login_from(stage: &Stage, address: &str, email: &str, password: &str) -> Answer {
    let request = stage.host.post("/auth/login");
    let request = request.header("x-forwarded-for", address);
    let body = json!({"email": email, "password": password});
    request.json(&body).send().await
}

async fn statuses(stage: &Stage, tries: impl Iterator<Item = (String, String)>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (address, email) in tries {
        let answer = login_from(stage, &address, &email, "guess number one").await;
        if answer.status == 429 {
            assert_eq!(answer.code(), "TOO_MANY_TRIES");
            assert!(answer.headers.contains_key("retry-after"));
        }
        statuses.push(answer.status);
    }
    statuses
}

fn counts(statuses: &[u16]) -> (usize, usize) {
    let count = |status: u16| statuses.iter().filter(|one| **one == status).count();
    (count(401), count(429))
}

#[tokio::test]
async fn an_account_that_is_tried_from_everywhere_is_shut_to_strangers_and_open_to_its_owner() {
    let stage = Stage::with(BEHIND_A_PROXY).await;
    stage.person("ada@example.org").await;
    let known = login_from(&stage, HOME, "ada@example.org", PASSWORD).await;
    let _ = known.expect_status(200);
    let tries = (0..20).map(|at| (format!("198.51.100.{at}"), "ada@example.org".to_owned()));
    // The owner's first sign-in from home was from a place that nobody knew, too.
    assert_eq!(counts(&statuses(&stage, tries).await), (4, 16));
    // Also when the guess is right: whoever asks from nowhere learns nothing.
    let lucky = login_from(&stage, "198.51.100.99", "ada@example.org", PASSWORD).await;
    assert_eq!(lucky.status, 429);
    let owner = login_from(&stage, HOME, "ada@example.org", PASSWORD).await;
    let _ = owner.expect_status(200);
    // At home guesses count as well.
    let tries = (0..10).map(|_| (HOME.to_owned(), "ada@example.org".to_owned()));
    let (wrong, throttled) = counts(&statuses(&stage, tries).await);
    assert!(wrong <= 5 && throttled >= 5, "{wrong} {throttled}");
    stage.host.stop().await;
}

#[tokio::test]
async fn an_account_that_is_not_there_is_shut_in_the_same_way() {
    let stage = Stage::with(BEHIND_A_PROXY).await;
    let tries = (0..20).map(|at| (format!("198.51.100.{at}"), "eve@example.org".to_owned()));
    assert_eq!(counts(&statuses(&stage, tries).await), (5, 15));
    stage.host.stop().await;
}

#[tokio::test]
async fn whoever_tries_many_accounts_is_stopped_and_a_network_is_one_caller() {
    let stage = Stage::with(BEHIND_A_PROXY).await;
    let person = |at: usize| format!("person-{at}@example.org");
    let tries = (0..30).map(|at| ("198.51.100.1".to_owned(), person(at)));
    assert_eq!(counts(&statuses(&stage, tries).await), (20, 10));
    let tries = (0..30).map(|at| (format!("2001:db8:1:2::{at:x}"), person(at)));
    assert_eq!(counts(&statuses(&stage, tries).await), (20, 10));
    let neighbour = login_from(&stage, "2001:db8:1:3::1", &person(99), "guess").await;
    assert_eq!(neighbour.status, 401, "another network has its own tries");
    stage.host.stop().await;
}

#[tokio::test]
async fn what_a_caller_writes_before_the_proxy_is_not_believed() {
    let stage = Stage::with(BEHIND_A_PROXY).await;
    // The proxy appends whom it sees; what stands before that is the caller's own invention.
    let tries = (0..30).map(|at| {
        (
            format!("192.0.2.{at}, 198.51.100.1"),
            format!("p-{at}@example.org"),
        )
    });
    assert_eq!(counts(&statuses(&stage, tries).await), (20, 10));
    stage.host.stop().await;
}
