//! `nself up`

use std::{
    fs::{self, OpenOptions},
    io::{IsTerminal, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    CliError, Context, Exit, client, init,
    serving::{self, Serve},
    urls,
};
use crate::{
    config::{Config, FILE_NAME, project},
    run::DatabaseChoice,
};

/// Start everything: a private Postgres where none is configured, migrations, plugins, one gateway port.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UpArgs {
    /// Go to the background once everything is ready
    #[arg(long, short)]
    pub detach: bool,
    /// Gateway port [default: http.port, 3000]; 0 lets the system choose
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Leave the private Postgres running when the host stops
    #[arg(long)]
    pub keep_database: bool,
}

/// A first start makes a database cluster, which takes a while on a slow disk.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a starting host is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// End of the log that is shown when a host in the background does not start.
const LOG_TAIL_BYTES: u64 = 4 * 1024;

pub(super) fn run(context: &Context, args: &UpArgs) -> Result<(), CliError> {
    let directory = context.directory()?;
    if !directory.join(FILE_NAME).exists() {
        first_run(context, &directory)?;
    }
    let (mut config, provenance) = context.config()?;
    if let Some(port) = args.port {
        config.http.port = port;
    }
    config.database.keep_running |= args.keep_database;
    if let Some(running) = running(&config) {
        context.output.note("a host already runs in this project");
        return context
            .output
            .answer(&running, || urls::text(&running["urls"]));
    }
    if args.detach {
        return detach(context, &config, args);
    }
    serving::run(
        context,
        Serve {
            config,
            provenance,
            database: DatabaseChoice::UrlOrPrivate,
            migrate: true,
        },
    )
}

/// Makes the project. The operator's key is shown on a terminal only: what is not one may be a log.
fn first_run(context: &Context, directory: &Path) -> Result<(), CliError> {
    let template = project::Template::default();
    if context.output.is_json() || !std::io::stderr().is_terminal() {
        project::init(directory, template, None)?;
        context.output.note(&format!(
            "made a project in {}; make an API key for its operator: nself config key operator",
            directory.display()
        ));
        return Ok(());
    }
    let (_, key) = init::make(directory, template)?;
    context
        .output
        .note(&format!("made a project in {}", directory.display()));
    if let Some(key) = key {
        context.output.note(init::shown_once(&key).trim_end());
    }
    Ok(())
}

/// What the host of this project says, if one runs.
fn running(config: &Config) -> Option<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let state = config.state_directory();
        let status = client::call(&state, "status", Value::Null, |_| {})
            .await
            .ok()?;
        let urls = client::call(&state, "urls", Value::Null, |_| {})
            .await
            .ok()?;
        Some(json!({"pid": status["pid"], "urls": urls}))
    })
}

/// Starts the same program in the background, and waits until it is ready.
fn detach(context: &Context, config: &Config, args: &UpArgs) -> Result<(), CliError> {
    let log = config.background_log();
    let mut child = spawn(&config.directory, args, &log).map_err(|error| {
        CliError::of("DETACH", Exit::Failed, &error).with_help(format!("check {}", log.display()))
    })?;
    let progress = context.progress("starting");
    let begun = Instant::now();
    loop {
        if let Some(running) = running(config) {
            drop(progress);
            return context
                .output
                .answer(&running, || urls::text(&running["urls"]));
        }
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || begun.elapsed() > READY_TIMEOUT {
            let what = ended.map_or_else(
                || "is not ready yet".to_owned(),
                |status| format!("ended ({status})"),
            );
            return Err(CliError::new(
                "DETACH",
                Exit::Failed,
                format!("the host in the background {what}"),
            )
            .with_cause(tail(&log))
            .with_help("run `nself up` without --detach to see it start"));
        }
        std::thread::sleep(ASK_EVERY);
    }
}

fn spawn(directory: &Path, args: &UpArgs, log: &Path) -> std::io::Result<Child> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)?;
    }
    let out = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("up").arg("--project").arg(directory);
    if let Some(port) = args.port {
        command.args(["--port", &port.to_string()]);
    }
    if args.keep_database {
        command.arg("--keep-database");
    }
    // A group of its own: the terminal's interrupt is not meant for it.
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .process_group(0)
        .spawn()
}

fn tail(log: &Path) -> String {
    use std::io::{Seek, SeekFrom};
    let read = || {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_else(|error| format!("no log: {error}"))
}
