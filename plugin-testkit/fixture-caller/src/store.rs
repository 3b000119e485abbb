//! All SQL of the plugin, which has no table: it calls the functions that come with `fixture.echo/1`.

use nself_plugin_api::prelude::*;

pub(crate) async fn keep(db: &impl Queries, name: &str) -> Result<()> {
    db.query_one("select fixture.keep($1)", &[&name]).await?;
    Ok(())
}

pub(crate) async fn is_kept(db: &impl Queries, name: &str) -> Result<bool> {
    db.query_one("select fixture.is_kept($1)", &[&name])
        .await?
        .get(0)
}
