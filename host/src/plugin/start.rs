//! From a checked file to a running plugin: configured, kept, migrated, opened, created, started.
//!
//! Every step can fail, and then nothing of the plugin runs: what it made in the database stays, for the next attempt
//! finds it there.

use std::{path::PathBuf, sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use futures_util::FutureExt;
use nself_plugin_api::abi::{
    entry::{Entry, Host},
    error::Error,
};
use serde_json::Value;
use tokio::{sync::watch, time::timeout};
use tokio_postgres::Client;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{
    health::Health,
    instance::{Parts, Running},
    isolated::{Isolated, Plan},
    manifest::Manifest,
    offer::Offer,
    services::Services,
    supervise,
    watchdog::{self, Watch, Watches},
};
use crate::{
    capability::{Grant, http::destination::Destination, process, task::Background},
    config::{Config, ConfigError, Environment, Isolation, secrets::SecretError},
    events::EventError,
    http::Generation,
    loader::{self, CheckedPlugin, Kept, Refusal, crash::ImageNumber},
    migrate::{MigrateError, Migrator, Options, Owner, PLUGIN_FUNCTIONS},
    postgres::{
        connect::{Target, pool},
        roles::{self, Grants, Login, RoleError},
    },
};

/// Why a plugin did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A gate of the loader.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its configuration does not match its schema.
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    /// One of its secrets could be read by others, or does not read.
    #[error("a secret of {id}: {}", refusal.line())]
    Secret {
        /// The plugin.
        id: String,
        /// Which file, why, and what to do.
        refusal: SecretError,
    },
    /// Its login could not be prepared.
    #[error("the database login of {id} cannot be prepared: {source}")]
    Login {
        /// The plugin.
        id: String,
        /// Why.
        source: RoleError,
    },
    /// A migration failed; the schema is as it was before that step.
    #[error(transparent)]
    Migration(#[from] Box<MigrateError>),
    /// The place in the event log from which one of its subscriptions reads could not be kept.
    #[error("the subscription {name} of {id} cannot begin: {source}")]
    Subscription {
        /// The plugin.
        id: String,
        /// Which subscription.
        name: String,
        /// Why.
        source: EventError,
    },
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// The plugin said no, or panicked.
    #[error("{id} failed in {step}: {message}")]
    Failed {
        /// The plugin.
        id: String,
        /// `create` or `start`.
        step: &'static str,
        /// What it said.
        message: String,
    },
    /// The plugin did not come back.
    #[error(
        "{id} did not return from {step} within {limit:?}: it blocks or waits for something that does not come; \
         `plugins.start_timeout_ms` allows more"
    )]
    Hangs {
        /// The plugin.
        id: String,
        /// `open`, or `create or start`.
        step: &'static str,
        /// How long it had.
        limit: Duration,
    },
}

/// Whether the schema is brought up to this version first. Going back to an older version leaves the schema as it is:
/// migrations only add, so that the older one runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// Apply the steps that are missing.
    Up,
    /// Leave the schema alone.
    No,
}

/// Memory that a plugin in a process of its own may write to, unless its settings say otherwise.
const MEMORY_BYTES: u64 = 1 << 30;

/// Starts plugins.
pub struct Starter {
    /// What the host has for them.
    pub services: Arc<Services>,
    /// Where copies of accepted files are kept.
    pub store: PathBuf,
    /// For opening a file, constructors included; then for `create` and `start`.
    pub step_timeout: Duration,
    /// What the operator says of plugins.
    pub config: Arc<Config>,
}

