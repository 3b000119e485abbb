//! What hosts tell one another.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

/// The channel on which they do.
pub(crate) const CHANNEL: &str = "nself_stream";

pub(crate) async fn tell(db: &impl Queries, text: &str) -> Result<()> {
    db.query("select stream.tell($1)", &[&text]).await?;
    Ok(())
}

/// What a host finds that looks for what was told.
pub(crate) struct Heard {
    /// From where on it looks the next time.
    pub upto: i64,
    /// In order; some of it may have been there the last time.
    pub all: Vec<(i64, String)>,
}

/// What was told from there on.
pub(crate) async fn hear(db: &impl Queries, node: Uuid, since: i64) -> Result<Heard> {
    let rows = db
        .query(
            "select upto, id, text from stream.hear($1, $2)",
            &[&node, &since],
        )
        .await?;
    let mut heard = Heard {
        upto: since,
        all: Vec::new(),
    };
    for row in rows.map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))? {
        let (upto, id, text): (i64, Option<i64>, Option<String>) = row;
        heard.upto = upto;
        heard.all.extend(id.zip(text));
    }
    Ok(heard)
}

/// The host looks no more.
pub(crate) async fn stop_hearing(db: &impl Queries, node: Uuid) -> Result<()> {
    db.execute("delete from stream.pollers where node = $1", &[&node])
        .await?;
    Ok(())
}
