//! The embedded cluster: a private Postgres that follows the host.
//!
//! It survives the host: one that was killed leaves its server running, and the next start adopts it. It is watched: a
//! server that dies is started again. Only one host at a time has it, which a lock file ensures.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_postgres::{Config, NoTls};
use zeroize::Zeroizing;

use super::{
    account::Account,
    binaries::{Binaries, BinariesError},
    initdb::{InitError, SUPERUSER},
    place::{self, PlaceError},
    server::{Plan, Server, ServerError},
    settings::{PortError, Tcp},
    supervise::{Control, Supervisor},
};

mod apart;
mod prepare;

pub(crate) use apart::{Apart, Premises, backups_of, quit};
use prepare::{Address, Prepared, admin, listen, prepare, server_of};

/// The database that a new cluster gets.
pub const DATABASE: &str = "nself";

/// Directory of base backups, beside that of the data.
const BACKUPS: &str = "backups";

/// Directory of the log of writes among them.
pub(crate) const WAL: &str = "wal";

/// How often a start looks for another port when somebody takes the free one that it found.
const PORT_TRIES: u32 = 5;

/// What a start needs to know.
pub struct ClusterOptions {
    /// The project's `.nself`: created when missing, 0711 so that the account that runs the server may pass.
    pub data_dir: PathBuf,
    /// Programs in a configured directory; searched for when absent.
    pub binaries: Option<PathBuf>,
    /// Where bootstrap unpacked programs.
    pub bundle_dir: Option<PathBuf>,
    /// The superuser's password; it becomes the cluster's at the first start and must stay the same.
    pub password: Zeroizing<String>,
    /// Whether there is a loopback port.
    pub tcp: Tcp,
    /// Who runs the server.
    pub account: Account,
    /// Where data goes that the account could not reach under `data_dir`.
    pub elsewhere: PathBuf,
    /// Where backups lie; beside the data when absent.
    pub backups: Option<PathBuf>,
    /// Is told what happens, for people who wait.
    pub progress: Box<dyn Fn(&Progress) + Send + Sync>,
}

impl ClusterOptions {
    /// The defaults for a project.
    pub fn new(data_dir: impl Into<PathBuf>, password: impl Into<String>) -> Self {
        let data_dir = data_dir.into();
        Self {
            bundle_dir: Some(data_dir.join("postgres-dist")),
            data_dir,
            binaries: None,
            password: Zeroizing::new(password.into()),
            tcp: Tcp::default(),
            account: Account::choose(),
            elsewhere: PathBuf::from(place::ELSEWHERE),
            backups: None,
            progress: Box::new(|_| {}),
        }
    }
}

/// A step of a start that takes a moment or surprises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The first start: a data directory is made.
    Creating(PathBuf),
    /// The server is started, perhaps recovering from a crash.
    Starting(String),
    /// A server from an earlier host runs.
    Adopting(i32),
    /// The recorded port was taken: from, to.
    PortChanged(u16, u16),
    /// The data stands outside of the project.
    Elsewhere(PathBuf),
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Creating(dir) => write!(f, "creating a PostgreSQL cluster in {}", dir.display()),
            Self::Starting(source) => write!(f, "starting {source}"),
            Self::Adopting(pid) => write!(
                f,
                "PostgreSQL still runs from before (process {pid}): using it"
            ),
            Self::PortChanged(from, to) => {
                write!(f, "port {from} is taken by now: PostgreSQL moves to {to}")
            }
            Self::Elsewhere(dir) => {
                write!(
                    f,
                    "PostgreSQL does not run as root and cannot enter this directory: its data is in {}",
                    dir.display()
                )
            }
        }
    }
}

/// Whether the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It answered; the number is its process.
    Running(i32),
    /// It ended and is being started again.
    Restarting {
        /// Starts tried since it ended; 0 before the first.
        attempt: u32,
        /// Why it does not run.
        reason: String,
    },
    /// It was stopped, or left alone.
    Stopped,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No programs to run it.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// Data of a major whose programs are not there.
    #[error(
        "the data in {data} belongs to PostgreSQL {major}, whose programs are not on this machine: install PostgreSQL {major} \
         (Debian: apt-get install postgresql-{major}), or dump the data where it is installed, move the directory away and restore into a new cluster",
        data = .data.display()
    )]
    OtherMajor {
        /// The data directory.
        data: PathBuf,
        /// Its major.
        major: u32,
        /// What was found instead.
        #[source]
        found: BinariesError,
    },
    /// Another host has it.
    #[error("another host (process {pid}) already runs the PostgreSQL of {data_dir}: stop it first, or use another project directory", data_dir = .data_dir.display())]
    Supervised {
        /// The other host's process, or a question mark.
        pid: String,
        /// The project's directory.
        data_dir: PathBuf,
    },
    /// Data or socket have no place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// No data directory could be made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// No port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The server does not run, or does not stop.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A file operation failed.
    #[error("cannot write {path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server runs, but the first database could not be made.
    #[error("cannot create the database {DATABASE}")]
    Database(#[source] tokio_postgres::Error),
    /// The task that watches the server is gone.
    #[error("the watch over PostgreSQL ended by itself: restart the host")]
    Unwatched,
}

