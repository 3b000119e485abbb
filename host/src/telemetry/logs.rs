//! Log lines: pretty for people, JSON for machines, a level that can change while running.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, fmt, reload};

use super::json::{JsonLine, JsonMembers};
use super::writer::Queue;
use crate::config::{Config, LogFormat, Variables};

/// Goes before `log.level`: a filter such as `info,nself::http=debug`.
const FILTER_VARIABLE: &str = "NSELF_LOG";

/// Why logging could not start or change.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: check `log.file`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread that writes cannot start.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// Not a level or filter.
    #[error(
        "`{filter}` is no log filter: use off, error, warn, info, debug, trace, or `info,nself::http=debug`"
    )]
    Filter {
        /// What was given.
        filter: String,
    },
    /// Somebody else already receives this process's events.
    #[error("logging has already started in this process")]
    Started,
}

impl LogError {
    /// Its stable code; each has a page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Thread(_) => "LOG_OPEN",
            Self::Filter { .. } => "LOG_FILTER",
            Self::Started => "LOG_STARTED",
        }
    }
}

/// The running log. Dropping it writes the last lines.
pub struct Telemetry {
    queue: Queue,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts logging for the whole process. `terminal` says whether standard error is one that shows colours.
pub fn init(config: &Config, variables: &Variables, terminal: bool) -> Result<Telemetry, LogError> {
    let (subscriber, telemetry) = subscriber(config, variables, terminal)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Started)?;
    Ok(telemetry)
}

/// What [`init`] installs, for a scope of one's own.
pub fn subscriber(
    config: &Config,
    variables: &Variables,
    terminal: bool,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Telemetry), LogError> {
    let file = config.log.file.as_ref().map(|file| config.resolve(file));
    let pretty = match config.log.format {
        LogFormat::Auto => terminal && file.is_none(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let colours = pretty && terminal && file.is_none() && is_colourful(variables);
    let queue = Queue::start(target(file.as_deref())?).map_err(LogError::Thread)?;
    let stated = variables
        .get(FILTER_VARIABLE)
        .filter(|filter| !filter.is_empty());
    let (filter, handle) = reload::Layer::new(filter(stated.unwrap_or(&config.log.level))?);

    let layers = Registry::default().with(filter);
    let lines = fmt::layer()
        .with_writer(queue.clone())
        .log_internal_errors(false);
    let subscriber: Box<dyn Subscriber + Send + Sync> = if pretty {
        Box::new(layers.with(lines.compact().with_ansi(colours)))
    } else {
        let lines = lines.with_ansi(false);
        Box::new(layers.with(lines.fmt_fields(JsonMembers).event_format(JsonLine)))
    };
    let telemetry = Telemetry {
        queue,
        filter: handle,
    };
    Ok((subscriber, telemetry))
}

/// Whether the user wants colours where a terminal could show them.
pub fn is_colourful(variables: &Variables) -> bool {
    let said = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    !said("NO_COLOR") && variables.get("TERM").is_none_or(|term| term != "dumb")
}

fn target(file: Option<&Path>) -> Result<Box<dyn Write + Send>, LogError> {
    let Some(path) = file else {
        return Ok(Box::new(io::stderr()));
    };
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    opened
        .map(|file| Box::new(file) as _)
        .map_err(|source| LogError::Open {
            path: path.to_owned(),
            source,
        })
}

fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let refused = || LogError::Filter {
        filter: text.to_owned(),
    };
    // A word that is no level would be a target, and everything else off: a misspelt level must not silence the log.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let says_more = |part: &str| part.contains(['=', '[', ']', '{', '}']);
    if !text
        .split(',')
        .all(|part| says_more(part) || is_level(part))
    {
        return Err(refused());
    }
    EnvFilter::try_new(text).map_err(|_| refused())
}

impl Telemetry {
    /// Changes what is logged from now on: a level, or a filter such as `info,nself::http=debug`.
    pub fn set_level(&self, text: &str) -> Result<(), LogError> {
        let failed = |_| LogError::Filter {
            filter: text.to_owned(),
        };
        self.filter.reload(filter(text)?).map_err(failed)
    }

    /// What is logged now, as a filter.
    pub fn level(&self) -> String {
        let level = self.filter.with_current(ToString::to_string);
        // Only a log that has gone away has none.
        level.unwrap_or_default()
    }

    /// Lines that were dropped: the disk was full, or the reader of the pipe too slow.
    pub fn lines_lost(&self) -> u64 {
        self.queue.lost()
    }

    /// Waits until what was logged so far is written, at most a second.
    pub fn flush(&self) {
        self.queue.flush();
    }

    /// A function that says how many lines were dropped, for a metric.
    pub fn lines_lost_counter(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let queue = self.queue.clone();
        move || queue.lost()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn logging(file: &Path, level: &str) -> (Box<dyn Subscriber + Send + Sync>, Telemetry) {
        let mut config = Config::default();
        config.log.file = Some(file.to_owned());
        level.clone_into(&mut config.log.level);
        subscriber(&config, &Variables::new(), false).expect("logging starts")
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let (subscriber, telemetry) = logging(&PathBuf::from("/dev/full"), "info");
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..100 {
                tracing::info!(number, "nobody will read this");
            }
        });
        telemetry.flush();
        assert_eq!(telemetry.lines_lost(), 100);
    }

    #[test]
    fn lines_are_json_and_the_level_changes_while_running() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("log");
        let (subscriber, telemetry) = logging(&file, "warn");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("too quiet");
            telemetry.set_level("debug").expect("a level");
            tracing::debug!(answer = 42, "heard");
            for wrong in ["info,=", "verbose", "info,nself", ""] {
                assert!(telemetry.set_level(wrong).is_err(), "{wrong:?}");
            }
            assert_eq!(
                telemetry.level(),
                "debug",
                "a refused filter changes nothing"
            );
            telemetry
                .set_level("warn,nself::http=debug")
                .expect("a filter");
        });
        telemetry.flush();
        let text = std::fs::read_to_string(&file).expect("the log is there");
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one JSON object");
        assert_eq!(
            (&line["message"], &line["answer"], &line["level"]),
            (&"heard".into(), &42.into(), &"DEBUG".into())
        );
    }
}
