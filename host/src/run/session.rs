//! The database for one command: beside a running host, or without one.
//!
//! A private cluster that runs is used as it is. One that does not is started for the duration of the command and
//! stopped again, unless another command has come to use it meanwhile: then it keeps running, for the next host to adopt.

use std::{
    error::Error,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use tokio_postgres::{Client, error::SqlState};
use tracing::error;

use super::{
    RunError,
    database::cluster_options,
    services::{MASTER_KEY_BYTES, login_password},
};
use crate::{
    config::{
        Config,
        secrets::{DATABASE_PASSWORD, MASTER_KEY, Secrets},
    },
    plugin::{manifest::Manifest, start},
    postgres::{
        cluster::{self, Cluster, ClusterError},
        connect::Target,
        roles::{self, Login},
    },
};

/// How long a server that is starting may take, crash recovery included.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How often such a server is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// An open database. End it with [`close`](Self::close).
pub struct Session {
    target: Target,
    held: Held,
    login_password: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

enum Held {
    /// `database.url`.
    Elsewhere,
    /// A running cluster; the lock tells whoever started it that it is used.
    Beside { _users: File },
    /// Started for this command.
    Own {
        cluster: Box<Cluster>,
        users: PathBuf,
    },
}

impl Session {
    /// Opens the project's database; `progress` is told what takes a moment.
    ///
    /// # Errors
    ///
    /// [`RunError`] says what is in the way.
    pub async fn open(
        config: &Config,
        secrets: &Secrets,
        progress: &Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, RunError> {
        let (target, held) = match &config.database.url {
            Some(url) => (Target::from_url(url.expose())?, Held::Elsewhere),
            None => private(config, secrets, progress).await?,
        };
        let master = secrets.get_or_generate(MASTER_KEY, MASTER_KEY_BYTES)?;
        Ok(Self {
            target,
            held,
            login_password: login_password(&master),
        })
    }

    /// How to reach it.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A connection of its own.
    ///
    /// # Errors
    ///
    /// [`RunError::Connect`].
    pub async fn connect(&self) -> Result<Client, RunError> {
        let begun = Instant::now();
        loop {
            match self.target.connect().await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return Ok(client);
                }
                Err(error) if self.is_starting(&error) && begun.elapsed() < READY_LIMIT => {
                    tokio::time::sleep(ASK_EVERY).await;
                }
                Err(source) => {
                    return Err(RunError::Connect {
                        place: self.target.describe(),
                        source,
                    });
                }
            }
        }
    }

    /// Whether the server was found while another command was starting it. It has written its process id before it has a
    /// socket, and it has a socket before it lets anybody in.
    fn is_starting(&self, error: &tokio_postgres::Error) -> bool {
        let has_no_socket = || {
            let cause = error.source()?.downcast_ref::<io::Error>()?.kind();
            Some(matches!(
                cause,
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ))
        };
        error.code() == Some(&SqlState::CANNOT_CONNECT_NOW)
            || (matches!(self.held, Held::Beside { .. }) && has_no_socket() == Some(true))
    }

    /// Makes a plugin's login and schema, before its migrations.
    ///
    /// # Errors
    ///
    /// [`RunError::Login`].
    pub async fn prepare(&self, client: &mut Client, id: &str) -> Result<(), RunError> {
        let password = (self.login_password)(id);
        let prepared = roles::prepare(client, &Login::new(id, &password)).await;
        prepared.map(drop).map_err(login(id))
    }

    /// Gives a plugin's login what its manifest asks for, after its migrations, and the accepted plugins what comes with its
    /// capabilities.
    ///
    /// # Errors
    ///
    /// [`RunError::Login`].
    pub async fn grant(
        &self,
        client: &mut Client,
        manifest: &Manifest,
        accepted: &[&Manifest],
    ) -> Result<(), RunError> {
        start::grant(client, manifest, accepted)
            .await
            .map_err(login(&manifest.id))?;
        start::share(client, manifest, accepted)
            .await
            .map_err(|(id, source)| RunError::Login { id, source })
    }

    /// Stops what was started for this command.
    pub async fn close(self) {
        let Held::Own { cluster, users } = self.held else {
            return;
        };
        // Held until the server has stopped: who comes now waits, and then starts it again.
        let alone = File::open(&users).and_then(|file| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            Ok(file)
        });
        if alone.is_err() {
            cluster.leave().await;
        } else if let Err(failure) = cluster.stop().await {
            error!(error = %failure, "PostgreSQL did not stop");
        }
    }
}

fn login(id: &str) -> impl FnOnce(roles::RoleError) -> RunError {
    let id = id.to_owned();
    move |source| RunError::Login { id, source }
}

async fn private(
    config: &Config,
    secrets: &Secrets,
    progress: &Arc<dyn Fn(&str) + Send + Sync>,
) -> Result<(Target, Held), RunError> {
    let begun = Instant::now();
    let state = config.state_directory();
    let users = state.join("database.lock");
    loop {
        let lock = shared(users.clone()).await?;
        let password = secrets.get(DATABASE_PASSWORD)?;
        let running = password.and_then(|password| cluster::running(&state, password.expose()));
        if let Some(server) = running {
            return Ok((Target::local(server), Held::Beside { _users: lock }));
        }
        drop(lock);
        match Cluster::start(cluster_options(config, secrets, progress)?).await {
            Ok(cluster) => {
                let target = Target::local(cluster.config());
                let cluster = Box::new(cluster);
                return Ok((target, Held::Own { cluster, users }));
            }
            // A host or another command is just starting it. That took a second to find out.
            Err(ClusterError::Supervised { .. }) if begun.elapsed() < READY_LIMIT => {}
            Err(error) => return Err(Box::new(error).into()),
        }
    }
}

/// Says that the cluster is used, once nobody is stopping it.
async fn shared(path: PathBuf) -> Result<File, RunError> {
    let lock = |path: &Path| {
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).append(true).open(path)?;
        flock(&file, FlockOperation::LockShared)?;
        Ok(file)
    };
    let locked = tokio::task::spawn_blocking(move || {
        lock(&path).map_err(|source| RunError::Users { path, source })
    });
    locked.await.expect("taking a lock does not panic")
}
