//! `nself audit`: read the audit log, prove it, export it, put old months away. With or without a running host.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{CliError, Context, Exit, Table, db::with_database};
use crate::audit::{
    self, Broken, Entry, Filter, Record,
    archive::{self, ArchiveError},
    export::Selection,
    months::{self, MonthError},
    witness::Heads,
};

/// The audit log: what happened, and whether anybody has touched it.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum AuditCommand {
    /// Show entries, the newest first
    List(List),
    /// Check every chain and every seal, or a file of entries. Exit code 65 when something is broken
    Verify(Verify),
    /// Write entries to a file as JSON Lines
    Export(Export),
    /// Write old months to files, prove the files, and remove the months from the database; asks first
    Archive(Archive),
}

/// Whose entries.
#[derive(Debug, Clone, Args)]
struct Whose {
    /// Only this family's
    #[arg(long, value_name = "ID", conflicts_with = "stream")]
    family: Option<Uuid>,
    /// Only this stream's: a family's id, or `system-0` to `system-f`
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
}

impl Whose {
    fn stream(&self) -> Option<String> {
        self.family
            .map(|family| family.to_string())
            .or_else(|| self.stream.clone())
    }
}

/// `nself audit list`
#[derive(Debug, Clone, Args)]
struct List {
    #[command(flatten)]
    whose: Whose,
    /// Only this action; `*` stands for anything: `family.*`
    #[arg(long)]
    action: Option<String>,
    /// Only what this one did
    #[arg(long)]
    actor: Option<String>,
    /// Only what was done to this
    #[arg(long)]
    target: Option<String>,
    /// Only entries from this moment on, as 2026-01-31T12:00:00Z
    #[arg(long)]
    since: Option<Timestamp>,
    /// Only entries before this moment
    #[arg(long)]
    until: Option<Timestamp>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// `nself audit verify`
#[derive(Debug, Clone, Args)]
struct Verify {
    #[command(flatten)]
    whose: Whose,
    /// Check this file of `export` or `archive` instead
    #[arg(long, conflicts_with_all = ["family", "stream", "witness"])]
    file: Option<PathBuf>,
    /// Compare with the ends of the chains in this file, and write the new ones to it. Keep it on another machine: it
    /// finds out even who rewrites whole chains
    #[arg(long, value_name = "FILE", conflicts_with_all = ["family", "stream"])]
    witness: Option<PathBuf>,
}

/// `nself audit export`
#[derive(Debug, Clone, Args)]
struct Export {
    /// Where to; there must be no such file
    file: PathBuf,
    #[command(flatten)]
    whose: Whose,
    /// Only entries from this moment on
    #[arg(long)]
    since: Option<Timestamp>,
    /// Only entries before this moment
    #[arg(long)]
    until: Option<Timestamp>,
}

/// `nself audit archive`
#[derive(Debug, Clone, Args)]
struct Archive {
    /// The first month that stays, as 2026-01
    #[arg(long, value_name = "MONTH", value_parser = month)]
    before: Date,
    /// Where the files go [default: audit.directory of the configuration]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

fn month(text: &str) -> Result<Date, String> {
    Date::strptime("%Y-%m-%d", format!("{text}-01"))
        .map_err(|_| "a month is written as 2026-01".to_owned())
}

pub(super) fn run(context: &Context, args: &AuditArgs) -> Result<(), CliError> {
    match &args.command {
        AuditCommand::List(args) => list(context, args),
        AuditCommand::Verify(args) => verify(context, args),
        AuditCommand::Export(args) => export(context, args),
        AuditCommand::Archive(args) => archive_months(context, args),
    }
}

fn list(context: &Context, args: &List) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let filter = Filter {
        stream: args.whose.stream(),
        action: args.action.clone(),
        actor: args.actor.clone(),
        target: args.target.clone(),
        since: args.since,
        until: args.until,
        before: None,
        limit: args.limit,
    };
    let entries = with_database(context, &config, async |session| {
        audit::tail(&session.connect().await?, &filter)
            .await
            .map_err(database)
    })?;
    context.output.answer(&entries, || {
        let mut table = Table::new(&["AT", "STREAM", "NO", "ACTION", "TARGET", "ACTOR", "SOURCE"]);
        for entry in &entries {
            let Record {
                stream,
                sequence,
                at,
                action,
                target,
                actor,
                source,
                ..
            } = entry;
            table.row([
                format!("{at:.0}"),
                stream.clone(),
                sequence.to_string(),
                action.clone(),
                target.clone().unwrap_or_default(),
                actor.clone(),
                source.clone(),
            ]);
        }
        if table.is_empty() {
            "no entries\n".to_owned()
        } else {
            context.output.table(&table)
        }
    })
}

/// What was looked at, and what is wrong with it.
#[derive(Serialize)]
struct Verdict {
    streams: usize,
    broken: Vec<Broken>,
}

fn verify(context: &Context, args: &Verify) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    if let Some(file) = &args.file {
        return verify_file(context, file);
    }
    let seen = match &args.witness {
        Some(path) => Heads::read(path).map_err(file_failed)?,
        None => None,
    };
    let stream = args.whose.stream();
    let (verdict, heads) = with_database(context, &config, async |session| {
        let client = session.connect().await?;
        // One snapshot: what is appended meanwhile is neither missing nor too much.
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(database)?;
        let mut broken = audit::verify(&client, stream.as_deref())
            .await
            .map_err(database)?;
        if let Some(seen) = &seen {
            broken.extend(seen.contradicted(&client).await.map_err(database)?);
        }
        let heads = Heads::now(&client).await.map_err(database)?;
        let streams = if stream.is_some() { 1 } else { heads.len() };
        Ok((Verdict { streams, broken }, heads))
    })?;
    if !verdict.broken.is_empty() {
        return Err(broken("the audit log", &verdict.broken));
    }
    if let Some(path) = &args.witness {
        heads.write(path).map_err(file_failed)?;
    }
    context
        .output
        .answer(&verdict, || format!("whole: {} streams\n", verdict.streams))
}

