//! A place without discovery, as GitHub is one, for tests of other matters.

use serde_json::{Value, json};

use super::{
    CHALLENGE, REACH_LOOPBACK, TRUSTED, VERIFIER,
    browser::{Browser, HOME, parameter},
    callback_of,
    fake::{Fake, Told, told},
    start_of,
};
use crate::stage::Stage;

/// What is secret between this installation and the place.
const CLIENT_SECRET: &str = "what-nself-and-the-hub-know";
const CODE: &str = "the-code-that-the-hub-gave";
const ACCESS_TOKEN: &str = "gho_the-token-that-the-hub-gave";
const ADDRESS: &str = "person.at.the.hub@example.org";

pub(crate) struct Hub(Fake);

impl Hub {
    pub(crate) async fn open() -> Self {
        let fake = Fake::open(|_, asked| {
            let page = asked.path.split('?').next().unwrap_or_default();
            let nothing = |head: &str| Told {
                head: format!("HTTP/1.1 {head}\r\n"),
                body: String::new(),
            };
            match page {
                "/token" if asked.text.contains(CODE) => told(
                    &json!({"access_token": ACCESS_TOKEN, "token_type": "bearer", "scope": "user:email"}),
                ),
                "/token" => told(&json!({"error": "bad_verification_code"})),
                "/user" => told(&json!({"id": 7, "login": "person"})),
                "/emails" => told(&json!([{"email": ADDRESS, "primary": true, "verified": true}])),
                _ => nothing("404 Not Found"),
            }
        });
        Self(fake.await)
    }

    pub(crate) fn client_secrets() -> Value {
        json!({"hub": CLIENT_SECRET})
    }

    pub(crate) fn configuration(&self) -> String {
        let root = &self.0.root;
        format!(
            "{REACH_LOOPBACK}\n[plugins.auth.config.providers.hub]\npreset = \"github\"\nclient_id = \"nself\"\n\
             {TRUSTED}\n[plugins.auth.config.providers.hub.endpoints]\nauthorization = \"{root}/authorize\"\n\
             token = \"{root}/token\"\nuserinfo = \"{root}/user\"\nemails = \"{root}/emails\""
        )
    }

    /// Where somebody arrives who has signed in there.
    pub(crate) async fn arrival(&self, stage: &Stage) -> String {
        come_back(stage, CODE).await.0
    }

    /// Somebody signs in by the place, after a try that goes wrong; all that was secret on the way.
    pub(crate) async fn sign_in(&self, stage: &Stage) -> Vec<String> {
        let mut secrets: Vec<String> = [CLIENT_SECRET, CODE, ACCESS_TOKEN, ADDRESS, VERIFIER]
            .map(str::to_owned)
            .into();
        let wrong = "a-code-of-nobody-at-all";
        let (refused, state) = come_back(stage, wrong).await;
        assert_eq!(parameter(&refused, "code"), None);
        secrets.extend([wrong.to_owned(), state]);
        let (arrived, state) = come_back(stage, CODE).await;
        secrets.extend([parameter(&arrived, "code").expect("a code"), state]);
        let session = stage.exchange(&arrived).await.expect_status(200).data();
        let texts = ["access_token", "refresh_token"].map(|name| session[name].clone());
        secrets.extend(texts.iter().filter_map(Value::as_str).map(str::to_owned));
        secrets
    }

    /// The same for an app that is written for Nhost; and somebody is talked into linking the place by an address that has
    /// their access token in it.
    pub(crate) async fn sign_in_for_nhost(&self, stage: &Stage, access: &str) -> Vec<String> {
        let wrong = "another-code-of-nobody-at-all";
        let (refused, state) = come_back_to_nhost(stage, "", wrong).await;
        assert_eq!(parameter(&refused, "refreshToken"), None);
        let mut secrets = vec![wrong.to_owned(), state];
        let (arrived, state) = come_back_to_nhost(stage, "", CODE).await;
        secrets.extend([parameter(&arrived, "refreshToken").expect("a token"), state]);
        let link = format!("{HOME}/signin/provider/hub?connect={access}");
        let linked = Browser::of(&stage.host, "").open(&link).await;
        let reason = parameter(linked.leads_to(), "error");
        assert_eq!(reason.as_deref(), Some("invalid-request"));
        secrets
    }

    /// A code that a session is taken over by.
    pub(crate) async fn session_code(&self, stage: &Stage) -> String {
        let challenge = format!("codeChallenge={CHALLENGE}");
        let (arrived, _) = come_back_to_nhost(stage, &challenge, CODE).await;
        parameter(&arrived, "code").expect("a code")
    }
}

/// Somebody comes back from the place with a code; where that leads, and the state that came along.
async fn come_back(stage: &Stage, code: &str) -> (String, String) {
    let (arrived, state) =
        go_and_come_back(stage, &start_of("hub"), &callback_of("hub"), code).await;
    assert!(
        arrived.starts_with(&format!("{HOME}/signed-in?")),
        "{arrived}"
    );
    (arrived, state)
}

async fn go_and_come_back(
    stage: &Stage,
    start: &str,
    callback: &str,
    code: &str,
) -> (String, String) {
    let mut browser = Browser::of(&stage.host, "");
    let asked = browser.open(start).await;
    let state = parameter(asked.leads_to(), "state").expect("a state");
    let answer = format!("{callback}?code={code}&state={state}");
    let arrived = browser.open(&answer).await.leads_to().to_owned();
    (arrived, state)
}

/// The same for an app that is written for Nhost.
async fn come_back_to_nhost(stage: &Stage, more: &str, code: &str) -> (String, String) {
    let start = format!("{HOME}/signin/provider/hub?{more}");
    let callback = format!("{HOME}/signin/provider/hub/callback");
    go_and_come_back(stage, &start, &callback, code).await
}
