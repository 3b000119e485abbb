//! The event `family.purged`: what a family published goes when the family has gone, whatever its namespaces would keep.

use nself_plugin_api::{prelude::*, tracing::info};

use crate::{Stream, store};

/// Forgets it. Said twice, there is nothing to forget the second time.
pub(crate) async fn forget(cx: Cx<Stream>, event: Event) -> Result<()> {
    let Some(family) = event.family_id else {
        // An event that names no family could only mean all of them.
        return Ok(());
    };
    store::log::forget_family(&cx.db(), family).await?;
    info!(%family, "what a purged family published is gone");
    Ok(())
}