/// A running cluster. Dropping it without [`Cluster::stop`] or [`Cluster::leave`] asks the server to stop and does not wait.
#[derive(Debug)]
pub struct Cluster {
    source: String,
    binaries: Binaries,
    config: Config,
    address: Address,
    password: Zeroizing<String>,
    states: watch::Receiver<State>,
    control: mpsc::Sender<Control>,
    watch: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Starts or adopts the cluster of `options.data_dir`, creating it at the first start, and watches over it.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] says what is in the way and what to do; nothing runs then that did not run before.
    pub async fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        let work = move || prepare(&options).map(|prepared| (prepared, options));
        let prepared = tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| ClusterError::Unwatched)?;
        let (
            Prepared {
                mut plan,
                mut address,
                pg,
                lock,
            },
            options,
        ) = prepared?;
        let mut tries = 0;
        let server = loop {
            match bring_up(&plan).await {
                Err(ClusterError::Server(error)) if error.is_port_taken() && tries < PORT_TRIES => {
                    tries += 1;
                }
                outcome => break outcome?,
            }
            address = listen(&options, &plan.binaries, &pg, &plan.data)?;
            plan.admin = admin(&options, &address);
        };
        let (source, binaries) = (plan.binaries.to_string(), plan.binaries.clone());
        let (admin, password) = (plan.admin.clone(), options.password);
        let (control, commands) = mpsc::channel(1);
        let pid = server.pid().map_or(0, |pid| pid.as_raw_nonzero().get());
        let (reporter, states) = watch::channel(State::Running(pid));
        let watch = tokio::spawn(Supervisor::new(plan, server, reporter, commands, lock).run());
        let mut config = admin;
        config.dbname(DATABASE);
        Ok(Self {
            source,
            binaries,
            config,
            address,
            password,
            states,
            control,
            watch: Some(watch),
        })
    }

    /// How the host connects: superuser over the socket, database [`DATABASE`].
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// The same as a URL. It holds the password: not for logs.
    pub fn url(&self) -> Zeroizing<String> {
        let dir = self.address.socket_dir.to_string_lossy();
        self.url_at(&format!("{}:{}", encoded(&dir), self.address.port))
    }

    /// The URL over 127.0.0.1, for programs that cannot use the socket; it holds the password.
    pub fn tcp_url(&self) -> Option<Zeroizing<String>> {
        self.address
            .tcp
            .then(|| self.url_at(&format!("127.0.0.1:{}", self.address.port)))
    }

    fn url_at(&self, host: &str) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "postgres://{SUPERUSER}:{}@{host}/{DATABASE}",
            encoded(&self.password)
        ))
    }

    /// What runs, for people: `PostgreSQL 15.18 from /usr/lib/postgresql/15/bin`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The programs, for `pg_dump` and `psql`.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Whether the server answers, now and later.
    pub fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }

    /// Stops the server: fast, and after 30 s at once.
    ///
    /// # Errors
    ///
    /// [`ServerError::StillRunning`] when even that did not help.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        let (done, outcome) = oneshot::channel();
        self.end(Control::Stop(done)).await;
        outcome
            .await
            .map_err(|_| ClusterError::Unwatched)?
            .map_err(ClusterError::Server)
    }

    /// Lets the server run on for the next host to adopt.
    pub async fn leave(mut self) {
        self.end(Control::Leave).await;
    }

    async fn end(&mut self, control: Control) {
        // Both fail only when the task has already ended; stop() reports that.
        let _ = self.control.send(control).await;
        if let Some(watch) = self.watch.take() {
            let _ = watch.await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(watch) = self.watch.take() else {
            return;
        };
        watch.abort();
        if let State::Running(pid) = *self.states.borrow()
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
    }
}

/// How to reach the server that runs on the data in `data_dir` now, for a command beside the host that watches over it.
/// None when none runs, or has no socket yet. It may still be starting.
pub fn running(data_dir: &Path, password: &str) -> Option<Config> {
    let server = server_of(data_dir)?;
    let mut config = Config::new();
    config
        .host_path(server.socket_dir?)
        .port(server.port)
        .user(SUPERUSER)
        .password(password)
        .dbname(DATABASE);
    Some(config)
}

/// The first launch, with the database; a failure stops what this call started.
async fn bring_up(plan: &Plan) -> Result<Server, ClusterError> {
    let mut slot = None;
    let outcome = async {
        plan.launch(&mut slot).await?;
        create_database(&plan.admin)
            .await
            .map_err(ClusterError::Database)
    }
    .await;
    match (outcome, slot) {
        (Ok(()), Some(server)) => Ok(server),
        (Ok(()), None) => unreachable!("a launch that succeeds leaves its process"),
        (Err(error), Some(mut server @ Server::Child(_))) => {
            let _ = server.stop().await;
            Err(error)
        }
        (Err(error), _) => Err(error),
    }
}

async fn create_database(admin: &Config) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = admin.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let found = client
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE])
        .await?;
    if found.is_none() {
        client
            .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
            .await?;
    }
    drop(client);
    let _ = connection.await;
    Ok(())
}

/// Percent-encodes what a URL's authority cannot hold.
fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
