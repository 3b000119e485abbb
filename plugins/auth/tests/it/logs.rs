//! What is secret is in no log and in no refusal, however much is logged: every way to sign in is gone once, rightly and
//! wrongly, on a host that logs all that it can.

mod accounts;
mod secrets;

use nself_plugin_testkit::{Answer, TestHost, eventually};
use serde_json::{Value, json};

use self::secrets::Secrets;
use crate::{
    app::App,
    authenticator::{Creation, Key, Usage},
    household::id_of,
    provider::{VERIFIER, hub::Hub},
    stage::{PASSWORD, Session, Stage},
};

const ADA: &str = "ada.of.the.log@example.org";
const BOB: &str = "bob.of.the.log@example.org";
const EVE: &str = "passkey.of.the.log@example.org";
const ORIGIN: &str = "http://localhost:3000";
const SECRET_OF_HASURA: &str = "the-secret-of-hasura-and-the-log";

/// A host with everything switched on that can be logged.
async fn talkative(hub: &Hub, more: &str) -> Stage {
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .program()
        .secret("auth-providers", &Hub::client_secrets().to_string())
        .secret("hasura-webhook-secret", SECRET_OF_HASURA)
        .config("[log]\nlevel = \"trace\"\nformat = \"json\"")
        .config("[plugins.mail.listen]\n1025 = 0")
        .config(
            "[plugins.auth.config]\nsign_up = \"open\"\nredirect_urls = [\"https://app.example/\"]",
        )
        .config(&hub.configuration())
        .config(more);
    Stage {
        host: host.start().await,
    }
}

/// A stage whose requests and answers are watched: what is secret in them is remembered, and no refusal repeats any of it.
struct Watched<'a> {
    stage: &'a Stage,
    secrets: Secrets,
}

