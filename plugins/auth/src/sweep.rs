//! Upkeep: keys take over by age, and what ended long ago is forgotten.

use nself_plugin_api::{jiff::SignedDuration, prelude::*};

use crate::{
    Auth,
    keys::Turn,
    one_time::Purpose,
    store::{api_tokens, device_codes, invitations, one_time, sessions},
};

/// How long ended sessions are kept: long enough to answer "what happened to mine".
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Rows in one step, so that no statement holds others up.
const STEP: i64 = 1_000;

pub(crate) async fn turn_keys(cx: Cx<Auth>) -> Result<()> {
    let config = &cx.plugin().config;
    cx.plugin().keys.turn(&cx, config, Turn::WhenDue).await
}

pub(crate) async fn forget(cx: Cx<Auth>) -> Result<()> {
    let now = cx.clock().now()?;
    let before = now - KEPT;
    let challenges = Purpose::PasskeyLogin.name();
    while sessions::forget(&cx.db(), before, STEP).await? == STEP.unsigned_abs() {}
    while one_time::forget_flows(&cx.db(), challenges, now).await? == STEP.unsigned_abs() {}
    while one_time::forget(&cx.db(), before).await? == STEP.unsigned_abs() {}
    while invitations::forget(&cx.db(), before).await? == STEP.unsigned_abs() {}
    while device_codes::forget(&cx.db(), before).await? == STEP.unsigned_abs() {}
    while api_tokens::forget(&cx.db(), before, STEP).await? == STEP.unsigned_abs() {}
    Ok(())
}
