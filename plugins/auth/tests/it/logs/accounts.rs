//! The rest of what has secrets: accounts that begin otherwise, change and end, pages whose address holds a token, what
//! operators do.

use nself_plugin_api::jiff::{SignedDuration, Timestamp};
use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use super::{SECRET_OF_HASURA, Secrets, Watched, check_no_line_has, talkative};
use crate::{
    household::id_of,
    provider::hub::Hub,
    stage::{PASSWORD, Session},
};

const CLEO: &str = "cleo.of.the.log@example.org";
const DAN: &str = "dan.of.the.log@example.org";
const FAY: &str = "fay.of.the.log@example.org";
const GUS: &str = "gus.of.the.log@example.org";
const HASH: &str = "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a";

impl Watched<'_> {
    async fn operate(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.secrets.learn(body);
        let request = self.stage.host.request(method, path).operator();
        let answer = request.json(body).send().await;
        let answer = self.hear(path, answer);
        assert!(answer.status < 300, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    async fn import(&mut self, rows: &str) {
        let path = "/auth/admin/import";
        let request = self.stage.host.post(path).operator();
        let request = request.header("content-type", "application/x-ndjson");
        let answer = request.body(rows.to_owned()).send().await;
        let answer = self.hear(path, answer).expect_status(200);
        assert_eq!(answer.data()["made"], 1);
    }

    /// Opens a page that a link in a mail leads to: the token stands in its address.
    async fn open_page(&mut self, page: &str, token: &str) {
        let path = format!("/auth/{page}?token={token}");
        let shown = self.stage.host.get(&path).send().await;
        let _ = shown.expect_status(200);
    }

    /// Begins without an account, keeps it, and moves it to another address.
    async fn begin_without_an_account(&mut self) -> Session {
        let begun = self.post("/auth/anonymous", &json!({})).await;
        let begun = Session(begun.expect_status(201).data());
        let given = json!({"email": CLEO, "password": PASSWORD});
        let path = "/auth/anonymous/upgrade";
        let kept = self.post_as(&begun, path, &given).await;
        assert!(kept.status < 300, "{}", kept.text());
        let token = self.mailed_token(CLEO, "verify-email").await;
        self.open_page("verify-email", &token).await;
        let proof = json!({"token": token});
        let session = self.session("/auth/verify-email", &proof).await;
        let change = json!({"email": DAN});
        let asked = self.post_as(&session, "/auth/email/change", &change).await;
        let _ = asked.expect_status(202);
        let token = self.mailed_token(DAN, "email/confirm").await;
        self.open_page("email/confirm", &token).await;
        let confirm = json!({"token": token});
        let confirmed = self.post("/auth/email/confirm", &confirm).await;
        let _ = confirmed.expect_status(200);
        let login = json!({"email": DAN, "password": PASSWORD});
        self.session("/auth/login", &login).await
    }

    /// A link into a family that is shown, turned down, and wrong.
    async fn answer_a_link(&mut self, session: &Session) {
        let made = self
            .post_as(session, "/auth/families", &json!({"name": "Theirs"}))
            .await;
        let family = id_of(&made.expect_status(201).data());
        let path = format!("/auth/families/{family}/invitations");
        let asked = json!({"role": "ADULT_MEMBER"});
        let made = self.post_as(session, &path, &asked).await;
        let token = made.expect_status(201).data()["token"].take();
        let token = token.as_str().expect("a link's token").to_owned();
        self.open_page("invitations/accept", &token).await;
        let shown = json!({"token": token});
        for path in ["/auth/invitations/show", "/auth/invitations/decline"] {
            let _ = self.post(path, &shown).await;
        }
        let wrong = json!({"token": "a-token-that-nobody-has-made-for-anybody"});
        for path in ["/auth/invitations/show", "/auth/invitations/decline"] {
            assert!(self.post(path, &wrong).await.status >= 400, "{path}");
        }
    }

    /// By the older words: a code, a reset, a token for scripts, the end of a session.
    async fn live_in_older_words(&mut self) {
        let fay = json!({"email": FAY, "password": PASSWORD});
        let _ = self.post("/signup/email-password", &fay).await;
        let begun = self.post("/signin/otp/email", &json!({"email": FAY})).await;
        let _ = begun.expect_status(200);
        let code = self.stage.mailed_code(FAY).await;
        let wrong = json!({"email": FAY, "otp": "00000000"});
        assert!(self.post("/signin/otp/email/verify", &wrong).await.status >= 400);
        self.secrets.keep(&code);
        let right = json!({"email": FAY, "otp": code});
        let answer = self.post("/signin/otp/email/verify", &right).await;
        let session = answer.expect_status(200).json()["session"].take();
        let access = json!({"access_token": session["accessToken"]});
        let soon = Timestamp::now() + SignedDuration::from_hours(24 * 30);
        let token = json!({"expiresAt": soon.to_string()});
        let made = self.post_as(&Session(access), "/pat", &token).await;
        let made = made.expect_status(200).json();
        self.secrets.learn(&made);
        let pat = json!({"personalAccessToken": made["personalAccessToken"]});
        let _ = self.post("/signin/pat", &pat).await.expect_status(200);
        let reset = json!({"email": FAY});
        let _ = self.post("/user/password/reset", &reset).await;
        let mail = self.stage.mail(FAY, "type=passwordReset").await;
        let ticket = mail.split("ticket=").nth(1).expect("a ticket");
        let end = |c: char| c == '&' || c.is_whitespace();
        self.secrets
            .keep(ticket.split(end).next().expect("a ticket"));
        let refresh = json!({"refreshToken": session["refreshToken"]});
        let _ = self.post("/signout", &refresh).await.expect_status(200);
        assert!(self.post("/token", &refresh).await.status >= 400);
    }

    async fn be_operated(&mut self) {
        let account = json!({"email": GUS, "password": PASSWORD});
        let made = self.operate("POST", "/auth/admin/users", &account).await;
        let user = made["data"]["user"]["id"].as_str().expect("an id");
        let path = format!("/auth/admin/users/{user}");
        self.operate("PATCH", &path, &json!({"status": "suspended"}))
            .await;
        let login = json!({"email": GUS, "password": PASSWORD});
        assert_eq!(self.post("/auth/login", &login).await.status, 401);
        self.operate("POST", &format!("{path}/sign-out"), &json!({}))
            .await;
        self.operate("DELETE", &path, &json!({})).await;
        let row = json!({"email": "hal.of.the.log@example.org", "password_hash": HASH});
        self.secrets.keep(HASH);
        let broken = json!({"email": "not an address", "password_hash": HASH});
        self.import(&format!("{row}\n{broken}\n")).await;
        self.operate("POST", "/auth/admin/keys/rotate", &json!({}))
            .await;
        self.secrets.keep(TestHost::OPERATOR_KEY);
    }

    /// Who calls, told to Hasura; then everything is taken along and ended.
    async fn leave(&mut self, session: &Session) {
        for secret in [SECRET_OF_HASURA, "another secret of somebody's"] {
            self.secrets.keep(secret);
            let asked = self.stage.get_as(session, "/auth/hasura/webhook");
            let asked = asked.header("x-hasura-webhook-secret", secret).send().await;
            self.hear("/auth/hasura/webhook", asked);
        }
        let export = self.stage.get_as(session, "/auth/me/export").send().await;
        let _ = export.expect_status(200);
        let revoke = json!({"refresh_token": session.refresh()});
        let _ = self.post("/auth/revoke", &revoke).await.expect_status(200);
        assert_eq!(self.post("/auth/refresh", &revoke).await.status, 401);
        let login = json!({"email": DAN, "password": PASSWORD});
        let session = self.session("/auth/login", &login).await;
        let request = self.stage.host.delete("/auth/me").token(session.access());
        let answer = request.send().await;
        self.hear("/auth/me", answer);
    }
}

#[tokio::test]
async fn nothing_secret_of_how_accounts_begin_change_and_end_is_logged() {
    let hub = Hub::open().await;
    let stage = talkative(&hub, "[plugins.auth.config]\nanonymous_sign_in = true").await;
    let mut watched = Watched {
        stage: &stage,
        secrets: Secrets::default(),
    };
    let session = watched.begin_without_an_account().await;
    watched.answer_a_link(&session).await;
    watched.live_in_older_words().await;
    watched.be_operated().await;
    watched.leave(&session).await;
    let secrets = watched.secrets;
    assert!(secrets.count() > 40, "{} secrets", secrets.count());
    let log = check_no_line_has(&stage, &secrets).await;
    for route in [
        "/auth/email/confirm",
        "/auth/invitations/accept",
        "/auth/admin/import",
        "/auth/hasura/webhook",
        "/signin/otp/email/verify",
    ] {
        assert!(log.contains(&format!("\"route\":\"{route}\"")), "{route}");
    }
    stage.host.stop().await;
}
