//! Hosts whose clocks do not agree: a little is forgiven, more is not.

use std::{sync::Arc, time::Duration};

use nself_plugin_testkit::{Answer, TestClock, TestHost};
use serde_json::json;

use crate::{
    forgery,
    stage::{Session, Stage},
};

/// How far clocks may differ before a token is refused for it.
const LEEWAY: u64 = 5;

/// A clock that begins now, on a whole second as tokens have it, or so many seconds later.
fn clock(ahead: u64) -> Arc<TestClock> {
    let now = jsonwebtoken::get_current_timestamp() + ahead;
    Arc::new(TestClock::new(
        i64::try_from(now).expect("it is not that late") * 1_000_000,
    ))
}

async fn stage(clock: &Arc<TestClock>) -> Stage {
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .config("[plugins.mail.listen]\n1025 = 0")
        .config("[plugins.auth.config]\nsign_up = \"open\"")
        .clock(Arc::clone(clock));
    Stage {
        host: host.start().await,
    }
}

/// Another host of the same database.
async fn beside(stage: &Stage, clock: &Arc<TestClock>) -> Stage {
    let host = stage.host.beside().clock(Arc::clone(clock));
    Stage {
        host: host.start().await,
    }
}

async fn me(stage: &Stage, token: &str) -> Answer {
    stage.host.get("/auth/me").token(token).send().await
}

#[tokio::test]
async fn a_token_is_good_a_little_longer_where_the_clock_is_ahead_and_no_longer() {
    let (here, there) = (clock(0), clock(0));
    let stage = stage(&here).await;
    let other = beside(&stage, &there).await;
    let ada = stage.person("ada@example.org").await;
    let lifetime = ada.0["expires_in"].as_u64().expect("a number");
    let _ = me(&other, ada.access()).await.expect_status(200);
    there.advance(Duration::from_secs(lifetime + LEEWAY - 1));
    let _ = me(&other, ada.access()).await.expect_status(200);
    there.advance(Duration::from_secs(1));
    let refused = me(&other, ada.access()).await;
    // The second in which it was made is cut off in the token.
    assert_eq!((refused.status, &*refused.code()), (401, "TOKEN_EXPIRED"));
    let _ = me(&stage, ada.access()).await.expect_status(200);
    let renewed = other.refresh(ada.refresh()).await.expect_status(200);
    let _ = me(&other, Session(renewed.data()).access())
        .await
        .expect_status(200);
    other.host.stop().await;
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_from_a_little_ahead_is_good_and_one_that_is_not_valid_yet_is_not() {
    let (ahead, here) = (clock(LEEWAY), clock(0));
    let issuing = stage(&ahead).await;
    let other = beside(&issuing, &here).await;
    let ada = issuing.person("ada@example.org").await;
    let _ = me(&other, ada.access()).await.expect_status(200);
    // Tokens of ours do not say from when on they are good. One that does is taken at its word.
    forgery::publish(&issuing).await;
    let issued_at = ada.claims()["iat"].as_u64().expect("a time");
    let token = |not_before: u64| forgery::right_but(&ada, "nbf", json!(not_before));
    nself_plugin_testkit::eventually("the key is known", async || {
        (me(&other, &token(issued_at)).await.status == 200).then_some(())
    })
    .await;
    let refused = me(&other, &token(issued_at + 1)).await;
    assert_eq!((refused.status, &*refused.code()), (401, "TOKEN_INVALID"));
    here.advance(Duration::from_secs(1));
    let _ = me(&other, &token(issued_at + 1)).await.expect_status(200);
    other.host.stop().await;
    issuing.host.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_given_again_by_a_host_whose_clock_differs_by_less_than_the_grace() {
    let (here, there) = (clock(60), clock(60));
    let stage = stage(&here).await;
    let other = beside(&stage, &there).await;
    let behind = beside(&stage, &clock(0)).await;
    let ada = stage.person("ada@example.org").await;
    let renewed = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    there.advance(Duration::from_secs(30));
    for host in [&other, &behind] {
        let again = host.refresh(ada.refresh()).await.expect_status(200);
        assert_eq!(Session(again.data()).refresh(), renewed.refresh());
    }
    there.advance(Duration::from_secs(1));
    let late = other.refresh(ada.refresh()).await.expect_status(401);
    assert_eq!(late.code(), "REFRESH_TOKEN_REUSED");
    behind.host.stop().await;
    other.host.stop().await;
    stage.host.stop().await;
}
