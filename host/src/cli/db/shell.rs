//! `nself db shell`

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitStatus},
};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    super::{CliError, Context, Exit},
    Shell,
    open::with_database,
};
use crate::{
    config::Config,
    postgres::binaries::{Binaries, Search},
    run::Session,
};

pub(super) fn run(context: &Context, args: &Shell) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let psql = psql(context, &config).ok_or_else(missing)?;
    with_database(context, &config, async |session| {
        // A host that is just starting is waited for here: psql would only say that it cannot connect.
        drop(session.connect().await?);
        let ended = psql_with(&psql, session, args).await;
        let ended = ended.map_err(|error| {
            CliError::of("PSQL", Exit::Failed, &error).with_help(psql.display().to_string())
        })?;
        if ended.success() {
            return Ok(());
        }
        Err(CliError::new(
            "PSQL",
            Exit::Failed,
            format!("psql ended with {ended}"),
        ))
    })
}

async fn psql_with(psql: &PathBuf, session: &Session, args: &Shell) -> std::io::Result<ExitStatus> {
    let mut command = Command::new(psql);
    command
        .args(&args.arguments)
        .env("PGAPPNAME", "nself db shell")
        .envs(session.target().environment());
    // The terminal's interrupt reaches both of us. It is meant for psql, which ends a query with it and stays.
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut child = tokio::process::Command::from(command).spawn()?;
    loop {
        tokio::select! {
            ended = child.wait() => return ended,
            _ = interrupts.recv() => {}
        }
    }
}

/// The `psql` beside the server's programs, else the one on the path.
fn psql(context: &Context, config: &Config) -> Option<PathBuf> {
    let database = &config.database;
    let search = Search {
        configured: database
            .bin_directory
            .as_ref()
            .map(|path| config.resolve(path)),
        bundle_dir: Some(config.state_directory().join("postgres-dist")),
        major: None,
    };
    let beside = Binaries::find(&search)
        .ok()
        .and_then(|binaries| binaries.optional("psql"));
    beside.or_else(|| {
        let path = context.variables.get("PATH")?;
        env::split_paths(path)
            .map(|directory| directory.join("psql"))
            .find(|program| program.is_file())
    })
}

fn missing() -> CliError {
    let message = "no psql on this machine";
    CliError::new("PSQL_MISSING", Exit::Unavailable, message)
        .with_help("install it (Debian: apt-get install postgresql-client), or set database.bin_directory to where it is")
}
