//! `nself.process/1`: programs that the operator lets a plugin run.
//!
//! A plugin says what, in the words of the operator's list, and never with which words of a command line: those are made here. Between
//! host and program stands a supervisor, which is this program once more. It makes the directory, sets the limits, and ends the
//! program with all that it has started when the host wants that, or when the host is gone. How it is told what to do, and what the
//! program reads, goes through a socket; what the program writes comes through pipes.

mod allowed;
mod container;
mod launch;
mod plan;
mod running;
mod supervisor;
mod wanted;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::process::{Process, ProcessProvider, Running, RunningProvider},
    error::Error,
};
use tokio::sync::Semaphore;
use tracing::{info, warn};

pub use self::allowed::{Allowed, AllowedError};
use self::{
    plan::Cage,
    running::{Ran, Started},
    wanted::Wanted,
};
use super::{
    Grant,
    clock::HostClock,
    error::{error, unavailable},
};
use crate::plugin::isolated;

/// When something that is not on this machine may be wanted again: somebody may install it.
const RETRY_AFTER_MS: u64 = 60_000;

/// The program that takes a [`role`] when it is started with the words of one: this one, once it has asked for its own.
static PERFORMER: OnceLock<PathBuf> = OnceLock::new();

/// This program, whatever has become of its file.
const THIS: &str = "/proc/self/exe";

/// This program as a supervisor, as the last step before a program, or as a plugin's process, when its command line says so.
///
/// A program that has a host in it and does not begin with this runs none: started once more, it would do whatever it does, and not
/// hear what it is to run.
pub fn role(arguments: &[OsString]) -> Option<ExitCode> {
    performed_by(THIS.into());
    match arguments {
        [_, word] if word == supervisor::WORD => Some(supervisor::main()),
        [_, word, words @ ..] if word == launch::WORD => Some(launch::main(words)),
        [_, word, ..] if word == isolated::WORD => Some(isolated::main()),
        _ => None,
    }
}

/// Lets that program take roles for this one, which does not: a built `nself`, for the hosts in a test.
pub fn performed_by(program: PathBuf) {
    // The first one stays.
    let _ = PERFORMER.set(program);
}

/// The program that takes roles, if one does.
pub(crate) fn performer() -> Option<&'static Path> {
    PERFORMER.get().map(PathBuf::as_path)
}

/// What programs may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Processor time of one process, seconds.
    pub cpu_seconds: u64,
    /// Memory of one process, bytes.
    pub memory_bytes: u64,
    /// The largest file that is written, bytes.
    pub file_bytes: u64,
    /// Open files of one process.
    pub files: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// What the operator says of programs.
#[derive(Debug)]
pub struct Options {
    /// Account that they have when this is root.
    pub user: String,
    /// Where interpreters are.
    pub path: Vec<PathBuf>,
    /// The command line of docker or podman, when it is not looked for.
    pub container_program: Option<PathBuf>,
    /// Where their directories are made.
    pub place: PathBuf,
    /// What each may use.
    pub limits: Limits,
    /// How long one may take.
    pub time_max: Duration,
    /// What one may write to its output.
    pub output_bytes_max: usize,
    /// How many run at a time.
    pub at_once_max: usize,
}

/// How programs are run on this machine.
struct Settings {
    path: Vec<PathBuf>,
    container_program: Option<PathBuf>,
    place: PathBuf,
    cage: Cage,
    time_max: Duration,
}

/// User and group of an account that is not root by another name.
fn account(passwd: &str, user: &str) -> Option<(u32, u32)> {
    let found = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else {
            return None;
        };
        (name == user).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    });
    found.filter(|(uid, _)| *uid != 0)
}

/// Why something is not run, or what became of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("plugins.{plugin}.run does not list {word}")]
    Denied { plugin: String, word: String },
    #[error("{field}: expected {expected}")]
    Wanted {
        field: &'static str,
        expected: &'static str,
    },
    #[error("it does not read: {0}")]
    Form(serde_json::Error),
    #[error("there is no {program} in the directories of programs.path, or at that place")]
    Missing { program: String },
    #[error("this host is in a program that is not nself, and cannot hold programs")]
    Foreign,
    #[error("programs.user: there is no account {0} to run programs as, or it is root")]
    Account(String),
    #[error("it took longer than {} s", .0.as_secs_f64())]
    Late(Duration),
    #[error("it cannot be started: {0}")]
    Start(String),
    #[error("the way to it is broken")]
    Broken(#[source] std::io::Error),
    #[error("it ended without a word of how")]
    Lost,
    #[error("its end was asked for already")]
    Twice,
}

impl ProcessError {
    fn wanted(field: &'static str, expected: &'static str) -> Self {
        Self::Wanted { field, expected }
    }

    fn denied(plugin: &str, word: &str) -> Self {
        Self::Denied {
            plugin: plugin.to_owned(),
            word: word.to_owned(),
        }
    }
}

