//! pgbench, the driver of what Postgres does without us: prepared statements from a script.

use std::{path::Path, process::Stdio};

use nself::postgres::scratch::{PASSWORD, Scratch, TestDatabase};
use tokio::process::Command;

use crate::{Failure, Result};

/// Runs a script from so many clients, so many times each, on the durable cluster; what pgbench prints of it.
pub(crate) async fn run(
    database: &TestDatabase,
    script: &Path,
    clients: u32,
    each: u32,
    more: &[&str],
) -> Result<String> {
    let scratch = Scratch::durable();
    let program = scratch.binaries().optional("pgbench");
    let program =
        program.ok_or_else(|| Failure::from("pgbench, the limit's driver, is missing"))?;
    let output = Command::new(program)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .args(more)
        .arg(format!("--client={clients}"))
        .arg(format!("--transactions={each}"))
        .arg("--file")
        .arg(script)
        .arg("--host")
        .arg(scratch.directory())
        .args(["--username=postgres", database.name()])
        .env("PGPASSWORD", PASSWORD)
        .stdin(Stdio::null())
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && !errors.contains("aborted") {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::from(format!("pgbench: {errors}")))
}
