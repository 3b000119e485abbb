//! Commands of devices, for those who ask for them.

use nself_plugin_api::{
    http::HeaderMap,
    jiff::SignedDuration,
    prelude::*,
    serde_json::{self, Value, json},
    tracing::debug,
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use crate::{
    Orchestrator,
    command::{self, Claims, NewCommand},
    error::CommandError,
    reach::Reach,
    store::{
        commands::{self as store, Command, New},
        keys,
    },
    telling,
};

/// What a service needs that commands the devices of all families.
pub(crate) const SCOPE: &str = "devices";
/// Most rows of a page.
const PAGE_MAX: i64 = 1_000;

/// Which commands.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// For this machine.
    pub device: Option<Uuid>,
    /// Those before this one.
    pub before: Option<Uuid>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
}

/// The public keys.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct KeySet {
    /// As RFC 7517 has them.
    keys: Vec<Value>,
}

pub(crate) async fn ask(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(device): Path<Uuid>,
    headers: HeaderMap,
    Json(new): Json<NewCommand>,
) -> Result<Created<Command>> {
    let unknown = || Error::from(CommandError::NoDevice { id: device });
    let reach = reach(&cx, &who).ok_or_else(unknown)?;
    new.check()?;
    let key = idempotency_key(&headers)?;
    let request = serde_json::to_string(&new).map_err(Error::internal)?;
    let tx = cx.db().begin().await?;
    store::one_at_a_time(&tx, device).await?;
    let family = store::family_of(&tx, device, reach.family()).await?;
    let family = family.ok_or_else(unknown)?;
    if let Some(key) = &key
        && let Some((command, is_same)) = store::by_key(&tx, device, key, &request).await?
    {
        if !is_same {
            return Err(CommandError::KeyUsed.into());
        }
        return Ok(Created(command));
    }
    let max = cx.plugin().config.device_commands_max;
    if store::open(&tx, device).await? >= i64::from(max) {
        return Err(CommandError::TooMany { max }.into());
    }
    let (id, now) = store::moment(&tx).await?;
    let expires_at = now + SignedDuration::from_secs(new.seconds().into());
    let claims = Claims {
        jti: id,
        sub: device,
        family,
        iat: now.as_second(),
        exp: expires_at.as_second(),
        name: &new.name,
        input: &new.input,
    };
    let row = New {
        id,
        family,
        device,
        name: &new.name,
        signed: &command::sign(&cx, &claims).await?,
        key: key.as_deref(),
        request: &request,
        created_by: &who.subject,
        created_at: now,
        expires_at,
    };
    let command = store::add(&tx, &row).await?;
    telling::asked(&tx, &command, &who.subject).await?;
    tx.commit().await?;
    tell_device(&cx, device).await;
    Ok(Created(command))
}

pub(crate) async fn list(
    cx: Cx<Orchestrator>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Data<Vec<Command>>> {
    let Some(reach) = reach(&cx, &who) else {
        return Ok(Data(Vec::new()));
    };
    let limit = filter.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let (db, family) = (cx.db(), reach.family());
    store::list(&db, family, filter.device, filter.before, limit)
        .await
        .map(Data)
}

pub(crate) async fn show(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<Uuid>,
) -> Result<Data<Command>> {
    let unknown = || Error::from(CommandError::Unknown { id });
    let reach = reach(&cx, &who).ok_or_else(unknown)?;
    let found = store::find(&cx.db(), id, reach.family()).await?;
    found.map(Data).ok_or_else(unknown)
}

pub(crate) async fn cancel(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<Uuid>,
) -> Result<Data<Command>> {
    let unknown = || Error::from(CommandError::Unknown { id });
    let reach = reach(&cx, &who).ok_or_else(unknown)?;
    let tx = cx.db().begin().await?;
    let held = store::hold(&tx, id, reach.family(), None).await?;
    open(held.ok_or_else(unknown)?)?;
    let ended = store::end(&tx, id, "cancelled", None, None).await?;
    telling::ended(&tx, &ended, Some(&who.subject)).await?;
    tx.commit().await?;
    Ok(Data(ended))
}

/// What a machine checks its commands with.
pub(crate) async fn keys(cx: Cx<Orchestrator>) -> Result<Json<KeySet>> {
    let keys = keys::public(&cx.db()).await?;
    Ok(Json(KeySet { keys }))
}

/// A command that has not ended.
pub(super) fn open(command: Command) -> Result<Command> {
    if !matches!(&*command.status, "pending" | "delivered") {
        let status = command.status;
        return Err(CommandError::Ended { status }.into());
    }
    Ok(command)
}

fn reach(cx: &Cx<Orchestrator>, who: &Principal) -> Option<Reach> {
    Reach::of(who, SCOPE, |role| cx.plugin().device_managers.contain(role))
}

/// The header's draft wants a quoted string; plain ones are taken as well.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if !(1..=200).contains(&key.len()) {
        let (field, problem) = ("Idempotency-Key", "must have 1 to 200 visible characters");
        return Err(CommandError::Invalid { field, problem }.into());
    }
    Ok(Some(key.to_owned()))
}

/// Machines that are connected ask at once; the others when they come. A stream that is not there costs nothing.
pub(crate) async fn tell_device(cx: &Cx<Orchestrator>, device: Uuid) {
    let publish =
        json!({"channel": format!("user:{device}"), "data": {"type": "device_command.waiting"}});
    let calls = cx.calls();
    let told = calls.json_if_provided::<Value>("stream.channels/1", "publish", &publish);
    if let Err(error) = told.await {
        debug!(error = %error, "a device is not told of its command: it fetches it when it comes");
    }
}
