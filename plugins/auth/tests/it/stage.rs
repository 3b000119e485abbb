//! What every test begins with: a host with auth and mail, and people who have accounts.

use nself_plugin_testkit::{Answer, Request, TestHost, TestHostBuilder, eventually};
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A host on which people sign up.
pub(crate) struct Stage {
    pub(crate) host: TestHost,
}

/// What signing in gives.
#[derive(Debug, Clone)]
pub(crate) struct Session(pub(crate) Value);

impl Session {
    pub(crate) fn access(&self) -> &str {
        self.0["access_token"].as_str().expect("an access token")
    }

    pub(crate) fn refresh(&self) -> &str {
        self.0["refresh_token"].as_str().expect("a refresh token")
    }

    /// The claims, unverified: what the host makes of them is tested elsewhere.
    pub(crate) fn claims(&self) -> Value {
        claims(self.access())
    }
}

pub(crate) fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).expect("a token has a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("it is base64url");
    serde_json::from_slice(&payload).expect("it is JSON")
}

impl Stage {
    /// With the defaults: an account begins with a mail.
    pub(crate) async fn set() -> Self {
        Self::with("").await
    }

    /// Where people are signed in as soon as they register.
    pub(crate) async fn open() -> Self {
        Self::with("[plugins.auth.config]\nsign_up = \"open\"").await
    }

    pub(crate) async fn with(config: &str) -> Self {
        let host = Self::builder(config).start().await;
        Self { host }
    }

    /// What is on every stage, before it is set.
    pub(crate) fn builder(config: &str) -> TestHostBuilder {
        TestHost::builder()
            .plugin("nself-plugin-mail")
            .plugin("nself-plugin-auth")
            .config("[plugins.mail.listen]\n1025 = 0")
            .config(config)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.host.post(path).json(body).send().await
    }

    pub(crate) async fn post_as(&self, session: &Session, path: &str, body: &Value) -> Answer {
        let request = self.host.post(path).token(session.access());
        request.json(body).send().await
    }

    pub(crate) fn get_as(&self, session: &Session, path: &str) -> Request<'_> {
        self.host.get(path).token(session.access())
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password});
        self.post("/auth/login", &body).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.post("/auth/refresh", &json!({"refresh_token": token}))
            .await
    }

    /// A person who has registered and proved the address; signed in.
    pub(crate) async fn person(&self, email: &str) -> Session {
        let body = json!({"email": email, "password": PASSWORD, "display_name": "Ada"});
        let registered = self.post("/auth/register", &body).await;
        if registered.status == 201 {
            return Session(registered.data());
        }
        let _ = registered.expect_status(202);
        let token = self.mailed_token(email, "verify-email").await;
        let verified = self
            .post("/auth/verify-email", &json!({"token": token}))
            .await;
        Session(verified.expect_status(200).data())
    }

    /// The newest mail to an address whose text has `marker` in it, as soon as it is there.
    pub(crate) async fn mail(&self, email: &str, marker: &str) -> String {
        eventually(&format!("a mail with {marker} to {email}"), async || {
            self.mails(email)
                .await
                .into_iter()
                .find(|mail| mail.contains(marker))
        })
        .await
    }

    /// The texts of all mails to an address, the newest first.
    pub(crate) async fn mails(&self, email: &str) -> Vec<String> {
        let path = format!("/api/v2/search?kind=to&query={email}");
        let found = self.host.get(&path).send().await.expect_status(200).json();
        let items = found["items"].as_array().expect("a list of mails");
        items.iter().map(text_of).collect()
    }

    /// The code that was mailed, as soon as it is there.
    pub(crate) async fn mailed_code(&self, email: &str) -> String {
        eventually("a mail with a code", async || {
            let mails = self.mails(email).await;
            mails.iter().find_map(|mail| eight_digits(mail))
        })
        .await
    }

    /// The token of a link that was mailed beside those that are known.
    pub(crate) async fn another_token(&self, email: &str, page: &str, known: &[String]) -> String {
        eventually("a mail with another link", async || {
            let mails = self.mails(email).await;
            let mut tokens = mails.iter().filter_map(|mail| token_in(mail, page));
            tokens.find(|token| !known.contains(token))
        })
        .await
    }

    /// The token of a link that was mailed.
    pub(crate) async fn mailed_token(&self, email: &str, page: &str) -> String {
        let mail = self.mail(email, &format!("/{page}?token=")).await;
        token_in(&mail, page).expect("a link has a token")
    }
}

/// The token of the link in a mail that leads to this page.
pub(crate) fn token_in(mail: &str, page: &str) -> Option<String> {
    let (_, rest) = mail.split_once(&format!("/{page}?token="))?;
    let is_sign = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
    Some(rest.chars().take_while(is_sign).collect())
}

/// The first word of a mail's text that is eight digits.
fn eight_digits(mail: &str) -> Option<String> {
    let (_, body) = mail.split_once("\r\n\r\n")?;
    let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = body.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(is_code).map(str::to_owned)
}

/// A mail's plain text, whatever it was encoded as.
fn text_of(mail: &Value) -> String {
    decoded(mail["Raw"]["Data"].as_str().expect("a mail has a source"))
}

/// A mail's source with its links whole.
pub(crate) fn decoded(mail: &str) -> String {
    mail.replace("=\r\n", "").replace("=3D", "=")
}
