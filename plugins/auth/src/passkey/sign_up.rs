//! A passkey that is made before its account is: the authenticator keeps the id that the account will have.

use nself_plugin_api::{
    capability::db::Transaction, jiff::Timestamp, prelude::*, serde_json::Value,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Begun, Holder, added, begin_creation, flow_of, method, registered, take_challenge};
use crate::{
    Auth,
    one_time::{Purpose, Subject},
    problem,
    store::passkeys as store,
    webauthn::{Registered, RegistrationResponse},
};

/// Begins a registration for an account that is not there yet. What is known of it waits in `payload`.
pub(crate) async fn begin(
    cx: &Cx<Auth>,
    user_id: Uuid,
    email: &str,
    display_name: &str,
    payload: Value,
) -> Result<Begun> {
    let target = user_id.to_string();
    let subject = Subject {
        purpose: Purpose::PasskeySignUp,
        target: &target,
        user_id: None,
        payload,
    };
    let holder = Holder {
        id: user_id,
        label: email,
        display_name,
    };
    begin_creation(cx, subject, &holder, &[]).await
}

/// A passkey that was made before its account: it waits with everything else that the account begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewPasskey {
    /// The account's id: authenticators keep it.
    pub(crate) user_id: Uuid,
    name: String,
    transports: Vec<String>,
    registered: Registered,
}

impl NewPasskey {
    /// How it proves who somebody is, as for [`super::Proved`].
    pub(crate) fn method(&self) -> &'static str {
        method(self.registered.is_backup_eligible)
    }

    /// Keeps it with its account; false when somebody has it already.
    pub(crate) async fn keep(&self, transaction: &Transaction, now: Timestamp) -> Result<bool> {
        let user_id = self.user_id;
        let transports: Vec<&str> = self.transports.iter().map(String::as_str).collect();
        let (name, registered) = (&self.name, &self.registered);
        let kept = store::insert(transaction, user_id, name, &transports, registered, now).await?;
        if let Some(shown) = &kept {
            added(transaction, user_id, shown).await?;
        }
        Ok(kept.is_some())
    }
}

/// Verifies what the browser made for an account that is not there yet, and gives it back with what waited for it.
///
/// # Errors
///
/// `PASSKEY_REFUSED` with the reason.
pub(crate) async fn finish(
    cx: &Cx<Auth>,
    name: &str,
    response: &RegistrationResponse,
) -> Result<(NewPasskey, Value)> {
    let flow_id = flow_of(response.challenge());
    let transaction = cx.db().begin().await?;
    let awaited = take_challenge(cx, &transaction, Purpose::PasskeySignUp, flow_id).await?;
    // Used up, whatever was made.
    transaction.commit().await?;
    let registered =
        registered(cx, awaited.as_ref(), response).map_err(problem::passkey_refused)?;
    let awaited = awaited.ok_or_else(problem::bad_passkey)?;
    let transports = response.transports().into_iter().map(str::to_owned);
    let passkey = NewPasskey {
        user_id: awaited.target.parse().map_err(Error::internal)?,
        name: name.to_owned(),
        transports: transports.collect(),
        registered,
    };
    Ok((passkey, awaited.payload))
}
