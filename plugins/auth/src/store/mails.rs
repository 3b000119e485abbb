//! The queue of the mail plugin, through the function that comes with `mail.send/1`.

use nself_plugin_api::{prelude::*, serde_json::Value};

/// Asks for a mail in the caller's transaction: it is on its way exactly when that commits.
pub(crate) async fn post(db: &impl Queries, letter: &Value) -> Result<()> {
    db.query("select mail.post($1)", &[letter]).await?;
    Ok(())
}
