//! `jobs.db_backup`: an archive of the project's database, made and read back by the host.

use nself_plugin_api::{
    capability::{
        audit::{Entry, append_in},
        dump::{Archive, DumpOptions},
    },
    prelude::*,
    serde_json::json,
};

use crate::Jobs;

/// The payload is what the host takes; the result is the archive.
pub(crate) async fn run(cx: Cx<Jobs>, job: JobRun) -> Result<Archive> {
    let wanted: DumpOptions = job.json()?;
    let made = cx.dump().make(&wanted).await;
    let archive = made.map_err(|error| match error.code() {
        // It stays wrong.
        "DUMP_OPTION" => Error::discard(error.message().to_owned()),
        _ => error,
    })?;
    let entry = Entry {
        action: "jobs.database_dumped",
        target: &archive.file,
        details: json!({"job": job.id, "bytes": archive.bytes, "sha256": archive.sha256, "removed": archive.removed, "object": archive.object}),
        family_id: None,
        actor: None,
    };
    append_in(&cx.db(), entry).await?;
    Ok(archive)
}