impl From<ProcessError> for Error {
    fn from(cause: ProcessError) -> Self {
        let text = cause.to_string();
        match cause {
            ProcessError::Denied { .. } => error(403, "PROCESS_DENIED", text, cause),
            ProcessError::Wanted { .. } | ProcessError::Form(_) => {
                error(422, "PROCESS_INVALID", text, cause)
            }
            ProcessError::Missing { .. } => {
                unavailable("PROCESS_MISSING", text, RETRY_AFTER_MS, cause)
            }
            ProcessError::Late(_) => error(504, "PROCESS_TIMEOUT", text, cause),
            _ => {
                let source = std::error::Error::source(&cause).map(ToString::to_string);
                let why = source.unwrap_or_else(|| text.clone());
                error(500, "PROCESS_FAILED", text, why)
            }
        }
    }
}

/// What runs programs. One per host.
pub struct Programs {
    settings: Settings,
    /// An account that is wanted and not there: nothing is run then.
    lacks_account: Option<String>,
    output_bytes_max: usize,
    clock: Arc<dyn HostClock>,
    places: Arc<Semaphore>,
}

impl Programs {
    /// Runs them as `options` says.
    pub fn new(options: Options, clock: Arc<dyn HostClock>) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let passwd = || fs::read_to_string("/etc/passwd").unwrap_or_default();
        let account = is_root.then(|| account(&passwd(), &options.user));
        let lacks_account = matches!(account, Some(None)).then_some(options.user);
        let limits = options.limits;
        let cage = Cage {
            account: account.flatten(),
            cpu_seconds: limits.cpu_seconds,
            memory_bytes: limits.memory_bytes,
            file_bytes: limits.file_bytes,
            files: limits.files,
            processes: limits.processes,
        };
        Self {
            settings: Settings {
                path: options.path,
                container_program: options.container_program,
                place: options.place,
                cage,
                time_max: options.time_max,
            },
            lacks_account,
            output_bytes_max: options.output_bytes_max,
            clock,
            places: Arc::new(Semaphore::new(options.at_once_max)),
        }
    }

    async fn start(
        &self,
        plugin: &str,
        allowed: &Allowed,
        wanted: Wanted,
    ) -> Result<Started, ProcessError> {
        if let Some(user) = &self.lacks_account {
            return Err(ProcessError::Account(user.clone()));
        }
        let limit = wanted.limit(&self.settings);
        let plan = wanted.plan(plugin, allowed, &self.settings)?;
        let program = performer().ok_or(ProcessError::Foreign)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore lives as long as the host and is never closed");
        let most = self.output_bytes_max;
        Started::open(program, &plan, limit, most, Arc::clone(&self.clock), place).await
    }
}

/// The capability of one plugin.
pub struct ProcessCapability {
    programs: Arc<Programs>,
    allowed: Arc<Allowed>,
    plugin: Arc<str>,
}

impl ProcessCapability {
    /// Runs what is allowed.
    pub fn capability(grant: &Grant, allowed: Allowed, programs: Arc<Programs>) -> Process {
        Process::new(Arc::new(Self {
            programs,
            allowed: Arc::new(allowed),
            plugin: Arc::clone(&grant.plugin),
        }))
    }
}

impl ProcessProvider for ProcessCapability {
    fn check(&self, what: Str<'_>) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let what = what.as_str();
        let checked = if self.allowed.allows(what) {
            Ok(())
        } else {
            Err(ProcessError::denied(&self.plugin, what).into())
        };
        async move { checked }
    }

    fn start(
        &self,
        wanted: Bytes,
    ) -> impl Future<Output = Result<Running, Error>> + Send + 'static {
        let (programs, allowed) = (Arc::clone(&self.programs), Arc::clone(&self.allowed));
        let plugin = Arc::clone(&self.plugin);
        async move {
            let wanted = Wanted::read(wanted.as_slice())?;
            match programs.start(&plugin, &allowed, wanted).await {
                Ok(started) => {
                    info!(plugin = &*plugin, "a program was started");
                    let place = Mutex::new(Some(started));
                    Ok(Running::new(Arc::new(RunningPlace { place, plugin })))
                }
                Err(error) => {
                    warn!(plugin = &*plugin, %error, "a program was not started");
                    Err(error.into())
                }
            }
        }
    }
}

/// What runs, until its end is asked for.
struct RunningPlace {
    place: Mutex<Option<Started>>,
    plugin: Arc<str>,
}

impl RunningProvider for RunningPlace {
    fn end(&self) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let (started, plugin) = (place.take(), Arc::clone(&self.plugin));
        async move {
            let ended = match started {
                Some(started) => started.end().await,
                None => Err(ProcessError::Twice),
            };
            match ended {
                Ok(ran) => {
                    let Ran { code, signal, .. } = ran;
                    info!(plugin = &*plugin, code, signal, "a program ended");
                    Ok(ran.to_bytes())
                }
                Err(error) => {
                    warn!(plugin = &*plugin, %error, "a program did not end by itself");
                    Err(error.into())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_that_is_not_root() {
        let passwd =
            "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\n";
        assert_eq!(account(passwd, "nobody"), Some((65_534, 65_533)));
        for name in ["root", "toor", "nob", ""] {
            assert_eq!(account(passwd, name), None, "{name}");
        }
    }
}