impl Starter {
    /// Starts the plugin in `checked` with this configuration; `beside` are the other plugins that run.
    ///
    /// # Errors
    ///
    /// [`StartError`] says which step failed, why, and what to do.
    pub async fn start(
        &self,
        checked: &Arc<CheckedPlugin>,
        config: Value,
        migrate: Migrate,
        beside: &[&Manifest],
    ) -> Result<Arc<Running>, StartError> {
        for warning in &checked.warnings {
            warn!(plugin = checked.manifest.id, "{warning}");
        }
        let manifest = Arc::new(checked.manifest.clone());
        self.check_secrets(&manifest)?;
        // One waits for the disk, the other for the database. Neither is dropped half-way when the other fails.
        let (kept, database) = tokio::join!(
            self.keep(checked),
            self.prepare_database(&manifest, migrate, beside),
        );
        let (kept, database) = (kept?, database?);
        let id = manifest.id.clone();
        let limit = self.step_timeout;
        let owner = watchdog::Owner {
            plugin: id.as_str().into(),
            image: ImageNumber::announce(&id, &manifest.version, &checked.sha256),
            blocked: self.services.blocked.with_label_values(&[&id]),
        };
        let destinations = Destination::configured(&manifest, &config);
        let mut requires = manifest.requires.clone();
        // Who writes the configuration may let a plugin reach more than it asks for, such as a server in the house, or a
        // capability that its schedules call.
        let beyond = self.services.egress_beyond.get(&id);
        requires
            .egress
            .extend(beyond.into_iter().flatten().cloned());
        let calls = self.services.calls_beyond.get(&id);
        requires
            .optional
            .extend(calls.into_iter().flatten().cloned());
        let grant = Grant {
            plugin: id.as_str().into(),
            version: manifest.version.to_string().into(),
            requires: Arc::new(requires),
            destinations: destinations.into(),
        };
        let (draining, drains) = watch::channel(false);
        let (runs_as, process) = watch::channel(None);
        let pool = database.as_ref().map(|(pool, _)| pool.clone());
        let health = Arc::new(Health::new(self.services.panics.with_label_values(&[&id])));
        let background = Background::new(
            grant.clone(),
            drains,
            Arc::clone(&self.services.leases),
            &owner,
        );
        let offer = Offer::new(
            grant,
            Arc::clone(&self.services),
            database,
            Arc::clone(&background),
            Arc::clone(&health),
        );
        let file = kept.path().to_owned();
        let isolation = self.isolation(checked);
        // It is there from the start, wherever the plugin runs, so that its rise is seen.
        let restarts = self.services.restarts.with_label_values(&[&id]);
        let creating = match isolation {
            Isolation::Host => {
                let entry = self.open(&manifest, kept, &owner).await?;
                let (host, config) = (Host::new(offer), config.to_string());
                async move { entry.create(host, &config).await }.boxed()
            }
            Isolation::Process => Isolated::create(Plan {
                manifest: Arc::clone(&manifest),
                file: file.clone(),
                memory_bytes: self.memory_bytes(&id),
                offer,
                config: config.to_string(),
                step_timeout: limit,
                is_machines_clock: self.services.clock.is_the_machines(),
                restarts,
                health: Arc::clone(&health),
                process: runs_as,
            })
            .boxed(),
        };
        // On a task of its own: a plugin that blocks its thread must not block whoever starts it.
        let starting = Watch::of_blocking(&owner, "create or start");
        let mut created = tokio::spawn(starting.future(Box::pin(async move {
            let instance = creating.await.map_err(|error| ("create", error))?;
            instance.start().await.map_err(|error| ("start", error))?;
            Ok(instance)
        })));
        let created = match timeout(limit, &mut created).await {
            Ok(Ok(Ok(instance))) => Ok(instance),
            Ok(Ok(Err((step, error)))) => Err(failed(&id, step, describe(&error))),
            Ok(Err(join)) => Err(failed(&id, "create", join.to_string())),
            Err(_) => {
                // It shall not come to life after it has been refused.
                created.abort();
                let (id, step) = (id.clone(), "create or start");
                Err(StartError::Hangs { id, step, limit })
            }
        };
        let instance = created.inspect_err(|_| background.abort())?;
        let job_handlers = instance.job_handlers();
        if job_handlers.is_none() && !manifest.jobs.is_empty() {
            background.abort();
            let message = "it declares jobs and answers for none of them".to_owned();
            return Err(failed(&id, "start", message));
        }
        let joined = async {
            self.share(&manifest, beside).await?;
            self.subscribe(&manifest).await
        };
        if let Err(failure) = joined.await {
            background.abort();
            return Err(failure);
        }
        info!(plugin = id, version = %manifest.version, file = %file.display(), isolation = ?isolation, "plugin started");
        let max = self.services.requests_max;
        Ok(Running::new(Parts {
            generation: Generation::new(id, max, max),
            sha256: checked.sha256,
            file,
            isolation,
            instance,
            job_handlers,
            background,
            health,
            draining,
            watches: Watches::new(&manifest, &owner),
            hub: Arc::clone(&self.services.hub),
            tracer: self.services.tracer.clone(),
            pool,
            process,
            manifest,
        }))
    }

