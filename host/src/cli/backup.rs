//! `nself backup`: base backups of the private cluster, and a restore to any moment since.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::{
    CliError, Context, Exit, Table,
    db::{audited, with_database},
};
use crate::{
    backup::{BackupError, Backups, Record, shelved},
    config::Config,
    run::RunError,
};

/// Backups of the private cluster
#[derive(Debug, Clone, Args)]
pub(super) struct BackupArgs {
    /// What to do
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum BackupCommand {
    /// Make a base backup while everything runs, and try it; from then on the log of writes is kept
    Create,
    /// List backups: since when each reaches, and when it was tried
    List,
    /// Start a server on a backup, beside the project's, and read everything in it
    Verify(Which),
    /// Put the data back as it was; the data that is there stays beside it. Asks first, and only while no host runs
    Restore(Restore),
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Its id [default: the newest]
    id: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct Restore {
    /// Its id [default: the newest that reaches back far enough]
    id: Option<String>,
    /// The moment to go back to, such as `2030-03-31T02:30:00Z` [default: the last write]
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
}

pub(super) fn run(context: &Context, args: &BackupArgs) -> Result<(), CliError> {
    match &args.command {
        BackupCommand::Create => create(context),
        BackupCommand::List => list(context),
        BackupCommand::Verify(args) => verify(context, args),
        BackupCommand::Restore(args) => restore(context, args),
    }
}

fn create(context: &Context) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    refuse_elsewhere(&config)?;
    let record = with_database(context, &config, async |session| {
        let backups = open(&config)?;
        let client = session.connect().await?;
        let archived = client.query_one("SHOW archive_mode", &[]).await;
        let is_archived = archived.map_err(BackupError::from)?.get::<_, String>(0) == "on";
        let spinner = context.progress("making a backup and trying it");
        let record = backups.take(session.target(), &client).await?;
        drop(spinner);
        if !is_archived {
            context.output.note("the server was started before it could keep its log of writes: it is kept after the next start of the host");
        }
        let details = json!({"backup": record.id, "bytes": record.bytes});
        audited(session, "backup.created", details).await?;
        Ok(record)
    })?;
    context.output.answer(&record, || described(&record))
}

fn list(context: &Context) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    refuse_elsewhere(&config)?;
    // Not through `open`: who looks does not have to wait for who makes one.
    let (directory, records) = shelved(&config)?;
    let answer = json!({"directory": directory, "backups": records});
    context.output.answer(&answer, || {
        let mut table = Table::new(&["ID", "FROM", "SIZE", "POSTGRES", "TRIED", "ROWS"]);
        for record in &records {
            let tried = record.tried.as_ref();
            table.row([
                record.id.clone(),
                format!("{:.0}", record.from),
                mebibytes(record.bytes),
                record.postgres.clone(),
                tried.map_or_else(|| "no".to_owned(), |tried| format!("{:.0}", tried.at)),
                tried.map_or_else(String::new, |tried| tried.rows.to_string()),
            ]);
        }
        let place = directory.as_ref().map(|path| path.display());
        let place = place.map_or_else(String::new, |path| format!(" in {path}"));
        if table.is_empty() {
            format!("no backup{place}: make one with `nself backup create`\n")
        } else {
            context.output.table(&table) + &format!("{}\n", place.trim_start())
        }
    })
}

fn verify(context: &Context, args: &Which) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let backups = open(&config)?;
    let record = backups.find(args.id.as_deref())?;
    let spinner = context.progress("trying the backup");
    let tried = runtime()?.block_on(backups.attempt(&record))?;
    drop(spinner);
    context.output.answer(&tried, || described(&tried))
}

