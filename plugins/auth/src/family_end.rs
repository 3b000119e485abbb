//! The end of a family: it is deleted, kept for a while, exported, and then it goes for good.

use nself_plugin_api::{
    bytes::Bytes,
    capability::db::Transaction,
    futures_util::stream::{self, Stream},
    prelude::*,
    serde_json::json,
};
use uuid::Uuid;

use crate::{
    Auth,
    store::{
        audit::{self, New},
        erasure, family_end as store,
        sessions::{self, End},
    },
};

/// Days in which a deleted family can be taken back, and is not purged.
pub(crate) const KEPT_DAYS: i32 = 30;

/// Who takes everything of a family along.
pub(crate) struct Exporter {
    pub(crate) family_id: Uuid,
    /// Nobody's where it is an operator.
    pub(crate) user_id: Option<Uuid>,
    /// As the audit log names them.
    pub(crate) actor: String,
}

/// Everything that a family has, a line of JSON each, read as it is asked for: what is held of it here is the lines of one
/// step, and whoever takes longer than a transaction may wait between two steps is cut off.
///
/// It counts as exported once the last line has been taken: until then a client that goes away has exported nothing.
///
/// # Errors
///
/// 404 when it is gone.
pub(crate) async fn export(
    tx: Transaction,
    exporter: Exporter,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static> {
    store::open_export(&tx, exporter.family_id).await?;
    // The first line says what it is, and is no row.
    let rows = -1;
    let begun = (tx, exporter, rows);
    Ok(stream::try_unfold(
        begun,
        |(tx, exporter, rows)| async move {
            let (text, lines) = store::next_lines(&tx).await?;
            if lines > 0 {
                return Ok(Some((Bytes::from(text), (tx, exporter, rows + lines))));
            }
            let Exporter {
                family_id,
                user_id,
                actor,
            } = exporter;
            store::note_export(&tx, family_id, user_id, rows, &actor).await?;
            tx.commit().await?;
            Ok(None)
        },
    ))
}

/// Takes away for good all that a family has, with the accounts that were made for it. One transaction: whoever is killed
/// half-way has done nothing.
///
/// # Errors
///
/// As [`store::purge`].
pub(crate) async fn purge(
    cx: &Cx<Auth>,
    family_id: Uuid,
    actor: &str,
    kept_days: i32,
) -> Result<()> {
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let children = store::lock_children(&tx, family_id).await?;
    let end = End::of("deleted", now).by(actor);
    sessions::revoke_all(&tx, &children, end).await?;
    for child in children {
        erasure::erase(&tx, child, now).await?;
        erasure::announce(&tx, child).await?;
        let entry = New {
            actor,
            action: "auth.account_deleted",
            target: &child.to_string(),
            details: &json!({"family_id": family_id}),
            family_id: None,
        };
        audit::append(&tx, &entry).await?;
    }
    store::purge(&tx, family_id, actor, kept_days).await?;
    tx.commit().await
}
