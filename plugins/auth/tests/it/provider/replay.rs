//! A code that comes a second time was copied: what it has begun ends (RFC 6749, sections 4.1.2 and 10.5).

use nself_plugin_testkit::eventually;
use serde_json::json;

use super::{
    CHALLENGE, Session, Stage, TRUSTED, VERIFIER,
    browser::{Browser, HOME, parameter},
    callback_of, start_of, with_place,
};

const APP: &str = "http://app.example/in";

/// A session ends for the refresh token at once and for the access token soon, is in the audit log, and its owner is told.
async fn ends(stage: &Stage, session: &Session) {
    let ended = stage.refresh(session.refresh()).await.expect_status(401);
    assert_eq!(ended.code(), "SESSION_REVOKED");
    eventually("the access token ends", async || {
        let answer = stage.get_as(session, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let sql = stage.host.sql().await;
    let told = "select (select count(*) from nself.audit_log where action = 'auth.code_replayed'), \
                (select count(*) from nself.audit_log where action = 'auth.session_ended' and details ->> 'why' = 'code_replayed')";
    let row = sql.query_one(told, &[]).await.expect("the log reads");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1));
    stage
        .mail("alice@example.org", "A key of your session was used twice")
        .await;
}

/// The address that a place answers to, with state and code, and the address where the browser has ended.
async fn arrive(browser: &mut Browser) -> (String, String) {
    let answer = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    let arrived = browser
        .follow_to(&answer, &format!("{HOME}/signed-in"))
        .await;
    (answer, arrived)
}

#[tokio::test]
async fn a_code_that_is_exchanged_twice_ends_its_session_and_no_other_one() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let other = stage.signed_in_with("place", "alice").await;
    let (_, arrived) = arrive(&mut Browser::of(&stage.host, "alice")).await;
    let session = Session(stage.exchange(&arrived).await.expect_status(200).data());
    for _ in 0..3 {
        let again = stage.exchange(&arrived).await;
        assert_eq!((again.status, &*again.code()), (401, "CODE_INVALID"));
    }
    ends(&stage, &session).await;
    let _ = stage.refresh(other.refresh()).await.expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_answer_of_a_place_that_comes_again_ends_the_session_from_whichever_browser() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let (answer, arrived) = arrive(&mut Browser::of(&stage.host, "alice")).await;
    let session = Session(stage.exchange(&arrived).await.expect_status(200).data());
    let again = Browser::of(&stage.host, "").open(&answer).await;
    assert_eq!((again.status, &*again.code()), (400, "OAUTH_FLOW_INVALID"));
    ends(&stage, &session).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_again_before_its_session_has_begun_lets_none_begin() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let (answer, arrived) = arrive(&mut Browser::of(&stage.host, "alice")).await;
    let _ = Browser::of(&stage.host, "").open(&answer).await;
    let refused = stage.exchange(&arrived).await;
    assert_eq!((refused.status, &*refused.code()), (401, "CODE_INVALID"));
    let sql = stage.host.sql().await;
    let living = "select count(*) from auth.sessions where revoked_at is null";
    let row = sql.query_one(living, &[]).await;
    assert_eq!(row.expect("sessions are counted").get::<_, i64>(0), 0);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_wrong_state_ends_nothing() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let (answer, arrived) = arrive(&mut Browser::of(&stage.host, "alice")).await;
    let session = Session(stage.exchange(&arrived).await.expect_status(200).data());
    let state = parameter(&answer, "state").expect("a state");
    let code = parameter(&arrived, "code").expect("a code");
    let wrong = |text: &str| {
        let (first, rest) = text.split_at(text.len() - 4);
        let turned: String = rest.chars().rev().collect();
        format!("{first}{}", if turned == rest { "AAAA" } else { &turned })
    };
    let _ = Browser::of(&stage.host, "")
        .open(&answer.replace(&state, &wrong(&state)))
        .await;
    let body = json!({"code": wrong(&code), "code_verifier": VERIFIER});
    let _ = stage
        .post("/auth/oauth/exchange", &body)
        .await
        .expect_status(401);
    let _ = stage.refresh(session.refresh()).await.expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn the_code_of_an_app_written_for_nhost_ends_its_session_when_it_comes_again() {
    let listed = format!("[plugins.auth.config]\nredirect_urls = [\"{APP}\"]");
    let (stage, _place) = with_place(&[&listed], TRUSTED).await;
    let start = format!("{HOME}/signin/provider/place?codeChallenge={CHALLENGE}");
    for comes_again in ["the code", "the answer of the place"] {
        let mut browser = Browser::of(&stage.host, "alice");
        let back = format!("{HOME}/signin/provider/place/callback");
        let answer = browser.follow_to(&start, &back).await;
        let arrived = browser.follow_to(&answer, APP).await;
        let code = parameter(&arrived, "code").expect("a code");
        let body = json!({"code": code, "codeVerifier": VERIFIER});
        let exchanged = stage
            .post("/token/exchange", &body)
            .await
            .expect_status(200);
        let refresh = json!({"refreshToken": exchanged.json()["session"]["refreshToken"]});
        if comes_again == "the code" {
            let _ = stage
                .post("/token/exchange", &body)
                .await
                .expect_status(401);
        } else {
            let _ = browser.open(&answer).await;
        }
        let ended = stage.post("/token", &refresh).await;
        assert_eq!(ended.status, 401, "{comes_again}: {}", ended.text());
    }
    stage.host.stop().await;
}
