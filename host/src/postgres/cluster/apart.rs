//! The private cluster without its server, for what works on its files; and a server on other data than the project's, for a backup
//! that is tried or put back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio_postgres::{Client, Config, NoTls};

use super::{
    ClusterError, ClusterOptions, DATABASE,
    prepare::{Address, admin, beside, data_dir, existing, find, lock, shelf},
};
use crate::postgres::{
    archive::Archive,
    binaries::Binaries,
    bundle,
    log::Log,
    pidfile, place,
    server::{Plan, Server},
    settings::{self, Tcp},
};

/// Where the private cluster is, and its programs.
pub(crate) struct Premises {
    pub(crate) options: ClusterOptions,
    /// Holds the data directories.
    pub(crate) pg: PathBuf,
    /// The data directory, once there is one.
    pub(crate) data: Option<PathBuf>,
    /// Where backups lie.
    pub(crate) shelf: PathBuf,
    pub(crate) binaries: Binaries,
}

/// Where backups of the cluster lie whose files are in `state`, unless the operator has another place for them; none when there is
/// no cluster.
pub(crate) fn backups_of(state: &Path) -> Option<PathBuf> {
    // The data may lie elsewhere, behind a link.
    let pg = fs::canonicalize(state.join("pg")).ok()?;
    Some(beside(&pg))
}

impl Premises {
    /// Finds them. It blocks.
    ///
    /// # Errors
    ///
    /// As a start of the cluster.
    pub(crate) fn open(options: ClusterOptions) -> Result<Self, ClusterError> {
        let account = &options.account;
        let state = data_dir(&options.data_dir)?;
        let pg = place::pg_dir(&state, &options.elsewhere, account)?;
        let existing = existing(&pg);
        let binaries = find(&options, existing.as_ref())?;
        let bundled = options.bundle_dir.as_deref();
        let binaries = bundle::reachable(binaries, bundled, &state, &options.elsewhere, account)?;
        Ok(Self {
            shelf: shelf(&options, &pg),
            data: existing.map(|(data, _)| data),
            pg,
            binaries,
            options,
        })
    }

    /// Keeps everybody away who would start a server, as long as the file is open.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Supervised`] when a host or a command has one.
    pub(crate) fn alone(&self) -> Result<fs::File, ClusterError> {
        lock(&data_dir(&self.options.data_dir)?)
    }

    /// The server that runs on the data now, whoever started it.
    pub(crate) fn running(&self) -> Option<i32> {
        let running = pidfile::running(self.data.as_deref()?)?;
        Some(running.pid.as_raw_nonzero().get())
    }
}

/// A server on data of its own. No port, nobody who watches over it: end it with [`stop`](Self::stop).
pub(crate) struct Apart {
    plan: Plan,
    server: Server,
}

impl Apart {
    /// Starts it on `data`, whose superuser has `password`; `more` are further lines of its configuration. It may be recovering when
    /// this returns.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]; nothing runs then.
    pub(crate) async fn start(
        premises: &Premises,
        workshop: &Path,
        data: PathBuf,
        password: &str,
        archive: &Archive,
        more: &str,
    ) -> Result<Self, ClusterError> {
        let options = &premises.options;
        let socket_dir = place::socket_dir(workshop, &options.account)?;
        let address = Address {
            port: settings::port(Tcp::Off, &data)?,
            socket_dir,
            tcp: false,
        };
        let path = data.join(settings::FILE);
        let text = settings::text(Tcp::Off, address.port, &address.socket_dir, archive) + more;
        let written = options.account.write(&path, text.as_bytes());
        written.map_err(|source| ClusterError::Io { path, source })?;
        let mut admin = admin(options, &address);
        admin.password(password);
        let plan = Plan {
            binaries: premises.binaries.clone(),
            account: options.account.clone(),
            data,
            log: Log::new(workshop.join("postgres.log")),
            admin,
        };
        let mut slot = None;
        let launched = plan.launch(&mut slot).await;
        match (launched, slot) {
            (Ok(()), Some(server)) => Ok(Self { plan, server }),
            (Ok(()), None) => unreachable!("a launch that succeeds leaves its process"),
            (Err(error), server) => {
                if let Some(mut server) = server {
                    // What is wrong with its start says more than what is wrong with its end.
                    let _ = server.stop().await;
                }
                Err(error.into())
            }
        }
    }

    /// How to reach the host's database on it.
    pub(crate) fn config(&self) -> Config {
        let mut config = self.plan.admin.clone();
        config.dbname(DATABASE);
        config
    }

    /// A superuser's connection to the host's database.
    ///
    /// # Errors
    ///
    /// The server's.
    pub(crate) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config().connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Waits for its end by itself, and says what its log has of it.
    pub(crate) async fn ended(&mut self) -> String {
        let status = self.server.ended().await;
        let said = self.plan.log.since(0);
        format!("{status}: {}", said.trim())
    }

    /// Stops it.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub(crate) async fn stop(mut self) -> Result<(), ClusterError> {
        Ok(self.server.stop().await?)
    }
}

/// Ends a server that a command left behind on `data` when it was killed itself.
pub(crate) fn quit(data: &Path) {
    if let Some(left) = pidfile::running(data) {
        // One that has just ended cannot be signalled.
        let _ = rustix::process::kill_process(left.pid, rustix::process::Signal::QUIT);
        let until = std::time::Instant::now() + super::super::server::QUIT_LIMIT;
        while pidfile::is_alive(left.pid) && std::time::Instant::now() < until {
            std::thread::sleep(super::super::server::STEP);
        }
    }
}
