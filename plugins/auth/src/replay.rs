//! Codes that come a second time.
//!
//! Who was sent to another place comes back with codes: the state of the way there, ours for the app, and that of a session
//! that has begun in a browser. Each is good once. One that comes again was copied on its way, and whoever came first may
//! have been the thief: so what it has begun ends (RFC 6749, sections 4.1.2 and 10.5).

use nself_plugin_api::{
    capability::db::{Queries, Transaction},
    jiff::Timestamp,
    prelude::{Cx, Result},
    serde_json::json,
    tracing::warn,
};
use uuid::Uuid;

use crate::{
    Auth, notify,
    one_time::Purpose,
    store::{accounts, one_time, sessions},
};

/// Whether a code of that purpose begins a session.
const fn begins_a_session(purpose: Purpose) -> bool {
    matches!(
        purpose,
        Purpose::ProviderFlow
            | Purpose::NhostProviderFlow
            | Purpose::ProviderCode
            | Purpose::SessionCode
    )
}

/// Ends what a code has begun that was used before, tells the audit log and the owner. Does nothing for one that was not, or
/// that has come a second time already.
pub(crate) async fn end(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    purpose: Purpose,
    code: Uuid,
    mac: &[u8],
    now: Timestamp,
) -> Result<()> {
    if !begins_a_session(purpose) {
        return Ok(());
    }
    // Its row is locked from here on: who begins a session with it at this moment waits, and finds that it is worth nothing.
    let Some(marked) = one_time::mark_replayed(transaction, code, purpose.name(), mac, now).await?
    else {
        return Ok(());
    };
    let session = (purpose == Purpose::SessionCode)
        .then(|| marked.target.parse().ok())
        .flatten();
    let owners = sessions::end_replayed(transaction, &marked.codes, session, now).await?;
    let details = json!({"purpose": purpose.name(), "ended": owners.len()});
    accounts::audit_by_nobody(transaction, "auth.code_replayed", marked.user_id, &details).await?;
    warn!(
        purpose = purpose.name(),
        ended = owners.len(),
        "a code has come a second time"
    );
    for user_id in owners {
        if let Some(account) = accounts::find_by_id(transaction, user_id).await? {
            notify::of_reuse(cx, transaction, &account.user).await?;
        }
    }
    Ok(())
}

/// Whether a code has come again while its session began. Waits for whoever finds that out at this moment.
pub(crate) async fn has_come_again(db: &impl Queries, code: Option<Uuid>) -> Result<bool> {
    match code {
        Some(code) => one_time::is_replayed(db, code).await,
        None => Ok(false),
    }
}
