//! Who was turned away a moment ago, for an operator who is asked why somebody cannot sign in, and an end to it.
//!
//! Tries are counted in buckets that fill by themselves; nothing is stored that says "locked". What an operator sees is what
//! the audit log was told: the first time that somebody was turned away, by account and way, in a quarter of an hour.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::json};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Auth,
    account::User,
    store::{
        admin,
        audit::{self, Entry, Filter, New},
    },
    throttle,
};

/// What the audit log says of an end that an operator made.
const LIFTED: &str = "auth.lockout_lifted";

/// Most entries that are looked at.
const ENTRIES_MAX: i32 = 1_000;

/// Somebody who was turned away.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Lockout {
    /// The account that was tried; none for addresses without one, which are counted together.
    pub user_id: Option<Uuid>,
    /// Its address.
    pub email: Option<String>,
    /// What was tried: `sign-in`, `second-factor`, …; `mail` for mails that were withheld.
    pub way: String,
    /// Where the first of them came from who was turned away.
    pub network: Option<String>,
    /// When that was.
    pub since: Timestamp,
}

/// All of the last quarter of an hour that nobody has ended, the newest first.
pub(crate) async fn all(cx: &Cx<Auth>) -> Result<Vec<Lockout>> {
    let db = cx.db();
    let since = cx.clock().now()? - throttle::LATER;
    let lifted = recent(&db, LIFTED, None, since).await?;
    let is_lifted = |entry: &Entry| {
        let mut lifts = lifted.iter();
        entry.target.is_some()
            && lifts.any(|lift| lift.at >= entry.at && lift.target == entry.target)
    };
    let mut turned_away = recent(&db, throttle::TURNED_AWAY, None, since).await?;
    turned_away.retain(|entry| !is_lifted(entry));
    let accounts: Vec<Uuid> = turned_away.iter().filter_map(account_of).collect();
    let addresses = admin::addresses(&db, &accounts).await?;
    let lockouts = turned_away.iter().map(|entry| {
        let user_id = account_of(entry);
        let text = |name: &str| entry.details[name].as_str().map(str::to_owned);
        Lockout {
            user_id,
            email: user_id.and_then(|id| addresses.get(&id).cloned()),
            way: text("way").unwrap_or_default(),
            network: text("network"),
            since: entry.at,
        }
    });
    Ok(lockouts.collect())
}

/// Lets somebody try again at once. What one address (and not the account) has tried too often ends within five minutes by
/// itself, except for addresses that the log names.
pub(crate) async fn lift(cx: &Cx<Auth>, user: &User, actor: &str) -> Result<()> {
    let since = cx.clock().now()? - throttle::LATER;
    let target = user.id.to_string();
    let turned_away = recent(&cx.db(), throttle::TURNED_AWAY, Some(&target), since).await?;
    let networks = turned_away.iter().filter_map(|entry| {
        let network = entry.details["network"].as_str()?;
        (entry.target.as_deref() == Some(&*target)).then_some(network)
    });
    let networks: Vec<&str> = networks.collect();
    // First: what is counted is not in the transaction.
    let entry = New {
        actor,
        action: LIFTED,
        target: &target,
        details: &json!({"networks": networks}),
        family_id: None,
    };
    audit::append(&cx.db(), &entry).await?;
    throttle::forget(cx, user, &networks).await
}

async fn recent(
    db: &impl Queries,
    action: &str,
    person: Option<&str>,
    since: Timestamp,
) -> Result<Vec<Entry>> {
    let filter = Filter {
        action: Some(action),
        person,
        limit: ENTRIES_MAX,
        ..Filter::default()
    };
    let mut entries = audit::read(db, &filter).await?;
    entries.retain(|entry| entry.at >= since);
    Ok(entries)
}

fn account_of(entry: &Entry) -> Option<Uuid> {
    entry.target.as_deref()?.parse().ok()
}