fn verify_file(context: &Context, file: &std::path::Path) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let proof = with_database(context, &config, async |session| {
        let client = session.connect().await?;
        archive::prove(&client, file).await.map_err(file_failed)
    })?;
    if !proof.broken.is_empty() {
        return Err(broken(&file.display().to_string(), &proof.broken));
    }
    context.output.answer(&proof, || {
        let month = match &proof.month {
            Some(month) => format!("exactly the sealed month {month}"),
            None => "no whole sealed month".to_owned(),
        };
        format!(
            "whole: {} entries in {} streams, {month}\n",
            proof.entries, proof.streams
        )
    })
}

fn broken(what: &str, places: &[Broken]) -> CliError {
    let error = CliError::new("AUDIT_BROKEN", Exit::BadData, format!("{what} is broken"));
    let place = |broken: &Broken| {
        format!(
            "stream {} at {}: {}",
            broken.stream, broken.sequence, broken.problem
        )
    };
    places
        .iter()
        .fold(error, |error, broken| error.with_cause(place(broken)))
        .with_help("compare with a backup or an archive from before: somebody with the owner's rights on the database changed it")
}

fn export(context: &Context, args: &Export) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    if args.file.exists() {
        let message = format!("{} is there already", args.file.display());
        return Err(CliError::new("AUDIT_FILE", Exit::Usage, message)
            .with_help("name another file: an export never replaces one"));
    }
    let stream = args.whose.stream();
    let selection = Selection {
        stream: stream.clone(),
        since: args.since,
        until: args.until,
    };
    let entries = with_database(context, &config, async |session| {
        let client = session.connect().await?;
        let entry = Entry {
            actor: Some("cli".to_owned()),
            family_id: stream.as_deref().and_then(|stream| stream.parse().ok()),
            ..Entry::new("audit.exported", stream.as_deref().unwrap_or("*"))
        };
        audit::append(&client, &entry).await.map_err(database)?;
        archive::write(&client, &selection, &args.file)
            .await
            .map_err(file_failed)
    })?;
    let answer = json!({"entries": entries, "file": args.file});
    context.output.answer(&answer, || {
        format!("{entries} entries in {}\n", args.file.display())
    })
}

fn archive_months(context: &Context, args: &Archive) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let directory = args
        .directory
        .clone()
        .unwrap_or_else(|| config.audit_directory());
    let this_month = Timestamp::now()
        .to_zoned(TimeZone::UTC)
        .date()
        .first_of_month();
    if args.before > this_month {
        let message = format!("{} is not over", args.before.strftime("%Y-%m"));
        return Err(CliError::new("AUDIT_MONTH", Exit::Usage, message)
            .with_help("only months that are over can be put away"));
    }
    context.confirm(&format!(
        "Move the months before {} of the audit log to {}? They leave the database.",
        args.before.strftime("%Y-%m"),
        directory.display()
    ))?;
    let done = with_database(context, &config, async |session| {
        let mut client = session.connect().await?;
        months::close(&mut client).await.map_err(database)?;
        months::put_away(&mut client, args.before, &directory)
            .await
            .map_err(month_failed)
    })?;
    context.output.answer(&done, || {
        let mut table = Table::new(&["MONTH", "ENTRIES", "FILE"]);
        for archived in &done {
            table.row([
                archived.month.clone(),
                archived.entries.to_string(),
                archived.file.display().to_string(),
            ]);
        }
        if table.is_empty() {
            "nothing to put away\n".to_owned()
        } else {
            context.output.table(&table)
        }
    })
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn database(error: tokio_postgres::Error) -> CliError {
    CliError::of("DATABASE_ERROR", Exit::Failed, &error)
}

fn file_failed(error: ArchiveError) -> CliError {
    match error {
        ArchiveError::Database(error) => database(error),
        ArchiveError::File { .. } => CliError::of("AUDIT_FILE", Exit::Failed, &error),
        ArchiveError::Line { .. } => CliError::of("AUDIT_FILE", Exit::BadData, &error),
    }
}

fn month_failed(error: MonthError) -> CliError {
    match error {
        MonthError::Database(error) => database(error),
        MonthError::Archive(error) => file_failed(error),
        MonthError::NotTheMonth { .. } => CliError::of("AUDIT_MONTH", Exit::BadData, &error),
    }
}
