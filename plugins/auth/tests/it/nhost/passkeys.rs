//! Passkeys in hasura-auth's words. What browsers and Nhost's own clients make of them is tried in `browser`.

use nself_plugin_testkit::Answer;
use serde_json::{Value, json};

use super::{APP, check_refused, follow, mailed_link, refresh, with_apps};
use crate::{
    authenticator::{Creation, Key, Passkey, Usage},
    stage::{PASSWORD, Session, Stage},
};

pub(super) const ORIGIN: &str = "http://localhost:3000";
pub(super) const ADA: &str = "ada@example.org";

impl Stage {
    async fn begin_sign_up(&self, email: &str) -> Answer {
        let options = json!({"displayName": "Ada", "metadata": {"theme": "dark"}});
        let body = json!({"email": email, "options": options});
        self.post("/signup/webauthn", &body).await
    }

    /// Somebody makes an account with a new passkey: the answer, and the passkey.
    pub(super) async fn sign_up_with_passkey(&self, email: &str) -> (Answer, Passkey) {
        let options = self.begin_sign_up(email).await.expect_status(200).json();
        let key = Key::es256();
        let creation = Creation::new(&options, ORIGIN, &key);
        let body = json!({"credential": creation.response(), "nickname": "Laptop"});
        let answer = self.post("/signup/webauthn/verify", &body).await;
        (answer, creation.passkey(key))
    }

    pub(super) async fn shown_passkey(&self, passkey: &mut Passkey) -> Value {
        let options = self.post("/signin/webauthn", &json!({})).await;
        let options = options.expect_status(200).json();
        json!({"credential": Usage::new(&options, ORIGIN, passkey).response()})
    }

    async fn sign_in_with_passkey(&self, passkey: &mut Passkey) -> Answer {
        let shown = self.shown_passkey(passkey).await;
        self.post("/signin/webauthn/verify", &shown).await
    }

    /// Another passkey of somebody who is signed in.
    pub(crate) async fn add_passkey(&self, session: &Session) -> Passkey {
        let options = self
            .post_as(session, "/user/webauthn/add", &json!({}))
            .await;
        let options = options.expect_status(200).json();
        let key = Key::es256();
        let creation = Creation::new(&options, ORIGIN, &key);
        let body = json!({"credential": creation.response(), "nickname": " Phone "});
        let added = self.post_as(session, "/user/webauthn/verify", &body).await;
        assert_eq!(added.expect_status(200).json()["nickname"], "Phone");
        creation.passkey(key)
    }
}

/// A session as the house's own routes give it, from one in hasura-auth's shape.
pub(super) fn session_of(answer: &Answer) -> Session {
    let session = answer.json()["session"].take();
    Session(
        json!({"access_token": session["accessToken"], "refresh_token": session["refreshToken"]}),
    )
}

#[tokio::test]
async fn an_account_begins_with_a_passkey_at_once_where_sign_up_is_open() {
    let stage = Stage::open().await;
    let (answer, mut passkey) = stage.sign_up_with_passkey(ADA).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.expect_status(200).json();
    let user = &body["session"]["user"];
    assert_eq!(
        (&user["email"], &user["displayName"], &user["metadata"]),
        (&json!(ADA), &json!("Ada"), &json!({"theme": "dark"}))
    );
    assert_eq!(user["emailVerified"], false);
    let signed_in = stage.sign_in_with_passkey(&mut passkey).await;
    let signed_in = signed_in.expect_status(200);
    assert_eq!(signed_in.json()["session"]["user"]["id"], user["id"]);
    let session = session_of(&signed_in);
    let claims = session.claims();
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("aal2"), &json!(["hwk", "mfa"]))
    );
    let list = stage.get_as(&session, "/auth/passkeys").send().await;
    assert_eq!(list.expect_status(200).data()[0]["name"], "Laptop");
    let (taken, _) = stage.sign_up_with_passkey(ADA).await;
    check_refused(&taken, 409, "email-already-in-use");
    stage.host.stop().await;
}

