//! What another plugin has to say when somebody comes by hasura-auth's surface.

use nself_plugin_testkit::Answer;
use serde_json::{Value, json};

use super::{
    APP, credentials, follow, mailed_link,
    passkeys::{ADA, ORIGIN, script_token, session_of},
    said, with_apps,
};
use crate::{
    authenticator::{Creation, Key},
    hooks::refusal,
    stage::{PASSWORD, Stage},
};

const EVE: &str = "eve@example.org";
const EVE_AGAIN: &str = "eve@example.com";

/// The secret of an app, and its S256 (RFC 7636, appendix B).
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[track_caller]
fn check_refused(way: &str, answer: &Answer) {
    let body = answer.json();
    let got = (answer.status, &body["message"]);
    assert_eq!(got, (403, &json!("do your chores first")), "{way}: {body}");
}

async fn open() -> Stage {
    Stage::hooked(&with_apps("sign_up = \"open\"\nanonymous_sign_in = true")).await
}

#[tokio::test]
async fn every_way_of_signing_up_is_asked_about_and_can_be_refused() {
    let stage = open().await;
    let anonymous = stage.post("/signin/anonymous", &json!({})).await;
    let anonymous = session_of(&anonymous.expect_status(200));
    // The hook says yes when the passkey is asked for, and no when it is there.
    let mailbox = json!({"email": EVE, "options": {"displayName": "Eve"}});
    let options = stage.post("/signup/webauthn", &mailbox).await;
    let creation = Creation::new(&options.expect_status(200).json(), ORIGIN, &Key::es256());
    let passkey =
        json!({"credential": creation.response(), "options": {"displayName": "Eve again"}});
    let deanonymization =
        json!({"signInMethod": "email-password", "email": EVE, "password": PASSWORD});
    let asked_before = stage.asked("register").await.len();

    stage.hook("register", &refusal()).await;
    for (path, body) in [
        ("/signup/email-password", &credentials(EVE)),
        ("/signin/anonymous", &json!({})),
        ("/signup/webauthn", &mailbox),
        ("/signup/webauthn/verify", &passkey),
    ] {
        check_refused(path, &stage.post(path, body).await);
    }
    let path = "/user/deanonymize";
    let refused = stage.post_as(&anonymous, path, &deanonymization).await;
    check_refused(path, &refused);
    let people = "select count(*) from public.users";
    let row = stage.host.sql().await.query_one(people, &[]).await;
    assert_eq!(row.expect("the people are counted").get::<_, i64>(0), 1);
    assert!(stage.mails(EVE).await.is_empty());
    let asked = stage.asked("register").await.split_off(asked_before);
    let ways: Vec<&Value> = asked.iter().map(|asked| &asked["way"]).collect();
    let expected = json!(["address", "anonymous", "address", "address", "address"]);
    assert_eq!(json!(ways), expected);
    assert_eq!(
        asked[3]["display_name"], "Eve again",
        "what the account will say"
    );
    assert_eq!(asked[4]["user_id"], anonymous.claims()["sub"]);

    // It says yes: the account is made.
    stage.hook("register", &json!({})).await;
    let made = stage
        .post_as(&anonymous, path, &deanonymization)
        .await
        .expect_status(200);
    assert_eq!(made.json(), "OK");
    // And who begins with a passkey is asked about as somebody who signs in, too.
    let before = stage.sessions().await;
    stage.hook("sign-in", &refusal()).await;
    let (signed_up, _) = stage.sign_up_with_passkey(EVE_AGAIN).await;
    check_refused("/signup/webauthn/verify", &signed_up);
    assert_eq!(stage.sessions().await, before);
    stage.host.stop().await;
}

