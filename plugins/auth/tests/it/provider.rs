//! Signing in with other places: the real `oidc-provider`, and some that do wrong on purpose.

mod app_tokens;
mod apple;
mod browser;
mod buttons;
mod fake;
mod guarded;
mod hooks;
pub(crate) mod hub;
mod linking;
mod nhost;
mod oauth;
mod place;
mod replay;
mod sign_in;
mod social;

use nself_plugin_testkit::{Answer, TestHostBuilder, free_port};
use serde_json::{Value, json};

use self::{
    browser::{Browser, HOME, parameter},
    place::Place,
};
use crate::stage::{Session, Stage};

/// The app's own secret, and its S256 (RFC 7636, appendix B).
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Lets the plugin reach servers on this machine.
const REACH_LOOPBACK: &str = "[plugins.auth]\negress = [\"127.0.0.1\"]";

const TRUSTED: &str = "trusts_email = true";

/// A host whose people may sign in with places that are configured so.
async fn stage(config: &[&str]) -> Stage {
    Stage {
        host: builder(config).start().await,
    }
}

fn builder(config: &[&str]) -> TestHostBuilder {
    let secret = "the secret: of nself";
    let secrets = json!({"place": secret, "other": secret, "hub": secret});
    let host = Stage::builder("").secret("auth-providers", &secrets.to_string());
    config.iter().fold(host, |host, part| host.config(part))
}

/// A host with one foreign provider.
async fn with_place(config: &[&str], more: &str) -> (Stage, Place) {
    let place = Place::open().await;
    let provider = place.configured("place", more);
    let all: Vec<&str> = [REACH_LOOPBACK, &*provider]
        .into_iter()
        .chain(config.iter().copied())
        .collect();
    (stage(&all).await, place)
}

/// A host at an address that is known before, with one foreign provider; and that address.
async fn at_home(more: &str) -> (Stage, Place, String) {
    let port = free_port();
    let home = format!("http://localhost:{port}");
    let place = Place::of(&home).await;
    let provider = place.configured("place", &format!("app_client_ids = [\"phone\"]\n{TRUSTED}"));
    let config = format!(
        "[http]\nport = {port}\n[plugins.auth.config]\npublic_url = \"{home}\"\nsign_up = \"open\"\n{more}"
    );
    let stage = stage(&[REACH_LOOPBACK, &provider, &config]).await;
    (stage, place, home)
}

fn start_of(slug: &str) -> String {
    format!(
        "{HOME}/auth/oauth/{slug}/start?redirect_to=/signed-in&code_challenge={CHALLENGE}&state=of+the+app"
    )
}

fn callback_of(slug: &str) -> String {
    format!("{HOME}/auth/oauth/{slug}/callback")
}

/// Where a browser ends that signs in.
async fn arrive(browser: &mut Browser, slug: &str) -> String {
    let arrived = browser
        .follow_to(&start_of(slug), &format!("{HOME}/signed-in"))
        .await;
    assert_eq!(parameter(&arrived, "state").as_deref(), Some("of the app"));
    arrived
}

impl Stage {
    pub(crate) async fn exchange(&self, arrived: &str) -> Answer {
        let code = parameter(arrived, "code").unwrap_or_else(|| panic!("no code in {arrived}"));
        let body = json!({"code": code, "code_verifier": VERIFIER});
        self.post("/auth/oauth/exchange", &body).await
    }

    /// Somebody signs in with a place, in a browser of their own.
    async fn signed_in_with(&self, slug: &str, person: &str) -> Session {
        let arrived = arrive(&mut Browser::of(&self.host, person), slug).await;
        Session(self.exchange(&arrived).await.expect_status(200).data())
    }

    /// Why somebody is not signed in by a place.
    async fn refused_with(&self, slug: &str, person: &str) -> String {
        let arrived = arrive(&mut Browser::of(&self.host, person), slug).await;
        assert_eq!(parameter(&arrived, "code"), None, "{arrived}");
        parameter(&arrived, "error").expect("there is a reason")
    }

    async fn identities(&self, session: &Session) -> Vec<Value> {
        let list = self.get_as(session, "/auth/identities").send().await;
        let list = list.expect_status(200).data();
        list.as_array().expect("a list").clone()
    }
}

fn id_of(session: &Session) -> &str {
    session.0["user"]["id"]
        .as_str()
        .expect("a person has an id")
}
