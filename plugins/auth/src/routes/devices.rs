//! `/auth/devices`: the machines of the active family.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::Deserialize;
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    device::Device,
    family,
    policy::Power,
    problem,
    store::{
        devices,
        families::{self, Deed},
    },
};

pub(crate) async fn list(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Vec<Device>>>> {
    let family_id = principal.family()?;
    let me = families::enter(&cx.db(), principal.user()?, family_id).await?;
    me.must(&cx, Power::ManageDevices)?;
    Ok(Private(Data(devices::list(&cx.db(), family_id).await?)))
}

/// What to change; what is left out stays.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// What the family calls it.
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// For those who manage the family to say.
    pub is_trusted: Option<bool>,
}

pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(change): Json<Change>,
) -> Result<Private<Data<Device>>> {
    let name = change.name.as_deref().map(family::name).transpose()?;
    let family_id = principal.family()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, family_id).await?;
    if !devices::is_there(&tx, family_id, id).await? {
        return Err(problem::no_device(id));
    }
    me.must(&cx, Power::ManageDevices)?;
    let changed = devices::change(&tx, family_id, id, name.as_deref(), change.is_trusted).await?;
    let device = changed.ok_or_else(|| problem::no_device(id))?;
    let deed = Deed {
        action: "family.device_changed",
        family_id,
        target: id,
        details: json!({"device_id": id, "name": device.name, "is_trusted": device.is_trusted}),
        actor: me.user_id,
    };
    families::announce(&tx, &deed).await?;
    tx.commit().await?;
    Ok(Private(Data(device)))
}

pub(crate) async fn revoke(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let family_id = principal.family()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, family_id).await?;
    if !devices::is_there(&tx, family_id, id).await? {
        return Err(problem::no_device(id));
    }
    me.must(&cx, Power::ManageDevices)?;
    devices::revoke(&tx, id, now).await?;
    let deed = Deed {
        action: "family.device_revoked",
        family_id,
        target: id,
        details: json!({"device_id": id}),
        actor: me.user_id,
    };
    families::announce(&tx, &deed).await?;
    tx.commit().await?;
    Ok(done("revoked"))
}

/// A machine says that it is on.
pub(crate) async fn heartbeat(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Done>>> {
    let device_id = principal.device_id.ok_or_else(problem::role_too_low)?;
    let now = cx.clock().now()?;
    devices::seen(&cx.db(), device_id, now).await?;
    Ok(done("seen"))
}
