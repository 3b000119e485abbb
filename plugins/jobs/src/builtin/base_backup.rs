//! `jobs.base_backup`: a base backup of the private cluster, made and tried by the host, which writes it into the audit log.

use nself_plugin_api::{capability::dump::BaseBackup, prelude::*};

use crate::Jobs;

/// The result is the backup.
pub(crate) async fn run(cx: Cx<Jobs>, _: JobRun) -> Result<BaseBackup> {
    let made = cx.dump().base_backup().await;
    made.map_err(|error| match error.code() {
        // It stays so.
        "BACKUP_ELSEWHERE" | "DUMP_OPTION" => Error::discard(error.message().to_owned()),
        _ => error,
    })
}
