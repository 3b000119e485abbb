//! `/signup/email-password`, `/signin/anonymous`, `/user/deanonymize`: how an account begins.

use nself_plugin_api::{
    prelude::*,
    serde_json::{Map, Value},
};
use serde::Deserialize;

use super::{Answer, OK, Options, Sent, SessionPayload, answer, landing};
use crate::{
    Auth,
    caller::Caller,
    registration::{self, Registered},
    throttle::{self, Action},
};

/// Who wants an account.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignUp {
    /// Where mail reaches them.
    pub email: String,
    /// The password.
    pub password: String,
    /// What else the app says.
    #[serde(default)]
    pub options: Options,
    /// S256 of a secret of the app's own: then the link brings a code for `/token/exchange`.
    pub code_challenge: Option<String>,
}

/// A session at once where sign-up is open; null where the address is proved first, also for one that is taken.
pub(crate) async fn by_password(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<SignUp>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let SignUp {
            email,
            password,
            options,
            code_challenge,
        } = sent?;
        throttle::address(&cx, Action::SignUp, &caller).await?;
        let challenge = code_challenge.as_deref();
        let password = Some(&*password);
        let registered = register(&cx, &email, password, &options, challenge, &caller).await?;
        match registered {
            Registered::Mailed => Ok(SessionPayload::NONE),
            Registered::SignedIn(tokens) => SessionPayload::of(&cx, *tokens).await,
        }
    })
    .await
}

/// Registers with the options that hasura-auth's requests carry. Tries are counted before, and not here: where an address
/// without an account were counted for more, the count would tell of it.
pub(super) async fn register(
    cx: &Cx<Auth>,
    email: &str,
    password: Option<&str>,
    options: &Options,
    code_challenge: Option<&str>,
    caller: &Caller,
) -> Result<Registered> {
    options.check_roles()?;
    let landing = landing(cx, options.redirect_to.as_deref(), code_challenge)?;
    let applicant = options.applicant(email, password);
    registration::register(cx, applicant, landing, caller).await
}

/// Who begins without an account.
#[derive(Default, Deserialize, Schema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Anonymous {
    /// As others will see them.
    pub display_name: Option<String>,
    /// Language tag.
    pub locale: Option<String>,
    /// What the app keeps of the person.
    pub metadata: Option<Map<String, Value>>,
}

pub(crate) async fn anonymous(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Anonymous>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let sent = sent?;
        throttle::address(&cx, Action::SignUp, &caller).await?;
        let name = sent.display_name.as_deref().unwrap_or("Anonymous User");
        let metadata = sent.metadata.unwrap_or_default();
        let locale = sent.locale.as_deref();
        let tokens = registration::anonymous(&cx, name, locale, metadata, &caller).await?;
        SessionPayload::of(&cx, tokens).await
    })
    .await
}

/// What an anonymous account is given.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deanonymization {
    /// `email-password` or `passwordless`.
    pub sign_in_method: String,
    /// Where mail reaches them.
    pub email: String,
    /// For `email-password`.
    pub password: Option<String>,
    /// Where the link in the mail leads.
    #[serde(default)]
    pub options: Options,
    /// S256 of a secret of the app's own: then the link brings a code for `/token/exchange`.
    pub code_challenge: Option<String>,
}

pub(crate) async fn deanonymize(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Sent(sent): Sent<Deanonymization>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let sent = sent?;
        throttle::address(&cx, Action::SignUp, &caller).await?;
        sent.options.check_roles()?;
        let password = match (sent.sign_in_method.as_str(), &sent.password) {
            ("email-password", Some(password)) => Some(password.as_str()),
            ("passwordless", _) => None,
            _ => {
                return Err(Error::bad_request(
                    "BODY_INVALID",
                    "signInMethod: expected email-password with a password, or passwordless",
                ));
            }
        };
        let redirect_to = sent.options.redirect_to.as_deref();
        let landing = landing(&cx, redirect_to, sent.code_challenge.as_deref())?;
        let user_id = principal.user()?;
        registration::upgrade(&cx, user_id, &sent.email, password, landing, &caller).await?;
        Ok(OK)
    })
    .await
}
