//! Upkeep: keys take over by age, and what ended long ago is forgotten.

use nself_plugin_api::{
    jiff::SignedDuration,
    prelude::*,
    tracing::{info, warn},
};
use uuid::Uuid;

use crate::{
    Auth, erasure, failed_proof, family_end,
    one_time::Purpose,
    session,
    store::{self, api_tokens, device_codes, failed_proofs, invitations, one_time, sessions},
};

/// How long ended sessions are kept: long enough to answer "what happened to mine".
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Who deletes unused accounts and purges families, for the audit log.
const ACTOR: &str = "auth.sweep";

/// Rows in one step, so that no statement holds others up.
const STEP: i64 = 1_000;

pub(crate) async fn turn_keys(cx: Cx<Auth>) -> Result<()> {
    let plugin = cx.plugin();
    plugin.keys.turn_by_age(&cx, &plugin.config).await
}

/// Writes down how often somebody's proofs were wrong, once the time is over in which they are counted together.
pub(crate) async fn write_failed_proofs(cx: Cx<Auth>) -> Result<()> {
    let before = cx.clock().now()? - failed_proof::WINDOW;
    while failed_proofs::write(&cx.db(), before, STEP).await? == STEP.unsigned_abs() {}
    Ok(())
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
    erase_unused(&cx).await
}

/// Takes families away whose time is over. One that cannot go does not keep the others.
pub(crate) async fn purge_families(cx: Cx<Auth>) -> Result<()> {
    let (mut after, mut failed) = (Uuid::nil(), Ok(()));
    loop {
        let due = store::family_end::due(&cx.db(), after, STEP).await?;
        let Some(last) = due.last() else {
            return failed;
        };
        after = *last;
        for family_id in due {
            match family_end::purge(&cx, family_id, ACTOR, family_end::KEPT_DAYS).await {
                Ok(()) => info!(%family_id, "a deleted family is gone for good"),
                // Taken back, or purged by somebody else, at this moment.
                Err(error) if error.status() < 500 => {}
                Err(error) => {
                    warn!(%family_id, %error, "a deleted family could not be taken away");
                    failed = Err(error);
                }
            }
        }
    }
}

/// Accounts in which somebody looked around once and never came back.
async fn erase_unused(cx: &Cx<Auth>) -> Result<()> {
    let since = cx.clock().now()? - session::days(cx.plugin().config.anonymous_days);
    let mut after = Uuid::nil();
    loop {
        let unused = store::erasure::unused(&cx.db(), since, after, STEP).await?;
        let Some(last) = unused.last() else {
            return Ok(());
        };
        after = *last;
        for user_id in unused {
            match erasure::erase_unused(cx, user_id, since, ACTOR).await {
                // A family that others are in has nobody else to own it: that one stays.
                Err(error) if error.code() == "LAST_OWNER" => {
                    warn!(%user_id, "an unused account owns a family that others are in");
                }
                erased => _ = erased?,
            }
        }
    }
}
