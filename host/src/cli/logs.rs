//! `nself logs`: what the host in the background has written, and what it writes.

mod file;
mod line;

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

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
    let mut tail = Tail::open(context, args)?;
    if !tail.print_last()? || !args.follow {
        return Ok(());
    }
    while tail.print_new()? {
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// The log of the host in the background, as it grows.
pub(super) struct Tail<'a> {
    context: &'a Context,
    args: LogsArgs,
    path: PathBuf,
    file: LogFile,
}

impl<'a> Tail<'a> {
    /// # Errors
    ///
    /// `LOG_ABSENT` when no host has written one; `LOG_READ`.
    pub(super) fn open(context: &'a Context, args: &LogsArgs) -> Result<Self, CliError> {
        let (config, _) = context.config()?;
        let path = match &config.log.file {
            Some(file) => config.resolve(file),
            None => config.background_log(),
        };
        let file = LogFile::open(&path).map_err(|error| refused(&path, &error))?;
        Ok(Self {
            context,
            args: args.clone(),
            path,
            file,
        })
    }

    /// The last lines, as many as are asked for; whether somebody still reads.
    pub(super) fn print_last(&mut self) -> Result<bool, CliError> {
        let Self { context, args, .. } = self;
        let show = |bytes: &[u8]| shown(&context.output, args, bytes);
        let lines = self.file.last(args.lines, show);
        self.print(lines)
    }

    /// What has come since; whether somebody still reads.
    pub(super) fn print_new(&mut self) -> Result<bool, CliError> {
        let Self { context, args, .. } = self;
        let show = |bytes: &[u8]| shown(&context.output, args, bytes);
        let lines = self.file.more(show);
        self.print(lines)
    }

    fn print(&self, lines: io::Result<Vec<String>>) -> Result<bool, CliError> {
        for line in lines.map_err(|error| refused(&self.path, &error))? {
            if !self.context.output.line(&line)? {
                return Ok(false);
            }
        }
        Ok(true)
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

fn refused(path: &Path, error: &io::Error) -> CliError {
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
