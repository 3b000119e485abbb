//! One server process: spawned or adopted, waited for, stopped.

use std::{io, os::unix::process::CommandExt, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Config, NoTls, error::SqlState};

use super::{
    account::Account,
    binaries::{self, Binaries},
    log::Log,
    pidfile,
};

/// How long a start may take, crash recovery included.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long the leftovers of a killed server may hold its shared memory or its lock file.
const LEFTOVERS_LIMIT: Duration = Duration::from_secs(30);

/// How long a fast stop may take before connections are cut without a checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long an immediate stop may take.
pub(crate) const QUIT_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at something that cannot signal us.
pub(crate) const STEP: Duration = Duration::from_millis(20);

/// Why a server is not running, or does not stop.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The program could not be run at all.
    #[error("cannot run {program} as {account}", program = .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Who should run it.
        account: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended before it answered.
    #[error("PostgreSQL did not start ({status}); {log} says:\n{quote}", log = .log.display())]
    Exited {
        /// How it ended.
        status: String,
        /// The log file.
        log: PathBuf,
        /// The end of the log.
        quote: String,
    },
    /// It runs and refuses us.
    #[error("PostgreSQL in {data} refuses the stored password: restore the secrets file that belongs to this data directory", data = .data.display())]
    Password {
        /// The data directory.
        data: PathBuf,
    },
    /// It runs and answers something unexpected.
    #[error("PostgreSQL runs but does not accept the host's connection")]
    Refused(#[source] tokio_postgres::Error),
    /// It neither answers nor ends.
    #[error("PostgreSQL did not answer within {limit:?}; see {log}", log = .log.display())]
    Silent {
        /// How long was waited.
        limit: Duration,
        /// The log file.
        log: PathBuf,
    },
    /// It did not end.
    #[error(
        "PostgreSQL (process {pid}) did not stop: look at what it waits for, then stop it with `kill -QUIT {pid}`"
    )]
    StillRunning {
        /// The server's process.
        pid: i32,
    },
}

/// Everything that a start needs, fixed while the cluster lives.
pub(crate) struct Plan {
    pub(crate) binaries: Binaries,
    pub(crate) account: Account,
    pub(crate) data: PathBuf,
    pub(crate) log: Log,
    /// How the host connects.
    pub(crate) admin: Config,
}

impl ServerError {
    /// Whether somebody took the port between our look and the server's.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Exited { quote, .. } if quote.contains("could not create any TCP/IP sockets"))
    }
}

/// A server process.
pub(crate) enum Server {
    /// Our child.
    Child(tokio::process::Child),
    /// Left behind by an earlier host.
    Adopted(Pid),
}

enum Probe {
    Ready,
    NotYet,
    Failed(ServerError),
}

impl Plan {
    /// Brings the server to where it answers: adopts one that runs, else spawns. The process is put into `slot` as soon
    /// as it exists, so that giving up on this future does not lose it.
    pub(crate) async fn launch(&self, slot: &mut Option<Server>) -> Result<(), ServerError> {
        let until = Instant::now() + LEFTOVERS_LIMIT;
        loop {
            let mark = self.log.len();
            let server = slot.insert(match pidfile::running(&self.data) {
                Some(postmaster) => Server::Adopted(postmaster.pid),
                None => Server::Child(self.spawn()?),
            });
            let Some(status) = self.ready(server).await? else {
                return Ok(());
            };
            let quote = self.log.since(mark);
            // An adopted server that ended was stopping when we came: it is our turn then.
            let again = matches!(slot.take(), Some(Server::Adopted(_))) || is_leftover(&quote);
            if !again || Instant::now() > until {
                return Err(ServerError::Exited {
                    status,
                    log: self.log.path().to_owned(),
                    quote,
                });
            }
            sleep(STEP * 5).await;
        }
    }

    fn spawn(&self) -> Result<tokio::process::Child, ServerError> {
        let program = self.binaries.program("postgres");
        let failed = |source| ServerError::Spawn {
            program: program.clone(),
            account: self.account.to_string(),
            source,
        };
        let log = self.log.open(&self.account).map_err(failed)?;
        let mut command = binaries::command(&program);
        command
            .arg("-D")
            .arg(&self.data)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // ^C in the terminal reaches the host, which then stops the server in its own time.
            .process_group(0);
        self.account.apply(&mut command);
        tokio::process::Command::from(command)
            .spawn()
            .map_err(failed)
    }

    /// Waits until the server answers; says how it ended when it ended instead.
    async fn ready(&self, server: &mut Server) -> Result<Option<String>, ServerError> {
        let answers = async {
            loop {
                match self.probe().await {
                    Probe::Ready => return Ok(None),
                    Probe::Failed(error) => return Err(error),
                    Probe::NotYet => sleep(STEP).await,
                }
            }
        };
        tokio::select! {
            status = server.ended() => Ok(Some(status)),
            answer = timeout(START_LIMIT, answers) => answer.unwrap_or_else(|_| {
                Err(ServerError::Silent { limit: START_LIMIT, log: self.log.path().to_owned() })
            }),
        }
    }

    async fn probe(&self) -> Probe {
        if !pidfile::says_ready(&self.data) {
            return Probe::NotYet;
        }
        // Dropping what a success returns ends the session.
        let Err(error) = self.admin.connect(NoTls).await else {
            return Probe::Ready;
        };
        match error.code() {
            // No answer at all, or: it starts, recovers, stops.
            None => Probe::NotYet,
            Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => Probe::NotYet,
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => Probe::Ready,
            Some(code) if *code == SqlState::INVALID_PASSWORD => {
                Probe::Failed(ServerError::Password {
                    data: self.data.clone(),
                })
            }
            Some(_) => Probe::Failed(ServerError::Refused(error)),
        }
    }
}

impl Server {
    /// The process, unless it has ended and was waited for.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self {
            Self::Child(child) => child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
            Self::Adopted(pid) => Some(*pid),
        }
    }

    /// Waits for the process to end and says how it did. Safe to give up on.
    pub(crate) async fn ended(&mut self) -> String {
        match self {
            Self::Child(child) => child
                .wait()
                .await
                .map_or_else(|error| error.to_string(), |status| status.to_string()),
            Self::Adopted(pid) => {
                // Only a parent is told of an end.
                while pidfile::is_alive(*pid) {
                    sleep(STEP * 5).await;
                }
                "an adopted process ended".to_owned()
            }
        }
    }

    /// Stops the server: fast first (sessions end, checkpoint), then at once (it recovers at the next start).
    pub(crate) async fn stop(&mut self) -> Result<(), ServerError> {
        let Some(pid) = self.pid() else { return Ok(()) };
        for (signal, limit) in [(Signal::INT, STOP_LIMIT), (Signal::QUIT, QUIT_LIMIT)] {
            // One that has just ended cannot be signalled, and the wait returns at once.
            let _ = rustix::process::kill_process(pid, signal);
            if timeout(limit, self.ended()).await.is_ok() {
                return Ok(());
            }
        }
        Err(ServerError::StillRunning {
            pid: pid.as_raw_nonzero().get(),
        })
    }
}

/// Whether a start failed because a killed server's children still live. They leave by themselves; retrying is right,
/// deleting `postmaster.pid` would let two servers write one data directory.
fn is_leftover(log: &str) -> bool {
    log.contains("pre-existing shared memory block")
        || log.contains("lock file \"postmaster.pid\" already exists")
}