#[tokio::test]
async fn at_the_doors_that_sign_in_and_up_a_no_is_told_by_mail_alone() {
    const DOORS: [&str; 4] = [
        "/signup/passwordless/email",
        "/signin/passwordless/email",
        "/signup/otp/email",
        "/signin/otp/email",
    ];
    let stage = Stage::hooked(&with_apps("")).await;
    stage.person(ADA).await;
    for (act, told) in [
        (refusal(), "do your chores first"),
        (json!("fail"), "could not be asked"),
    ] {
        stage.hook("register", &act).await;
        let before = stage.asked("register").await.len();
        let eve = format!("eve-{before}@example.org");
        for path in DOORS {
            let known = stage.post(path, &json!({"email": ADA})).await;
            let unknown = stage.post(path, &json!({"email": eve})).await;
            let looks = |answer: &Answer| {
                let mut names: Vec<String> =
                    answer.headers.keys().map(ToString::to_string).collect();
                names.sort_unstable();
                (answer.status, answer.text(), names)
            };
            assert_eq!(looks(&known), looks(&unknown), "{path}");
            assert_eq!(known.status, 200, "{path}: {}", known.text());
        }
        stage.mail(&eve, told).await;
        let asked = stage.asked("register").await;
        // About both: an answer that took longer for one of them would tell which.
        assert_eq!(asked.len() - before, 2 * DOORS.len());
        for mail in stage.mails(&eve).await {
            assert!(mail.contains("No account at"), "{mail}");
        }
    }
    // Whoever has an account signs in all the same.
    let link = mailed_link(&stage, ADA, "signinPasswordless").await;
    let location = follow(&stage, &link).await;
    assert!(!said(&location, APP, "refreshToken").is_empty());
    let people = "select count(*) from public.users";
    let row = stage.host.sql().await.query_one(people, &[]).await;
    assert_eq!(row.expect("the people are counted").get::<_, i64>(0), 1);
    stage.host.stop().await;
}

#[tokio::test]
async fn every_way_of_signing_in_is_asked_about_and_can_be_refused() {
    // Where addresses are proved first: nobody takes the account over on the way, and its passkey stays.
    let stage = Stage::hooked(&with_apps("anonymous_sign_in = true")).await;
    let ada = stage.person(ADA).await;
    let mut passkey = stage.add_passkey(&ada).await;
    let token = json!({"personalAccessToken": script_token(&stage, &ada).await});
    let mailbox = json!({"email": ADA});
    for path in ["/signin/passwordless/email", "/signin/otp/email"] {
        let _ = stage.post(path, &mailbox).await.expect_status(200);
    }
    let link = mailed_link(&stage, ADA, "signinPasswordless").await;
    let code = json!({"email": ADA, "otp": stage.mailed_code(ADA).await});
    let before = stage.sessions().await;

    stage.hook("sign-in", &refusal()).await;
    for (path, body) in [
        ("/signin/email-password", &credentials(ADA)),
        ("/signin/pat", &token),
        ("/signin/otp/email/verify", &code),
        ("/signin/anonymous", &json!({})),
        (
            "/signin/webauthn/verify",
            &stage.shown_passkey(&mut passkey).await,
        ),
    ] {
        check_refused(path, &stage.post(path, body).await);
    }
    let location = follow(&stage, &link).await;
    let description = said(&location, APP, "errorDescription");
    assert_eq!(description.replace("%20", "+"), "do+your+chores+first");
    let (app, _) = stage.enroll(&ada).await;
    let first = stage
        .post("/signin/email-password", &credentials(ADA))
        .await;
    let ticket = first.expect_status(200).json()["mfa"]["ticket"].take();
    let second = json!({"ticket": ticket, "otp": app.code()});
    let path = "/signin/mfa/totp";
    check_refused(path, &stage.post(path, &second).await);
    assert_eq!(stage.sessions().await, before, "nobody is in");
    stage.host.stop().await;
}

#[tokio::test]
async fn the_claims_of_another_plugin_are_in_what_a_code_is_exchanged_for() {
    let stage = open().await;
    stage.person(ADA).await;
    let code = async || {
        let body = json!({"email": ADA, "codeChallenge": CHALLENGE});
        let asked = stage.post("/signin/passwordless/email", &body).await;
        let _ = asked.expect_status(200);
        let link = mailed_link(&stage, ADA, "signinPasswordless").await;
        let location = follow(&stage, &link).await;
        json!({"code": said(&location, APP, "code"), "codeVerifier": VERIFIER})
    };
    let first = code().await;
    stage
        .hook("claims", &json!({"answer": {"chores.points": 7}}))
        .await;
    let exchanged = stage.post("/token/exchange", &first).await;
    let session = session_of(&exchanged.expect_status(200));
    assert_eq!(session.claims()["chores.points"], 7);
    stage.hook("claims", &refusal()).await;
    let body = json!({"refreshToken": session.refresh()});
    check_refused("/token", &stage.post("/token", &body).await);
    stage.hook("claims", &json!({})).await;
    let renewed = stage.post("/token", &body).await;
    let renewed = renewed.expect_status(200).json();
    assert!(renewed["accessToken"].is_string());
    stage.host.stop().await;
}
