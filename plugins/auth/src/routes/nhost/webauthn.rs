//! `/signin/webauthn`, `/signup/webauthn`, `/user/webauthn`, `/elevate/webauthn`: passkeys.
//!
//! hasura-auth's clients know no flows: what the browser signed names its challenge, and the challenge its flow.

use nself_plugin_api::{prelude::*, serde_json::Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, Options, Sent, SessionPayload, answer, landing};
use crate::{
    Auth,
    caller::Caller,
    passkey::{self, PasskeyProof},
    problem,
    registration::{
        Registered,
        by_passkey::{self, Made},
    },
    routes::{
        Created, Private, passkeys,
        sign_in::{self, Reauthentication},
    },
    throttle::{self, Action},
    webauthn::{AuthenticationResponse, RegistrationResponse},
};

/// A challenge for whoever has a passkey here. What is sent along, such as an address, changes nothing: the authenticator says
/// whose passkey it is, and an answer that depended on an address would tell whether it has an account.
pub(crate) async fn begin_sign_in(cx: Cx<Auth>, caller: Caller) -> Result<Answer<Value>> {
    answer(async {
        throttle::address(&cx, Action::SignIn, &caller).await?;
        Ok(passkey::begin_login(&cx).await?.options)
    })
    .await
}

/// A passkey that is shown.
#[derive(Deserialize, Schema)]
pub(crate) struct Shown {
    /// What the browser answered: `AuthenticationResponseJSON`.
    pub credential: AuthenticationResponse,
}

impl From<Shown> for PasskeyProof {
    fn from(Shown { credential }: Shown) -> Self {
        Self {
            flow_id: passkey::flow_of(credential.challenge()),
            credential,
        }
    }
}

pub(crate) async fn finish_sign_in(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Shown>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let proof = sent?.into();
        throttle::address(&cx, Action::SignIn, &caller).await?;
        let tokens = passkey::sign_in(&cx, &proof, None, &caller).await?;
        SessionPayload::of(&cx, tokens).await
    })
    .await
}

/// Who wants an account with a passkey in the place of a password.
#[derive(Deserialize, Schema)]
pub(crate) struct SignUp {
    /// Where mail reaches them.
    pub email: String,
    /// What else the app says.
    #[serde(default)]
    pub options: Options,
}

pub(crate) async fn begin_sign_up(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<SignUp>,
) -> Result<Answer<Value>> {
    answer(async {
        let SignUp { email, options } = sent?;
        throttle::address(&cx, Action::SignUp, &caller).await?;
        options.check_roles()?;
        landing(&cx, options.redirect_to.as_deref(), None)?;
        let applicant = options.applicant(&email, None);
        Ok(by_passkey::begin(&cx, applicant, &caller).await?.options)
    })
    .await
}

/// A passkey that a browser has made.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewPasskey {
    /// What the browser answered: `RegistrationResponseJSON`.
    pub credential: RegistrationResponse,
    /// As its owner calls it.
    #[serde(default)]
    pub nickname: Option<String>,
    /// What else the app says, where an account begins with it.
    #[serde(default)]
    pub options: Options,
    /// S256 of a secret of the app's own: then the link brings a code for `/token/exchange`.
    pub code_challenge: Option<String>,
}

/// A session at once where sign-up is open; null where the address is proved first.
pub(crate) async fn finish_sign_up(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<NewPasskey>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let NewPasskey {
            credential,
            nickname,
            options,
            code_challenge,
        } = sent?;
        throttle::address(&cx, Action::SignUp, &caller).await?;
        options.check_roles()?;
        let redirect_to = options.redirect_to.as_deref();
        let landing = landing(&cx, redirect_to, code_challenge.as_deref())?;
        let name = passkeys::named(nickname.as_deref().unwrap_or_default())?;
        let made = Made {
            name: &name,
            response: &credential,
        };
        let newcomer = options.newcomer()?;
        match by_passkey::finish(&cx, made, newcomer, landing, &caller).await? {
            Registered::Mailed => Ok(SessionPayload::NONE),
            Registered::SignedIn(tokens) => SessionPayload::of(&cx, *tokens).await,
        }
    })
    .await
}

pub(crate) async fn begin_adding(cx: Cx<Auth>, principal: Principal) -> Result<Answer<Value>> {
    answer(async {
        let Private(Data(begun)) = passkeys::begin_registration(cx, principal).await?;
        Ok(begun.options)
    })
    .await
}

/// A passkey that is kept.
#[derive(Serialize, Schema)]
pub(crate) struct Added {
    /// Names it when it is to be changed.
    pub id: Uuid,
    /// As its owner calls it.
    pub nickname: String,
}

pub(crate) async fn finish_adding(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Sent(sent): Sent<NewPasskey>,
) -> Result<Answer<Added>> {
    answer(async {
        let sent = sent?;
        let registration = passkeys::Registration {
            flow_id: passkey::flow_of(sent.credential.challenge()),
            name: sent.nickname.unwrap_or_default(),
            credential: sent.credential,
        };
        let registration = Json(registration);
        let made = passkeys::finish_registration(cx, principal, caller, registration).await?;
        let Private(Created(shown)) = made;
        Ok(Added {
            id: shown.id,
            nickname: shown.name,
        })
    })
    .await
}

pub(crate) async fn begin_elevation(cx: Cx<Auth>, principal: Principal) -> Result<Answer<Value>> {
    answer(async {
        let begun = passkey::begin_proof(&cx, principal.user()?).await?;
        Ok(begun.options)
    })
    .await
}

/// The same session, with a fresh proof in its tokens.
pub(crate) async fn finish_elevation(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Sent(sent): Sent<Shown>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let proof = Reauthentication {
            passkey: Some(sent?.into()),
            ..Reauthentication::default()
        };
        let renewed = sign_in::reauthenticate(cx.clone(), principal, caller, Json(proof)).await;
        let Private(Data(tokens)) = renewed.map_err(refused)?;
        SessionPayload::of(&cx, tokens).await
    })
    .await
}

/// A passkey is no ticket: what is said of it is the same here as where it signs in.
fn refused(error: Error) -> Error {
    match error.code() {
        "CODE_INVALID" => problem::bad_passkey(),
        _ => error,
    }
}
