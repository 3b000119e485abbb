//! `/signin/*`: everything that ends in a session.

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use super::{Answer, OK, Options, Sent, SessionPayload, answer, landing};
use crate::{
    Auth, account, api_token,
    caller::Caller,
    credentials, mailbox,
    one_time::{self, Purpose},
    problem,
    registration::by_mailbox,
    throttle::{self, Action},
};

/// Who signs in.
#[derive(Deserialize, Schema)]
pub(crate) struct EmailPassword {
    /// The address.
    pub email: String,
    /// The password.
    pub password: String,
}

pub(crate) async fn by_password(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<EmailPassword>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let EmailPassword { email, password } = sent?;
        let signed_in = credentials::sign_in(&cx, &email, &password, None, &caller).await?;
        SessionPayload::signed_in(&cx, signed_in).await
    })
    .await
}

/// Somebody whose mailbox is all that they sign in with.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Passwordless {
    /// The address.
    pub email: String,
    /// What else the app says, for an account that begins with it.
    #[serde(default)]
    pub options: Options,
    /// S256 of a secret of the app's own: then the link brings a code for `/token/exchange`.
    pub code_challenge: Option<String>,
}

/// Mails a link that signs in. As in hasura-auth, an address without an account gets one when the link is used.
pub(crate) async fn by_link(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Passwordless>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let Passwordless {
            email,
            options,
            code_challenge,
        } = sent?;
        throttle::address(&cx, Action::Code, &caller).await?;
        let challenge = code_challenge.as_deref();
        let landing = landing(&cx, options.redirect_to.as_deref(), challenge)?;
        options.check()?;
        let applicant = options.applicant(&email, None);
        by_mailbox::start_link(&cx, applicant, landing, &caller).await?;
        Ok(OK)
    })
    .await
}

/// Mails a code that signs in; as with a link, an address without an account gets one when the code is used.
pub(crate) async fn start_code(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Passwordless>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let Passwordless { email, options, .. } = sent?;
        throttle::address(&cx, Action::Code, &caller).await?;
        options.check()?;
        let applicant = options.applicant(&email, None);
        by_mailbox::start_code(&cx, applicant, &caller).await?;
        Ok(OK)
    })
    .await
}

/// A code from a mail.
#[derive(Deserialize, Schema)]
pub(crate) struct Code {
    /// As it stands in the mail.
    pub otp: String,
    /// Where it was mailed.
    pub email: String,
}

pub(crate) async fn by_code(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Code>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let Code { otp, email } = sent?;
        throttle::address(&cx, Action::Code, &caller).await?;
        let email = account::email(&email)?;
        let purpose = Purpose::AddressCode;
        let flow = one_time::alive(&cx, purpose, &email)
            .await?
            .ok_or_else(problem::bad_code)?;
        let signed_in = mailbox::use_code(&cx, purpose, flow, &otp, None, &caller).await?;
        SessionPayload::signed_in(&cx, signed_in).await
    })
    .await
}

/// A script's token.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PersonalAccessToken {
    /// As it was shown when it was made.
    pub personal_access_token: String,
}

pub(crate) async fn by_token(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<PersonalAccessToken>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let token = sent?.personal_access_token;
        throttle::address(&cx, Action::Code, &caller).await?;
        let tokens = api_token::exchange(&cx, &token, None, &caller).await?;
        SessionPayload::of(&cx, tokens).await
    })
    .await
}
