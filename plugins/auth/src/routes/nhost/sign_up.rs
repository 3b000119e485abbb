//! `/signup/email-password`, `/signin/anonymous`, `/user/deanonymize`: how an account begins.

use nself_plugin_api::{
    prelude::*,
    serde_json::{Map, Value},
};
use serde::Deserialize;

use super::{Answer, OK, Options, Sent, SessionPayload, answer};
use crate::{
    Auth,
    caller::Caller,
    landing::{self, Landing},
    registration::{self, Applicant, Registered},
    throttle::{self, Action},
};

/// Who wants an account.
#[derive(Deserialize, Schema)]
pub(crate) struct SignUp {
    /// Where mail reaches them.
    pub email: String,
    /// The password.
    pub password: String,
    /// What else the app says.
    #[serde(default)]
    pub options: Options,
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
        } = sent?;
        let registered = register(&cx, &email, Some(&password), options, &caller).await?;
        match registered {
            Registered::Mailed => Ok(SessionPayload::NONE),
            Registered::SignedIn(tokens) => SessionPayload::of(&cx, *tokens).await,
        }
    })
    .await
}

/// Registers with the options that hasura-auth's requests carry.
pub(super) async fn register(
    cx: &Cx<Auth>,
    email: &str,
    password: Option<&str>,
    options: Options,
    caller: &Caller,
) -> Result<Registered> {
    throttle::address(cx, Action::SignUp, caller).await?;
    options.check_roles()?;
    let redirect_to = landing::allowed(cx, options.redirect_to.as_deref())?;
    let applicant = Applicant {
        email,
        password,
        display_name: options.display_name.as_deref().unwrap_or_default(),
        locale: options.locale.as_deref(),
        profile: options.metadata.unwrap_or_default(),
        invitation: None,
    };
    registration::register(cx, applicant, Landing::Verify { redirect_to }, caller).await
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
        let redirect_to = landing::allowed(&cx, sent.options.redirect_to.as_deref())?;
        let landing = Landing::Verify { redirect_to };
        let user_id = principal.user()?;
        registration::upgrade(&cx, user_id, &sent.email, password, landing, &caller).await?;
        Ok(OK)
    })
    .await
}