#[tokio::test]
async fn where_the_address_is_proved_first_the_passkey_waits_for_it() {
    let stage = Stage::with(&with_apps("")).await;
    let (answer, mut passkey) = stage.sign_up_with_passkey(ADA).await;
    let free = answer.expect_status(200);
    assert_eq!(free.json(), json!({"session": null, "mfa": null}));
    check_refused(
        &stage.sign_in_with_passkey(&mut passkey).await,
        400,
        "invalid-request",
    );
    let link = mailed_link(&stage, ADA, "emailVerify").await;
    let session = refresh(&stage, &follow(&stage, &link).await, APP).await;
    let signed_in = stage.sign_in_with_passkey(&mut passkey).await;
    let user = signed_in.expect_status(200).json()["session"]["user"].take();
    assert_eq!(
        (&user["id"], &user["email"]),
        (&session["user"]["id"], &json!(ADA))
    );
    assert_eq!(user["emailVerified"], true);
    // Neither answer of the two tells that the address is taken now.
    let (taken, mut other) = stage.sign_up_with_passkey(ADA).await;
    assert_eq!((taken.status, taken.text()), (free.status, free.text()));
    check_refused(
        &stage.sign_in_with_passkey(&mut other).await,
        400,
        "invalid-request",
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn who_proves_an_address_gets_the_account_without_the_passkey_that_another_one_made_for_it() {
    let stage = Stage::open().await;
    let (planted, mut passkey) = stage.sign_up_with_passkey(ADA).await;
    let planted = planted.expect_status(200).json();
    let body = json!({"email": ADA});
    let _ = stage
        .post("/signin/otp/email", &body)
        .await
        .expect_status(200);
    let code = stage.mailed_code(ADA).await;
    let body = json!({"email": ADA, "otp": code});
    let proved = stage.post("/signin/otp/email/verify", &body).await;
    let proved = proved.expect_status(200).json();
    assert_eq!(
        proved["session"]["user"]["id"],
        planted["session"]["user"]["id"]
    );
    check_refused(
        &stage.sign_in_with_passkey(&mut passkey).await,
        400,
        "invalid-request",
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn where_sign_up_is_closed_no_account_begins_with_a_passkey() {
    let stage = Stage::open().await;
    let options = stage.begin_sign_up(ADA).await.expect_status(200).json();
    let evil = json!({"email": ADA, "options": {"redirectTo": "https://evil.example/"}});
    let evil = stage.post("/signup/webauthn", &evil).await;
    check_refused(&evil, 400, "redirectTo-not-allowed");
    let admin = json!({"email": ADA, "options": {"allowedRoles": ["admin"]}});
    let admin = stage.post("/signup/webauthn", &admin).await;
    check_refused(&admin, 400, "role-not-allowed");
    stage.host.stop().await;
    let stage = Stage::with("[plugins.auth.config]\nsign_up = \"closed\"").await;
    check_refused(&stage.begin_sign_up(ADA).await, 403, "signup-disabled");
    let creation = Creation::new(&options, ORIGIN, &Key::es256());
    let body = json!({"credential": creation.response()});
    let verified = stage.post("/signup/webauthn/verify", &body).await;
    check_refused(&verified, 403, "signup-disabled");
    stage.host.stop().await;
}

#[tokio::test]
async fn options_tell_nothing_of_an_address_and_a_challenge_is_good_once() {
    let stage = Stage::open().await;
    let ada = stage.person(ADA).await;
    let mut passkey = stage.add_passkey(&ada).await;
    let mut answers = Vec::new();
    for body in [
        json!({}),
        json!({"email": ADA}),
        json!({"email": "nobody@example.org"}),
    ] {
        let mut options = stage
            .post("/signin/webauthn", &body)
            .await
            .expect_status(200)
            .json();
        options["challenge"] = Value::Null;
        answers.push(options);
    }
    assert_eq!((&answers[0], &answers[0]), (&answers[1], &answers[2]));
    let shown = stage.shown_passkey(&mut passkey).await;
    let first = stage.post("/signin/webauthn/verify", &shown).await;
    let _ = first.expect_status(200);
    let again = stage.post("/signin/webauthn/verify", &shown).await;
    check_refused(&again, 400, "invalid-request");
    let options = stage
        .begin_sign_up("bob@example.org")
        .await
        .expect_status(200)
        .json();
    let body = json!({"credential": Creation::new(&options, ORIGIN, &Key::es256()).response()});
    let first = stage.post("/signup/webauthn/verify", &body).await;
    let _ = first.expect_status(200);
    let again = stage.post("/signup/webauthn/verify", &body).await;
    check_refused(&again, 400, "invalid-request");
    // A challenge of ours, but not of this ceremony; one of nobody's; and what is no credential at all.
    let usage = Usage::new(&options, ORIGIN, &mut passkey);
    for body in [
        json!({"credential": usage.response()}),
        json!({"credential": Usage::new(&json!({"challenge": "AAAA"}), ORIGIN, &mut passkey).response()}),
        json!({"credential": {"id": "x", "rawId": "y", "type": "public-key", "response": {
            "clientDataJSON": "?", "authenticatorData": "?", "signature": "?"}}}),
    ] {
        let refused = stage.post("/signin/webauthn/verify", &body).await;
        check_refused(&refused, 400, "invalid-request");
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_passkey_is_added_by_a_fresh_proof_for_oneself_alone() {
    let stage = Stage::open().await;
    let ada = stage.person(ADA).await;
    let eve = stage.person("eve@example.org").await;
    let options = stage.post_as(&ada, "/user/webauthn/add", &json!({})).await;
    let options = options.expect_status(200).json();
    let creation = Creation::new(&options, ORIGIN, &Key::es256());
    let body = json!({"credential": creation.response()});
    let foreign = stage.post_as(&eve, "/user/webauthn/verify", &body).await;
    check_refused(&foreign, 400, "invalid-request");
    let script = script_of(&stage, &ada).await;
    for path in ["/user/webauthn/add", "/user/webauthn/verify"] {
        let refused = stage.post_as(&script, path, &body).await;
        check_refused(&refused, 403, "elevated-claim-required");
    }
    stage.host.stop().await;
}

/// A session that began without a fresh proof.
async fn script_of(stage: &Stage, session: &Session) -> Session {
    let body = json!({"personalAccessToken": script_token(stage, session).await});
    session_of(&stage.post("/signin/pat", &body).await.expect_status(200))
}

#[tokio::test]
async fn a_passkey_of_ones_own_is_a_fresh_proof() {
    let stage = Stage::open().await;
    let ada = stage.person(ADA).await;
    let eve = stage.person("eve@example.org").await;
    let stale = stale(&stage, &ada).await;
    let none = stage.post_as(&stale, "/elevate/webauthn", &json!({})).await;
    check_refused(&none, 400, "invalid-request");
    let fresh = Session(stage.login(ADA, PASSWORD).await.expect_status(200).data());
    let mut passkey = stage.add_passkey(&fresh).await;
    let mut others = stage.add_passkey(&eve).await;
    let new_password = json!({"newPassword": "another password 7"});
    let early = stage.post_as(&stale, "/user/password", &new_password).await;
    check_refused(&early, 403, "elevated-claim-required");
    // Somebody else's passkey, and nobody's, are worth the same.
    for passkey in [&mut others, &mut unknown(&passkey)] {
        let options = stage.post_as(&stale, "/elevate/webauthn", &json!({})).await;
        let options = options.expect_status(200).json();
        let allowed = options["allowCredentials"].as_array().expect("a list");
        assert_eq!(allowed.len(), 1, "one's own passkeys are offered");
        let body = json!({"credential": Usage::new(&options, ORIGIN, passkey).response()});
        let refused = stage
            .post_as(&stale, "/elevate/webauthn/verify", &body)
            .await;
        check_refused(&refused, 400, "invalid-request");
    }
    let options = stage.post_as(&stale, "/elevate/webauthn", &json!({})).await;
    let options = options.expect_status(200).json();
    let body = json!({"credential": Usage::new(&options, ORIGIN, &mut passkey).response()});
    let elevated = stage
        .post_as(&stale, "/elevate/webauthn/verify", &body)
        .await;
    let session = session_of(&elevated.expect_status(200));
    let claims = session.claims();
    assert_eq!(claims["sid"], stale.claims()["sid"], "the session goes on");
    assert_eq!(
        claims["https://hasura.io/jwt/claims"]["x-hasura-auth-elevated"],
        claims["sub"]
    );
    let changed = stage
        .post_as(&session, "/user/password", &new_password)
        .await;
    let _ = changed.expect_status(200);
    let _ = stage.login(ADA, PASSWORD).await.expect_status(401);
    stage.host.stop().await;
}

/// A token for somebody's scripts.
pub(super) async fn script_token(stage: &Stage, session: &Session) -> Value {
    let made = stage
        .post_as(session, "/auth/tokens", &json!({"name": "script"}))
        .await;
    made.expect_status(201).data()["token"].take()
}

/// The same session, when its proof is not fresh any more.
async fn stale(stage: &Stage, session: &Session) -> Session {
    let sql = stage.host.sql().await;
    let later = "update auth.sessions set elevated_until = now() where id = $1::text::uuid";
    let id = session.0["session_id"].as_str().expect("a session");
    sql.execute(later, &[&id]).await.expect("time passes");
    let refreshed = stage.refresh(session.refresh()).await;
    Session(refreshed.expect_status(200).data())
}

/// A passkey that was never registered, with the handle of somebody who is known.
fn unknown(passkey: &Passkey) -> Passkey {
    Passkey {
        key: Key::es256(),
        id: vec![7; 32],
        rp_id: passkey.rp_id.clone(),
        user_handle: passkey.user_handle.clone(),
        sign_count: 1,
    }
}
