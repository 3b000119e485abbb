//! `/auth/admin/audit`: what this plugin wrote into the audit log. The whole log is the host's.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{limit, said};
use crate::{
    Auth,
    routes::Private,
    store::audit::{self, Entry, Filter},
};

/// Which entries.
#[derive(Deserialize, Schema)]
pub(crate) struct Search {
    /// An action such as `auth.signed_in`; `auth.account_*` for all that begin so.
    #[schema(max_length = 200)]
    pub action: Option<String>,
    /// Who did it or whom it was done to.
    #[schema(max_length = 200)]
    pub user: Option<String>,
    /// In the chain of this family.
    pub family: Option<Uuid>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
    /// `next` of the page before.
    #[schema(max_length = 100)]
    pub before: Option<String>,
}

/// A page of the log, the newest entry first.
#[derive(Serialize, Schema)]
pub(crate) struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

pub(crate) async fn list(
    cx: Cx<Auth>,
    Query(search): Query<Search>,
) -> Result<Private<Data<Page>>> {
    let limit = limit(search.limit);
    let filter = Filter {
        person: said(search.user.as_deref()),
        action: said(search.action.as_deref()),
        family_id: search.family,
        before: said(search.before.as_deref()).map(place).transpose()?,
        limit: i32::try_from(limit).map_err(Error::internal)?,
    };
    let entries = audit::read(&cx.db(), &filter).await?;
    let is_full = i64::try_from(entries.len()).is_ok_and(|length| length == limit);
    let next = entries.last().filter(|_| is_full);
    let next = next.map(|entry| format!("{}_{}", entry.at, entry.id));
    Ok(Private(Data(Page { entries, next })))
}

/// A place in the log: time and id of an entry, because two entries can be of one moment.
fn place(text: &str) -> Result<(Timestamp, Uuid)> {
    let read = || {
        let (at, id) = text.split_once('_')?;
        Some((at.parse().ok()?, id.parse().ok()?))
    };
    read().ok_or_else(|| {
        Error::bad_request(
            "QUERY_INVALID",
            "before: expected `next` of an earlier page",
        )
    })
}