fn restore(context: &Context, args: &Restore) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let backups = open(&config)?;
    let record = match &args.id {
        Some(id) => backups.find(Some(id))?,
        None => backups.reaching(args.to)?,
    };
    let moment = args
        .to
        .map_or_else(|| "at the last write".to_owned(), |to| format!("at {to}"));
    context.confirm(&format!(
        "Put the data back as it was {moment}, from backup {}?",
        record.id
    ))?;
    let spinner = context.progress("restoring");
    let restored = runtime()?.block_on(backups.restore(&record, args.to))?;
    drop(spinner);
    for name in &restored.other_secrets {
        context.output.note(&format!(
            "the secret {name} is another one than in the backup, and was left as it is"
        ));
    }
    context.output.answer(&restored, || {
        let until = restored.until.map_or_else(
            || "as the backup has it".to_owned(),
            |until| format!("its last write was at {until}"),
        );
        let before = restored.before.as_ref().map_or_else(String::new, |before| {
            format!(
                "the data from before is in {}: remove it when it is not missed\n",
                before.display()
            )
        });
        format!(
            "restored from backup {} in {:.1} s: {until}\n{before}start it with `nself up`\n",
            restored.backup,
            seconds(restored.ms)
        )
    })
}

/// The project's backups. Nobody else works on them until they are dropped.
fn open(config: &Config) -> Result<Backups, CliError> {
    Ok(Backups::of(config)?)
}

/// Before anything is started for it.
fn refuse_elsewhere(config: &Config) -> Result<(), CliError> {
    if config.database.url.is_some() {
        return Err(BackupError::Elsewhere.into());
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))
}

fn described(record: &Record) -> String {
    let tried = record.tried.as_ref().map_or_else(String::new, |tried| {
        format!(
            "; a server started on it and {} rows in {} tables were read ({:.1} s)",
            tried.rows,
            tried.holds.tables,
            seconds(tried.ms)
        )
    });
    format!(
        "backup {}: {} of PostgreSQL {}, reaches from {:.0} on{tried}\n",
        record.id,
        mebibytes(record.bytes),
        record.postgres,
        record.from
    )
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes / (1024 * 1024 / 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        let code = error.code();
        let (exit, help) = match error {
            BackupError::Cluster(error) => return RunError::from(error).into(),
            BackupError::Secret(error) => return error.into(),
            BackupError::Elsewhere => (
                Exit::Usage,
                "archives of it are made by the job `jobs.db_backup`",
            ),
            BackupError::Busy => (Exit::TryAgain, "wait until it has ended"),
            BackupError::Interrupted => (Exit::Interrupted, "make it once more"),
            BackupError::None { .. } => (
                Exit::Usage,
                "`nself backup list` shows those that there are; `nself backup create` makes one",
            ),
            BackupError::TooEarly { .. } => (
                Exit::BadData,
                "`nself backup list` shows from when on each of them reaches",
            ),
            BackupError::OtherMajor { .. } => (
                Exit::Unavailable,
                "install that major of PostgreSQL, or set database.bin_directory to where it is",
            ),
            BackupError::Running(_) => (
                Exit::Unavailable,
                "stop it: nself stop. When no host runs, and it was left behind by one that was killed: nself up, then nself stop",
            ),
            BackupError::Missing(_) | BackupError::Program { .. } => (
                Exit::Failed,
                "PostgreSQL's own programs make backups: pg_basebackup, pg_verifybackup and pg_checksums have to be beside postgres (Debian: apt-get install postgresql)",
            ),
            BackupError::Recovery(_) => (
                Exit::Failed,
                "without --to it goes on as far as the log of writes reaches",
            ),
            BackupError::NotWhole { .. } | BackupError::Damaged { .. } => (
                Exit::Unhealthy,
                "restore another one, and find out what happened to this one",
            ),
            BackupError::File { .. } => (
                Exit::CannotCreate,
                "check the disk and the rights of the directory",
            ),
            BackupError::Database(_) => (
                Exit::Failed,
                "the server's log lies beside the data: .nself/pg/postgres.log",
            ),
        };
        Self::of(code, exit, &error).with_help(help)
    }
}
