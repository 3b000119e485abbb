//! `nself logs`: what the host in the background has written, and what it writes.

mod file;
mod line;

use std::{io::ErrorKind, path::Path, thread, time::Duration};

use tracing::Level;

use self::{file::LogFile, line::Line};
use super::{CliError, Context, Exit, Output};

/// How often a log is looked at that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Show what the host in the background has logged, and go on with what it logs
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LogsArgs {
    /// Only what concerns this plugin [default: everything]
    pub(super) plugin: Option<String>,
    /// Go on with what comes, until interrupted
    #[arg(long, short)]
    pub(super) follow: bool,
    /// So many lines, the last ones
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
    pub(super) lines: usize,
    /// Only this level and graver ones: error, warn, info, debug, trace
    #[arg(long)]
    pub(super) level: Option<Level>,
}

pub(super) fn run(context: &Context, args: &LogsArgs) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let path = match &config.log.file {
        Some(file) => config.resolve(file),
        None => config.background_log(),
    };
    let unreadable = |error: std::io::Error| refused(&path, &error);
    let mut log = LogFile::open(&path).map_err(unreadable)?;
    let show = |bytes: &[u8]| shown(&context.output, args, bytes);
    let last = log.last(args.lines, show).map_err(unreadable)?;
    for text in last {
        if !context.output.line(&text)? {
            return Ok(());
        }
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        for text in log.more(show).map_err(unreadable)? {
            if !context.output.line(&text)? {
                return Ok(());
            }
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// A line as it is printed; none when it is not asked for.
fn shown(output: &Output, args: &LogsArgs, bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let Some(line) = Line::parse(&text) else {
        // What a panic says, or a format for people: whom it concerns is not to be told.
        let is_all = args.plugin.is_none() && args.level.is_none();
        return is_all.then(|| Line::other(&text).show(output));
    };
    let concerns = |plugin: &String| line.plugin() == Some(plugin);
    let is_wanted = args.plugin.as_ref().is_none_or(concerns)
        && args.level.is_none_or(|level| line.level() <= level);
    is_wanted.then(|| line.show(output))
}

fn refused(path: &Path, error: &std::io::Error) -> CliError {
    let path = path.display();
    if error.kind() == ErrorKind::NotFound {
        return CliError::new("LOG_ABSENT", Exit::Failed, format!("there is no {path}")).with_help(
            "`nself up --detach` writes it. A host in the foreground writes to its terminal; under systemd see \
             `journalctl -u nself`, in a container `docker compose logs nself`",
        );
    }
    CliError::new("LOG_READ", Exit::Failed, format!("cannot read {path}"))
        .with_cause(error.to_string())
}
