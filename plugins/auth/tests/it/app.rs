//! An authenticator app, as far as tests need one: it reads the secret and shows codes.

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use crate::stage::{Session, Stage};

/// The app of somebody who has enrolled.
pub(crate) struct App {
    secret: Vec<u8>,
    pub(crate) recovery_codes: Vec<String>,
}

impl App {
    pub(crate) fn reading(enrolment: &Value) -> Self {
        let secret = enrolment["secret"].as_str().expect("a secret");
        Self {
            secret: BASE32_NOPAD.decode(secret.as_bytes()).expect("base32"),
            recovery_codes: Vec::new(),
        }
    }

    /// The code that is shown now (RFC 6238).
    pub(crate) fn code(&self) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let step = now.expect("it is after 1970").as_secs() / 30;
        let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let hash = sign(&key, &step.to_be_bytes());
        let hash = hash.as_ref();
        let offset = usize::from(hash[19] & 15);
        let number: [u8; 4] = hash[offset..offset + 4].try_into().expect("four bytes");
        format!(
            "{:06}",
            (u32::from_be_bytes(number) & 0x7fff_ffff) % 1_000_000
        )
    }

    /// A code that is not shown now, nor shortly before or after.
    pub(crate) fn wrong_code() -> &'static str {
        "00000x"
    }

    pub(crate) fn recovery_code(&mut self) -> String {
        self.recovery_codes.pop().expect("one is left")
    }
}

impl Stage {
    /// Enrols an app, and gives the session what it has become by that.
    pub(crate) async fn enroll(&self, session: &Session) -> (App, Session) {
        let enrolment = self
            .post_as(session, "/auth/mfa/totp/enroll", &json!({}))
            .await;
        let mut app = App::reading(&enrolment.expect_status(200).data());
        let code = json!({"code": app.code()});
        let confirmed = self.post_as(session, "/auth/mfa/totp/confirm", &code).await;
        let codes = confirmed.expect_status(200).data()["recovery_codes"].take();
        app.recovery_codes = serde_json::from_value(codes).expect("a list of codes");
        self.next_step().await;
        let session = self.refresh(session.refresh()).await;
        (app, Session(session.expect_status(200).data()))
    }

    /// Lets the time of the last code pass.
    pub(crate) async fn next_step(&self) {
        let sql = self.host.sql().await;
        sql.batch_execute(
            "update auth.credentials set last_step = last_step - 10 where kind = 'totp'",
        )
        .await
        .expect("time passes");
    }

    /// The flow of a sign-in that waits for the second factor.
    pub(crate) async fn first_factor(&self, email: &str, password: &str) -> Value {
        let answer = self.login(email, password).await.expect_status(200).data();
        assert_eq!(answer["mfa_required"], true, "{answer}");
        assert_eq!(answer.get("access_token"), None);
        answer["flow_id"].clone()
    }
}
