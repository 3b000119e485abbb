//! The database of a host: a private cluster, or somebody else's.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tokio_postgres::Client;
use tracing::error;

use super::RunError;
use crate::{
    config::{
        Config, project,
        secrets::{DATABASE_PASSWORD, SecretError, Secrets},
    },
    migrate::{
        Migrator, Options, Owner, State as StepState,
        files::{self, FilesError},
    },
    postgres::{
        cluster::{Cluster, ClusterOptions, State},
        connect::Target,
    },
};

/// The project's own steps, below its directory.
pub const MIGRATIONS: &str = "db/migrations";

/// Bytes of the generated password.
const PASSWORD_BYTES: usize = 32;

/// Which database a host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseChoice {
    /// `database.url` when it is set, else a private cluster.
    UrlOrPrivate,
    /// `database.url`, or an error.
    Url,
}

/// How the project's private cluster is started.
pub(crate) fn cluster_options(
    config: &Config,
    secrets: &Secrets,
    progress: &Arc<dyn Fn(&str) + Send + Sync>,
) -> Result<ClusterOptions, SecretError> {
    let password = secrets.get_or_generate(DATABASE_PASSWORD, PASSWORD_BYTES)?;
    let mut options = ClusterOptions::new(config.state_directory(), password.expose());
    options.binaries = config
        .database
        .bin_directory
        .as_ref()
        .map(|path| config.resolve(path));
    let backups = config.backup.directory.as_ref();
    options.backups = backups.map(|path| config.resolve(path));
    let tell = Arc::clone(progress);
    options.progress = Box::new(move |step| tell(&step.to_string()));
    Ok(options)
}

/// Whose steps are applied before any plugin's, in this order: the host, the shared model, the project.
///
/// # Errors
///
/// When the files in the project's `db/migrations` are not in order.
pub fn owners(config: &Config) -> Result<Vec<Owner>, FilesError> {
    let mut owners = vec![Owner::host(), Owner::shared()];
    // In a checkout of the product that directory is the shared model's own source, which is embedded.
    if !project::is_checkout(&config.directory) {
        let steps = files::read(&config.directory.join(MIGRATIONS))?;
        if !steps.is_empty() {
            owners.push(Owner::project(steps));
        }
    }
    Ok(owners)
}

/// An open database.
pub(super) struct Database {
    target: Target,
    cluster: Option<Private>,
}

struct Private {
    /// Gone once it is stopped.
    cluster: Mutex<Option<Cluster>>,
    states: watch::Receiver<State>,
    source: String,
    keep_running: bool,
}

impl Database {
    pub(super) async fn open(
        choice: DatabaseChoice,
        config: &Config,
        secrets: &Secrets,
        progress: &Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, RunError> {
        if let Some(url) = &config.database.url {
            return Ok(Self {
                target: Target::from_url(url.expose())?,
                cluster: None,
            });
        }
        if choice == DatabaseChoice::Url {
            return Err(RunError::NoDatabase);
        }
        let options = cluster_options(config, secrets, progress)?;
        let cluster = Cluster::start(options).await.map_err(Box::new)?;
        let private = Private {
            states: cluster.states(),
            source: cluster.source().to_owned(),
            keep_running: config.database.keep_running,
            cluster: Mutex::new(None),
        };
        let target = Target::local(cluster.config());
        *private.cluster.lock().await = Some(cluster);
        Ok(Self {
            target,
            cluster: Some(private),
        })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn states(&self) -> Option<watch::Receiver<State>> {
        self.cluster.as_ref().map(|private| private.states.clone())
    }

    pub(super) fn source(&self) -> String {
        match &self.cluster {
            Some(private) => private.source.clone(),
            None => self.target.describe(),
        }
    }

    async fn connect(&self) -> Result<Client, RunError> {
        let (client, connection) =
            self.target
                .connect()
                .await
                .map_err(|source| RunError::Connect {
                    place: self.target.describe(),
                    source,
                })?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The host's own schema and the shared model, up to this version, and the project's own tables.
    pub(super) async fn migrate(&self, config: &Config, apply: bool) -> Result<(), RunError> {
        let owners = owners(config)?;
        let mut migrator = Migrator::new(self.connect().await?, Options::default());
        if apply {
            migrator.up(&owners).await.map_err(Box::new)?;
            return Ok(());
        }
        let status = migrator.status(&owners).await.map_err(Box::new)?;
        let pending = status
            .iter()
            .filter(|step| step.state == StepState::Pending)
            .count();
        if pending > 0 {
            Err(RunError::Pending(pending))
        } else {
            Ok(())
        }
    }

    /// Stops the private cluster, or leaves it as configured.
    pub(super) async fn close(&self) {
        let Some(private) = &self.cluster else { return };
        let Some(cluster) = private.cluster.lock().await.take() else {
            return;
        };
        if private.keep_running {
            cluster.leave().await;
        } else if let Err(failure) = cluster.stop().await {
            error!(error = %failure, "PostgreSQL did not stop");
        }
    }
}
