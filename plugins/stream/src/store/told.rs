//! What hosts tell one another.

use nself_plugin_api::prelude::*;

/// The channel on which they do.
pub(crate) const CHANNEL: &str = "nself_stream";

pub(crate) async fn tell(db: &impl Queries, text: &str) -> Result<()> {
    db.query("select pg_notify($1, $2)", &[&CHANNEL, &text])
        .await?;
    Ok(())
}