impl Watched<'_> {
    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.secrets.learn(body);
        let answer = self.stage.post(path, body).await;
        self.hear(path, answer)
    }

    async fn post_as(&mut self, session: &Session, path: &str, body: &Value) -> Answer {
        self.secrets.learn(body);
        let answer = self.stage.post_as(session, path, body).await;
        self.hear(path, answer)
    }

    async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = serde_urlencoded::to_string(fields).expect("a form");
        let request = self.stage.host.post(path);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(body).send().await;
        self.hear(path, answer)
    }

    fn hear(&mut self, path: &str, answer: Answer) -> Answer {
        if answer.text().contains("_token\"") {
            assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        }
        if answer.status < 400 {
            let body = serde_json::from_slice(&answer.body).unwrap_or_default();
            self.secrets.learn(&body);
        } else {
            let repeated = self.secrets.found_in(&answer.text());
            assert_eq!(repeated, [""; 0], "{path}: {}", answer.text());
        }
        answer
    }

    async fn mailed_token(&mut self, email: &str, page: &str) -> String {
        let token = self.stage.mailed_token(email, page).await;
        self.secrets.keep(&token);
        token
    }

    async fn session(&mut self, path: &str, body: &Value) -> Session {
        Session(self.post(path, body).await.expect_status(200).data())
    }

    /// An address and a password, and each of them wrong; links, codes, another address, another password.
    async fn sign_in_in_every_way(&mut self) -> Session {
        let account = json!({"email": ADA, "password": PASSWORD, "display_name": "Ada"});
        let registered = self.post("/auth/register", &account).await;
        let _ = registered.expect_status(201);
        let token = self.mailed_token(ADA, "verify-email").await;
        self.session("/auth/verify-email", &json!({"token": token}))
            .await;
        for (path, body) in [
            ("/auth/register", account),
            (
                "/auth/register",
                json!({"email": "odd address@example.org", "password": "a password 8"}),
            ),
            (
                "/auth/register",
                json!({"email": BOB, "password": "passwords"}),
            ),
            (
                "/auth/login",
                json!({"email": ADA, "password": "not the password"}),
            ),
            (
                "/auth/login",
                json!({"email": ADA, "password": PASSWORD, "extra": "and more"}),
            ),
            ("/auth/verify-email", json!({"token": token})),
            (
                "/auth/refresh",
                json!({"refresh_token": "rt1.not-a-token-of-ours"}),
            ),
            (
                "/auth/otp/verify",
                json!({"flow_id": uuid::Uuid::now_v7(), "code": "83519264"}),
            ),
        ] {
            assert!(self.post(path, &body).await.status >= 400, "{path}");
        }
        let thought = json!({"password": "a password that was thought of", "email": ADA});
        let _ = self
            .post("/auth/password/check", &thought)
            .await
            .expect_status(200);
        let mailbox = json!({"email": ADA});
        let _ = self.post("/auth/password/forgot", &mailbox).await;
        let token = self.mailed_token(ADA, "password/reset").await;
        let reset = json!({"token": token, "password": "a second password"});
        let reset = self.post("/auth/password/reset", &reset).await;
        let _ = reset.expect_status(200);
        let _ = self.post("/auth/magic-link/start", &mailbox).await;
        let token = self.mailed_token(ADA, "magic-link/verify").await;
        self.session("/auth/magic-link/verify", &json!({"token": token}))
            .await;
        let started = self.post("/auth/otp/start", &mailbox).await;
        let flow = started.expect_status(202).data()["flow_id"].take();
        let code = self.stage.mailed_code(ADA).await;
        let by_code = json!({"flow_id": flow, "code": code});
        let session = self.session("/auth/otp/verify", &by_code).await;
        let change = json!({"current_password": "a second password", "password": PASSWORD});
        let changed = self
            .post_as(&session, "/auth/password/change", &change)
            .await;
        let _ = changed.expect_status(200);
        let login = json!({"email": ADA, "password": PASSWORD});
        let session = self.session("/auth/login", &login).await;
        let renew = json!({"refresh_token": session.refresh()});
        self.session("/auth/refresh", &renew).await
    }

    /// An app, its codes and recovery codes; a passkey.
    async fn enroll_factors(&mut self, session: &Session) -> Session {
        let enrolment = self
            .post_as(session, "/auth/mfa/totp/enroll", &json!({}))
            .await;
        let mut app = App::reading(&enrolment.expect_status(200).data());
        let confirm = json!({"code": app.code()});
        let confirmed = self
            .post_as(session, "/auth/mfa/totp/confirm", &confirm)
            .await;
        let codes = confirmed.expect_status(200).data()["recovery_codes"].take();
        app.recovery_codes = serde_json::from_value(codes).expect("a list of codes");
        for by_recovery in [false, true] {
            self.stage.next_step().await;
            let flow = self.stage.first_factor(ADA, PASSWORD).await;
            let wrong = json!({"flow_id": flow, "code": "604917"});
            let _ = self
                .post("/auth/mfa/verify", &wrong)
                .await
                .expect_status(401);
            let right = if by_recovery {
                json!({"flow_id": flow, "recovery_code": app.recovery_code()})
            } else {
                json!({"flow_id": flow, "code": app.code()})
            };
            self.session("/auth/mfa/verify", &right).await;
        }
        self.stage.next_step().await;
        let proof = json!({"password": PASSWORD, "code": app.code()});
        let session = self.post_as(session, "/auth/reauthenticate", &proof).await;
        let session = Session(session.expect_status(200).data());
        let begun = self
            .post_as(&session, "/auth/passkeys/register/options", &json!({}))
            .await;
        let begun = begun.expect_status(200).data();
        let key = Key::es256();
        let creation = Creation::new(&begun["options"], ORIGIN, &key);
        let body =
            json!({"flow_id": begun["flow_id"], "name": "Key", "credential": creation.response()});
        let kept = self
            .post_as(&session, "/auth/passkeys/register/verify", &body)
            .await;
        let _ = kept.expect_status(201);
        let mut passkey = creation.passkey(key);
        let begun = self.post("/auth/passkeys/login/options", &json!({})).await;
        let begun = begun.expect_status(200).data();
        let usage = Usage::new(&begun["options"], ORIGIN, &mut passkey).response();
        let shown = json!({"flow_id": begun["flow_id"], "credential": usage});
        self.session("/auth/passkeys/login/verify", &shown).await;
        let again = self.post("/auth/passkeys/login/verify", &shown).await;
        assert_eq!(again.status, 401);
        session
    }

    /// A machine, a child, an invitation, a script, a service.
    async fn let_others_in(&mut self, session: &Session) {
        let made = self
            .post_as(session, "/auth/families", &json!({"name": "Ours"}))
            .await;
        let family = id_of(&made.expect_status(201).data());
        let renew = json!({"refresh_token": session.refresh(), "family_id": family});
        let owner = self.session("/auth/refresh", &renew).await;
        let asked = json!({"role": "ADULT_MEMBER", "email": BOB});
        let path = format!("/auth/families/{family}/invitations");
        let _ = self.post_as(&owner, &path, &asked).await.expect_status(201);
        let token = self.mailed_token(BOB, "auth/invitations/accept").await;
        let shown = json!({"token": token});
        let _ = self
            .post("/auth/invitations/show", &shown)
            .await
            .expect_status(200);
        let bob = json!({"email": BOB, "password": "the password of bob", "invitation": token});
        let _ = self.post("/auth/register", &bob).await.expect_status(201);
        let child = self.stage.child(&owner, &family, "Cleo").await;
        let member = id_of(&child);
        let path = format!("/auth/families/{family}/children/{member}/sign-in-code");
        let code = self.post_as(&owner, &path, &json!({})).await;
        let code = code.expect_status(201).data();
        let shown = json!({"flow_id": code["flow_id"], "code": code["code"]});
        self.session("/auth/children/sign-in", &shown).await;
        self.pair(&owner).await;
        let made = self
            .post_as(&owner, "/auth/tokens", &json!({"name": "backup"}))
            .await;
        let token = made.expect_status(201).data()["token"].take();
        self.session("/auth/tokens/exchange", &json!({"token": token}))
            .await;
        let wrong = json!({"token": "nspat_of-nobody-who-is-here"});
        let _ = self
            .post("/auth/tokens/exchange", &wrong)
            .await
            .expect_status(401);
        let pat = json!({"personalAccessToken": token});
        let _ = self.post("/signin/pat", &pat).await;
        let body = json!({"name": "indexer", "scopes": ["auth.introspect"]});
        let service = self.stage.host.post("/auth/admin/services").operator();
        let service = service.json(&body).send().await;
        let service = self
            .hear("/auth/admin/services", service)
            .expect_status(201);
        let shown = json!({"token": service.data()["token"]});
        let access = self.post("/auth/service-token", &shown).await;
        let access = access.expect_status(200).json();
        self.secrets.learn(&access);
        let asked = self.stage.host.post("/auth/token/introspect");
        let asked = asked.token(TestHost::SERVICE_KEY);
        let asked = asked.header("content-type", "application/x-www-form-urlencoded");
        let body = format!("token={}", owner.access());
        let _ = asked.body(body).send().await.expect_status(200);
        self.secrets.keep(TestHost::SERVICE_KEY);
        self.secrets.keep(TestHost::OPERATOR_KEY);
    }

    async fn pair(&mut self, owner: &Session) {
        let fields = [
            ("client_id", "tv-app"),
            ("name", "Television"),
            ("kind", "tv"),
        ];
        let begun = self.form("/oauth/device_authorization", &fields).await;
        let begun = begun.expect_status(200).json();
        let text = |name: &str| begun[name].as_str().expect("a text").to_owned();
        let poll = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "tv-app"),
            ("device_code", &text("device_code")),
        ];
        let _ = self.form("/oauth/token", &poll).await.expect_status(400);
        let path = format!("/auth/device/{}", text("user_code"));
        let _ = self
            .stage
            .get_as(owner, &path)
            .send()
            .await
            .expect_status(200);
        let missing = self
            .stage
            .get_as(owner, "/auth/device/BCDF-GHJK")
            .send()
            .await;
        self.secrets.keep("BCDF-GHJK");
        assert_eq!(self.hear(&path, missing).status, 404);
        let decided = self
            .post_as(owner, &path, &json!({"decision": "approve"}))
            .await;
        let _ = decided.expect_status(200);
        self.stage
            .host
            .sql()
            .await
            .batch_execute("update auth.device_codes set polled_at = now() - interval '1 hour'")
            .await
            .expect("time passes");
        let tokens = self.form("/oauth/token", &poll).await;
        let tokens = tokens.expect_status(200).json();
        let refresh = tokens["refresh_token"].as_str().expect("a refresh token");
        let renew = [
            ("grant_type", "refresh_token"),
            ("client_id", "tv-app"),
            ("refresh_token", refresh),
        ];
        let _ = self.form("/oauth/token", &renew).await.expect_status(200);
    }

    /// By a link of the older clients, whose address carries what it is worth.
    async fn sign_in_by_an_address(&mut self) {
        let mailbox = json!({"email": BOB});
        let _ = self
            .post("/signin/passwordless/email", &mailbox)
            .await
            .expect_status(200);
        let mail = self.stage.mail(BOB, "type=signinPasswordless&").await;
        let (_, link) = mail.split_once("http://localhost:3000").expect("a link");
        let link = link
            .split_whitespace()
            .next()
            .expect("a link")
            .trim_end_matches(['"', '>']);
        let ticket = link
            .split("ticket=")
            .nth(1)
            .and_then(|rest| rest.split('&').next());
        self.secrets.keep(ticket.expect("a ticket"));
        let followed = self.stage.host.get(link).send().await.expect_status(302);
        let location = followed.headers["location"].to_str().expect("an address");
        let token = location.split("refreshToken=").nth(1).expect("a token");
        self.secrets.keep(token.split('&').next().expect("a token"));
        let again = self.stage.host.get(link).send().await;
        assert_eq!(again.status, 302);
    }

    /// As apps written for Nhost do it: an account by a passkey, a proof by it, a code for a session, a place elsewhere.
    async fn sign_in_in_hasura_auths_words(&mut self, hub: &Hub) {
        let eve = json!({"email": EVE, "options": {"displayName": "Eve"}});
        let begun = self.post("/signup/webauthn", &eve).await;
        let key = Key::es256();
        let creation = Creation::new(&begun.expect_status(200).json(), ORIGIN, &key);
        let made = json!({"credential": creation.response()});
        let signed_up = self.post("/signup/webauthn/verify", &made).await;
        let _ = signed_up.expect_status(200);
        let again = self.post("/signup/webauthn/verify", &made).await;
        assert_eq!(again.status, 400);
        let mut passkey = creation.passkey(key);
        let begun = self.post("/signin/webauthn", &json!({})).await;
        let begun = begun.expect_status(200).json();
        let shown = Usage::new(&begun, ORIGIN, &mut passkey).response();
        let shown = json!({"credential": shown});
        let answer = self.post("/signin/webauthn/verify", &shown).await;
        let mut session = answer.expect_status(200).json()["session"].take();
        let session = Session(json!({"access_token": session["accessToken"].take()}));
        let again = self.post("/signin/webauthn/verify", &shown).await;
        assert_eq!(again.status, 400);
        let begun = self
            .post_as(&session, "/elevate/webauthn", &json!({}))
            .await;
        let begun = begun.expect_status(200).json();
        let shown = Usage::new(&begun, ORIGIN, &mut passkey).response();
        let shown = json!({"credential": shown});
        let elevated = self
            .post_as(&session, "/elevate/webauthn/verify", &shown)
            .await;
        let _ = elevated.expect_status(200);
        let token = json!({"provider": "hub", "idToken": "a.token-of.nobody", "nonce": "a nonce"});
        for path in ["/signin/idtoken", "/signup/idtoken"] {
            assert!(self.post(path, &token).await.status >= 400, "{path}");
        }
        let linked = self.post_as(&session, "/link/idtoken", &token).await;
        assert!(linked.status >= 400);
        for secret in hub.sign_in_for_nhost(self.stage, session.access()).await {
            self.secrets.keep(&secret);
        }
        let code = hub.session_code(self.stage).await;
        self.secrets.keep(&code);
        let wrong = json!({"code": code, "codeVerifier": "x".repeat(43)});
        let refused = self.post("/token/exchange", &wrong).await;
        assert_eq!(refused.status, 401);
        let code = hub.session_code(self.stage).await;
        let right = json!({"code": code, "codeVerifier": VERIFIER});
        let exchanged = self.post("/token/exchange", &right).await;
        let _ = exchanged.expect_status(200);
    }

    /// What is on its way when the database goes.
    async fn lose_the_database(&mut self, session: &Session) {
        let outage = self.stage.host.database_away().await;
        for (path, body) in [
            ("/auth/login", json!({"email": ADA, "password": PASSWORD})),
            (
                "/auth/register",
                json!({"email": "eve.of.the.log@example.org", "password": "the password of eve"}),
            ),
            ("/auth/refresh", json!({"refresh_token": session.refresh()})),
            ("/auth/magic-link/start", json!({"email": ADA})),
        ] {
            let _ = self.post(path, &body).await.expect_status(503);
        }
        outage.end().await;
        eventually("the database is back", async || {
            let answer = self.stage.refresh(session.refresh()).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_or_told_in_a_refusal() {
    let hub = Hub::open().await;
    let stage = talkative(&hub, "").await;
    let mut watched = Watched {
        stage: &stage,
        secrets: Secrets::default(),
    };
    let session = watched.sign_in_in_every_way().await;
    let session = watched.enroll_factors(&session).await;
    watched.let_others_in(&session).await;
    watched.sign_in_by_an_address().await;
    for secret in hub.sign_in(&stage).await {
        watched.secrets.keep(&secret);
    }
    watched.sign_in_in_hasura_auths_words(&hub).await;
    watched.lose_the_database(&session).await;
    let secrets = watched.secrets;
    assert!(secrets.count() > 100, "{} secrets", secrets.count());
    let log = check_no_line_has(&stage, &secrets).await;
    check_that_it_is_a_log(&log);
    check_what_was_audited(&stage, &secrets).await;
    stage.host.stop().await;
}

/// The log up to now, in which none of the secrets stands.
async fn check_no_line_has(stage: &Stage, secrets: &Secrets) -> String {
    let marked = stage.host.get("/auth/providers");
    let _ = marked
        .header("x-request-id", "the-last-request")
        .send()
        .await;
    let log = eventually("the log is written", async || {
        let log = stage.host.log();
        log.contains("the-last-request").then_some(log)
    })
    .await;
    for line in log.lines() {
        assert_eq!(secrets.found_in(line), [""; 0], "{line}");
    }
    log
}

/// Every change that matters has its entry, none of which repeats a secret, and the chain of them holds.
async fn check_what_was_audited(stage: &Stage, secrets: &Secrets) {
    let sql = stage.host.sql().await;
    let entries = "select action, row_to_json(l)::text from nself.audit_log l";
    let entries = sql.query(entries, &[]).await.expect("the log reads");
    let actions: Vec<&str> = entries.iter().map(|entry| entry.get(0)).collect();
    for action in [
        "auth.signed_up",
        "auth.email_verified",
        "auth.signed_in",
        "auth.proof_failed",
        "auth.session_ended",
        "auth.password_changed",
        "auth.totp_enrolled",
        "auth.recovery_code_used",
        "auth.reauthenticated",
        "auth.passkey_added",
        "auth.token_made",
        "auth.identity_linked",
        "auth.device_signed_in",
        "family.child_sign_in_code_made",
    ] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    for entry in &entries {
        let text: &str = entry.get(1);
        // Whose address was changed or asked in is what the entry is about.
        let found = secrets.found_in(text);
        let is_address = |secret: &&str| secret.contains("example.org");
        assert!(found.iter().all(is_address), "{text}");
    }
    let broken = sql.query("select * from nself.verify_audit()", &[]).await;
    assert!(broken.expect("the chain is read").is_empty());
}

/// A scan of nothing finds nothing.
fn check_that_it_is_a_log(log: &str) {
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let count = |name: &str, value: &str| lines.iter().filter(|line| line[name] == value).count();
    assert!(count("target", "nself::access") > 60, "requests");
    assert!(count("level", "DEBUG") > 0, "details");
    let routes = |route: &str| lines.iter().any(|line| line["route"] == route);
    for route in [
        "/auth/login",
        "/auth/device/{user_code}",
        "/verify",
        "/auth/oauth/{provider}/callback",
        "/signin/provider/{provider}",
        "/signin/provider/{provider}/callback",
        "/signup/webauthn/verify",
        "/elevate/webauthn/verify",
        "/token/exchange",
    ] {
        assert!(routes(route), "{route}");
    }
}
