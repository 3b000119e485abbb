//! An account that begins with a passkey in the place of a password.

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, json},
};
use uuid::Uuid;

use super::{Applicant, Candidate, Registered, Waiting, admit, ask, candidate};
use crate::{
    Auth, SignUp,
    caller::Caller,
    landing::Landing,
    newcomer::Newcomer,
    passkey::{Begun, sign_up},
    problem,
    webauthn::RegistrationResponse,
};

/// What a browser has made.
pub(crate) struct Made<'a> {
    /// As its owner calls it.
    pub(crate) name: &'a str,
    pub(crate) response: &'a RegistrationResponse,
}

/// Begins to make an account with a passkey in the place of a password: the authenticator wants to know whose it will be, so
/// the account has its id before it is there.
///
/// # Errors
///
/// As for [`register`]; nothing tells whether the address is taken.
pub(crate) async fn begin(
    cx: &Cx<Auth>,
    applicant: Applicant<'_>,
    caller: &Caller,
) -> Result<Begun> {
    if cx.plugin().config.sign_up == SignUp::Closed {
        return Err(problem::sign_up_closed());
    }
    let candidate = candidate(cx, applicant, None, caller).await?;
    let payload = json!({
        "email": candidate.email, "display_name": candidate.display_name, "locale": candidate.locale,
        "profile": candidate.profile,
    });
    let (email, name) = (&candidate.email, &candidate.display_name);
    sign_up::begin(cx, Uuid::now_v7(), email, name, payload).await
}

/// Makes the account, or mails what makes it. What the app says only now counts for more than what it said before, so another
/// plugin is asked again.
///
/// # Errors
///
/// `PASSKEY_REFUSED`; `SIGN_UP_CLOSED`; what another plugin refuses it with; `EMAIL_TAKEN`, where addresses are no secret.
pub(crate) async fn finish(
    cx: &Cx<Auth>,
    made: Made<'_>,
    newcomer: Newcomer,
    landing: Landing<'_>,
    caller: &Caller,
) -> Result<Registered> {
    if cx.plugin().config.sign_up == SignUp::Closed {
        return Err(problem::sign_up_closed());
    }
    let Made { name, response } = made;
    let (passkey, waiting) = sign_up::finish(cx, name, response).await?;
    let waiting: Waiting = serde_json::from_value(waiting).map_err(Error::internal)?;
    let candidate = Candidate {
        invited: None,
        email: waiting.email,
        display_name: newcomer.display_name.unwrap_or(waiting.display_name),
        locale: newcomer.locale.unwrap_or(waiting.locale),
        password_hash: None,
        passkey: Some(passkey),
        profile: newcomer
            .profile
            .or(waiting.profile)
            .unwrap_or_else(|| json!({})),
        user_id: None,
    };
    ask(cx, &candidate, caller).await?;
    admit(cx, &candidate, landing, caller).await
}