    /// Where it runs: as the operator says, and where nothing is said what nobody stands for has a process of its own.
    fn isolation(&self, checked: &CheckedPlugin) -> Isolation {
        let settings = self.config.plugins.by_id.get(&checked.manifest.id);
        let is_for_others = self.config.environment != Environment::Development;
        let is_strange =
            is_for_others && checked.signed.is_none() && process::performer().is_some();
        let by_default = if is_strange {
            Isolation::Process
        } else {
            Isolation::Host
        };
        settings
            .and_then(|settings| settings.isolation)
            .unwrap_or(by_default)
    }

    fn memory_bytes(&self, id: &str) -> u64 {
        let settings = self.config.plugins.by_id.get(id);
        let stated = settings.and_then(|settings| settings.memory_bytes);
        stated.unwrap_or(MEMORY_BYTES)
    }

    /// The entry of a file, in this process.
    async fn open(
        &self,
        manifest: &Manifest,
        kept: Kept,
        owner: &watchdog::Owner,
    ) -> Result<&'static Entry, StartError> {
        let id = &manifest.id;
        let opening = Watch::of_blocking(owner, "open");
        let opened = tokio::task::spawn_blocking(move || opening.poll(|| loader::open(&kept)));
        let loaded = match timeout(self.step_timeout, opened).await {
            Ok(Ok(loaded)) => loaded?,
            Ok(Err(join)) => return Err(failed(id, "open", join.to_string())),
            Err(_) => {
                return Err(StartError::Hangs {
                    id: id.clone(),
                    step: "open",
                    limit: self.step_timeout,
                });
            }
        };
        owner.image.mapped(&loaded);
        let abi = &manifest.abi;
        Ok(loader::entry(&loaded, abi.major, abi.needs)?)
    }

    async fn share(&self, manifest: &Manifest, beside: &[&Manifest]) -> Result<(), StartError> {
        if users(manifest, beside).is_empty() {
            return Ok(());
        }
        let (mut client, connection) = self.services.target.connect().await?;
        tokio::spawn(connection);
        let shared = share(&mut client, manifest, beside).await;
        shared.map_err(|(id, source)| StartError::Login { id, source })
    }

    /// What happens once the plugin runs reaches its subscriptions, however late their readers begin.
    async fn subscribe(&self, manifest: &Manifest) -> Result<(), StartError> {
        for subscription in &manifest.subscriptions {
            let subscriber = supervise::subscriber(&manifest.id, subscription);
            let registered = self.services.events.register(&subscriber).await;
            registered.map_err(|source| StartError::Subscription {
                id: manifest.id.clone(),
                name: subscription.name.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// A secret without a value is a matter of when it is asked for. One that others can read is one of now.
    fn check_secrets(&self, manifest: &Manifest) -> Result<(), StartError> {
        for name in &manifest.requires.secrets {
            let found = (self.services.secrets)(name);
            let found = found.map_err(|refusal| StartError::Secret {
                id: manifest.id.clone(),
                refusal,
            })?;
            drop(found.map(Zeroizing::new));
        }
        Ok(())
    }

    /// The private copy of the file; off the event loop, for it waits for the disk.
    async fn keep(&self, checked: &Arc<CheckedPlugin>) -> Result<Kept, StartError> {
        let (store, plugin) = (self.store.clone(), Arc::clone(checked));
        let kept = tokio::task::spawn_blocking(move || loader::keep(&store, &plugin));
        let kept = kept
            .await
            .map_err(|join| failed(&checked.manifest.id, "keep", join.to_string()))??;
        if kept.repaired() {
            warn!(plugin = checked.manifest.id, file = %kept.path().display(), "the copy in the store had been changed: replaced");
        }
        Ok(kept)
    }

    /// The plugin's own login, and its schema at this version. Nothing for a plugin that does not use the database.
    async fn prepare_database(
        &self,
        manifest: &Manifest,
        migrate: Migrate,
        beside: &[&Manifest],
    ) -> Result<Option<(Pool, Target)>, StartError> {
        if !uses_database(manifest) {
            return Ok(None);
        }
        let services = &self.services;
        let password = (services.login_password)(&manifest.id);
        let login = Login::new(&manifest.id, &password);
        let refused = |source| StartError::Login {
            id: manifest.id.clone(),
            source,
        };
        let (mut client, connection) = services.target.connect().await?;
        tokio::spawn(connection);
        let name = roles::prepare(&mut client, &login).await.map_err(refused)?;
        if migrate == Migrate::Up {
            let owner = Owner::plugin(&manifest.id, manifest.migrations.clone());
            let mut migrator = Migrator::new(client, Options::default());
            migrator.up(&[owner]).await.map_err(Box::new)?;
            client = migrator.into_client();
        }
        let functions = manifest.functions.iter();
        let functions: Vec<&str> = functions.map(|one| one.signature.as_str()).collect();
        let checked = roles::check_provided(&client, &functions).await;
        checked.map_err(refused)?;
        let granted = grant(&mut client, manifest, beside).await;
        granted.map_err(refused)?;
        let target = services
            .target
            .with_login(&name, &password)
            .with_application_name(&format!("nself plugin {}", manifest.id));
        Ok(Some((pool(&target, services.plugin_pool_max), target)))
    }
}

fn uses_database(manifest: &Manifest) -> bool {
    let capabilities = &manifest.requires.capabilities;
    capabilities.iter().any(|id| id == "nself.db/1")
        || !manifest.migrations.is_empty()
        || !manifest.functions.is_empty()
}

/// Those among `beside` that have a login and were granted a capability of this plugin.
fn users<'a>(manifest: &Manifest, beside: &[&'a Manifest]) -> Vec<&'a Manifest> {
    let has_it = |other: &Manifest| {
        let mut required = other.requires.capabilities.iter();
        required.any(|capability| manifest.provides.contains(capability))
    };
    let is_user = |other: &&Manifest| other.id != manifest.id && uses_database(other);
    let others = beside.iter().copied();
    others
        .filter(|other| is_user(other) && has_it(other))
        .collect()
}

