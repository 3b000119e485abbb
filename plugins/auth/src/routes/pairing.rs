//! `/auth/device/{user_code}`: a person decides on a machine that shows a code.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::json};
use serde::{Deserialize, Serialize};

use super::Private;
use crate::{
    Auth,
    caller::Caller,
    device::{self, Device},
    family,
    mac::Purpose,
    policy::Power,
    problem, secret,
    store::{
        device_codes::{self, Pairing},
        devices,
        families::{self, Deed},
    },
    throttle::{self, Action},
};

/// A machine that waits, for who knows its code.
#[derive(Serialize, Schema)]
pub(crate) struct Waiting {
    /// As it calls itself.
    pub name: String,
    /// What it says it is.
    pub kind: String,
    /// The app, as it names itself.
    pub client_id: String,
    /// Where it asked from.
    pub ip: Option<String>,
    /// Seconds since it asked.
    pub age_seconds: i64,
    /// Until when it waits.
    pub expires_at: Timestamp,
}

/// The machine of a code. Five wrong codes, and the account has to wait; a right one costs nothing.
async fn find(
    cx: &Cx<Auth>,
    principal: &Principal,
    caller: &Caller,
    user_code: &str,
) -> Result<Pairing> {
    throttle::address(cx, Action::Pairing, caller).await?;
    let guess = throttle::guess(cx, Action::Pairing, principal.user()?, caller).await?;
    let now = cx.clock().now()?;
    let code = device::typed(user_code).ok_or_else(problem::no_device_code)?;
    let macs = secret::macs(cx, Purpose::UserCode, &code);
    let pairing = device_codes::waiting(&cx.db(), &macs, now).await?;
    let pairing = pairing.ok_or_else(problem::no_device_code)?;
    guess.was_right(cx).await?;
    Ok(pairing)
}

pub(crate) async fn show(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(user_code): Path<String>,
) -> Result<Private<Data<Waiting>>> {
    let me = families::enter(&cx.db(), principal.user()?, principal.family()?).await?;
    me.must(&cx, Power::ManageDevices)?;
    let pairing = find(&cx, &principal, &caller, &user_code).await?;
    let age = cx.clock().now()?.duration_since(pairing.created_at);
    Ok(Private(Data(Waiting {
        name: pairing.name,
        kind: pairing.kind,
        client_id: pairing.client_id,
        ip: pairing.ip,
        age_seconds: age.as_secs().max(0),
        expires_at: pairing.expires_at,
    })))
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Approve,
    Deny,
}

/// What becomes of the machine.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// Yes or no.
    pub decision: Answer,
    /// What the family calls it; its own name without it.
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
}

/// What became of the machine.
#[derive(Serialize, Schema)]
pub(crate) struct Decided {
    /// `approved` or `denied`.
    pub status: &'static str,
    /// The machine, as the family has it now.
    pub device: Option<Device>,
}

/// Lets a machine into the active family of who decides, into no other, or turns it away.
pub(crate) async fn decide(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(user_code): Path<String>,
    Json(decision): Json<Decision>,
) -> Result<Private<Data<Decided>>> {
    let name = decision.name.as_deref().map(family::name).transpose()?;
    let pairing = find(&cx, &principal, &caller, &user_code).await?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, principal.family()?).await?;
    me.must(&cx, Power::ManageDevices)?;
    let device = match decision.decision {
        Answer::Approve => {
            let name = name.as_deref().unwrap_or(&pairing.name);
            Some(devices::insert(&tx, &me, name, &pairing).await?)
        }
        Answer::Deny => None,
    };
    let device_id = device.as_ref().map(|device| device.id);
    if !device_codes::decide(&tx, pairing.id, me.family_id, device_id, me.user_id).await? {
        // Somebody else was faster.
        return Err(problem::no_device_code());
    }
    let details = json!({
        "device_id": device_id, "name": pairing.name, "kind": pairing.kind, "client_id": pairing.client_id,
    });
    let deed = Deed {
        action: if device.is_some() {
            "family.device_paired"
        } else {
            "family.device_denied"
        },
        family_id: me.family_id,
        target: device_id.unwrap_or(pairing.id),
        details,
        actor: me.user_id,
    };
    families::announce(&tx, &deed).await?;
    tx.commit().await?;
    let status = if device.is_some() {
        "approved"
    } else {
        "denied"
    };
    Ok(Private(Data(Decided { status, device })))
}