/// Lets the plugins beside this one call the functions that come with its capabilities, and no longer those that came
/// with a former version.
///
/// # Errors
///
/// With the plugin whose login could not be given its grants.
pub async fn share(
    client: &mut Client,
    manifest: &Manifest,
    beside: &[&Manifest],
) -> Result<(), (String, RoleError)> {
    let others = beside.iter().filter(|other| other.id != manifest.id);
    let all: Vec<&Manifest> = others.copied().chain([manifest]).collect();
    for user in users(manifest, beside) {
        match grant(client, user, &all).await {
            // Who has no login yet gets it, and this with it, when it starts.
            Ok(()) | Err(RoleError::NoLogin(_)) => {}
            Err(refusal) => return Err((user.id.clone(), refusal)),
        }
    }
    Ok(())
}

/// Gives the plugin's login what its manifest asks for, once its schema is at this version: among it the functions that
/// come with what the plugins `beside` it offer.
///
/// # Errors
///
/// When something that it asks for is not there.
pub async fn grant(
    client: &mut Client,
    manifest: &Manifest,
    beside: &[&Manifest],
) -> Result<(), RoleError> {
    let required = &manifest.requires.capabilities;
    let offered = beside.iter().flat_map(|other| &other.functions);
    let provided: Vec<&str> = offered
        .filter(|function| required.contains(&function.capability))
        .map(|function| function.signature.as_str())
        .collect();
    let functions: Vec<&str> = PLUGIN_FUNCTIONS
        .iter()
        .map(|signature| function_name(signature))
        .collect();
    let grants = Grants {
        tables: &manifest.requires.tables,
        functions: &functions,
        provided: &provided,
    };
    roles::grant(client, &manifest.id, &grants).await
}

/// `nself.audit(text, uuid)` is the function `audit`.
fn function_name(signature: &str) -> &str {
    let name = signature.split('(').next().unwrap_or(signature);
    name.strip_prefix("nself.").unwrap_or(name)
}

fn failed(id: &str, step: &'static str, message: String) -> StartError {
    StartError::Failed {
        id: id.to_owned(),
        step,
        message,
    }
}

fn describe(error: &Error) -> String {
    if error.is_panic() {
        format!("it panicked: {error}")
    } else {
        error.to_string()
    }
}
