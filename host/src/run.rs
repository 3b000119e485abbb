//! The running host: database, services, plugins and listeners, put together and taken apart in the right order.

mod backup_bucket;
pub mod control;
mod database;
mod error;
pub mod heartbeat;
mod housekeeping;
mod numbers;
mod programs;
mod redirect;
pub(crate) mod room;
mod services;
mod session;
mod watched;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{info, warn};

use self::{database::Database, numbers::Numbers, services::Needs};
pub(crate) use self::{database::cluster_options, services::programs_of};
pub use self::{
    database::{DatabaseChoice, MIGRATIONS, owners},
    error::RunError,
    services::settings_of,
    session::Session,
};
use crate::{
    acme::{AcmeSettings, Keeper, KeeperSettings},
    audit::{self, Entry},
    capability::clock::{HostClock, SystemClock},
    config::{Config, Environment, Provenance, secrets::Secrets},
    http::{
        HostRoute, Redirect, Server,
        health::{Part, Readiness, health_routes, metrics_route},
        openapi::openapi_route,
        reference::reference_routes,
        tls::{Tls, TlsFiles},
    },
    identity::{ApiKeyError, NewApiKey},
    plugin::{
        manifest::Access,
        registry::{Connections, PluginView, Registry, RegistrySettings, State},
        services::Services,
    },
    postgres::cluster,
    telemetry::otlp::{Exporter, OtlpSettings},
};

/// What a host is started with.
pub struct StartSettings {
    /// The configuration.
    pub config: Config,
    /// Where its values came from.
    pub provenance: Provenance,
    /// The project's secrets.
    pub secrets: Secrets,
    /// Which database.
    pub database: DatabaseChoice,
    /// Apply the host's own migrations; else pending ones are an error.
    pub migrate: bool,
    /// Is told what takes a moment.
    pub progress: Arc<dyn Fn(&str) + Send + Sync>,
}

/// What the services are made from.
struct Assembly<'a> {
    config: &'a Config,
    secrets: &'a Secrets,
    database: &'a Database,
    clock: Arc<dyn HostClock>,
    tls: Option<Arc<Tls>>,
    redirect: Option<Arc<Redirect>>,
    otlp: Option<OtlpSettings>,
}

/// What answers, what tells a collector of it, and its numbers.
type Serving = (
    Arc<Registry>,
    Arc<Server>,
    Arc<Services>,
    Option<Exporter>,
    Numbers,
);

/// A database that takes longer to say anything does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long a command may take from asking for a pass to sending its request.
const PASS_LIFETIME: Duration = Duration::from_secs(60);

/// A host that answers requests.
pub struct Host {
    config: Arc<Config>,
    registry: Arc<Registry>,
    server: Arc<Server>,
    database: Database,
    services: Arc<Services>,
    housekeeping: JoinHandle<()>,
    /// Looks for another certificate.
    watching: Option<JoinHandle<()>>,
    /// Asks an authority for one.
    certifying: Option<JoinHandle<()>>,
    /// Tells a collector.
    exporter: Mutex<Option<Exporter>>,
    stopping: Arc<Notify>,
    numbers: Numbers,
    started: Instant,
}

impl Host {
    /// Starts everything: database, migrations, services, plugins, listeners. A plugin that cannot start does not keep
    /// the others from running.
    ///
    /// # Errors
    ///
    /// [`RunError`] says what is wrong and what to do; what was started before has been stopped again.
    pub async fn start(settings: StartSettings) -> Result<Self, RunError> {
        Self::start_with_clock(settings, Arc::new(SystemClock::default())).await
    }

    /// The same by another clock: a test's, that stands until it is moved.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_with_clock(
        settings: StartSettings,
        clock: Arc<dyn HostClock>,
    ) -> Result<Self, RunError> {
        let StartSettings {
            config,
            provenance,
            secrets,
            database,
            migrate,
            progress,
        } = settings;
        let started = Instant::now();
        // First: what is wrong with two files is said before a database has started.
        let otlp = OtlpSettings::of(&config)?;
        let acme = AcmeSettings::of(&config)?;
        let tls = match &acme {
            Some(acme) => Some(Tls::open_kept(acme.files())),
            None => TlsFiles::of(&config)?.map(Tls::open).transpose()?,
        };
        let challenges = Arc::default();
        let redirect = redirect::of(&config, tls.is_some(), &challenges)?;
        let keeper = acme.zip(tls.clone()).map(|(acme, tls)| {
            Keeper::new(KeeperSettings {
                acme,
                secrets: secrets.clone(),
                tls,
                challenges,
                clock: Arc::clone(&clock),
            })
        });
        let database = Database::open(database, &config, &secrets, &progress).await?;
        let assembly = Assembly {
            config: &config,
            secrets: &secrets,
            database: &database,
            clock,
            tls,
            redirect,
            otlp,
        };
        match Self::serve(assembly, provenance, migrate, &*progress).await {
            Ok((registry, server, services, exporter, numbers)) => Ok(Self {
                watching: server
                    .tls()
                    .map(|tls| tokio::spawn(Arc::clone(tls).watch())),
                // Only now: the port at which the authority asks is open.
                certifying: keeper.map(|keeper| tokio::spawn(keeper.run())),
                housekeeping: housekeeping::start(Arc::clone(&services), archive_of(&config)),
                services,
                config: Arc::new(config),
                registry,
                server,
                database,
                exporter: Mutex::new(exporter),
                stopping: Arc::default(),
                numbers,
                started,
            }),
            Err(failure) => {
                database.close().await;
                Err(failure)
            }
        }
    }

    async fn serve(
        assembly: Assembly<'_>,
        provenance: Provenance,
        migrate: bool,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Serving, RunError> {
        let Assembly {
            config,
            secrets,
            database,
            clock,
            tls,
            redirect,
            otlp,
        } = assembly;
        progress("applying migrations");
        // One waits for the database, the other for files.
        let (migrated, egress) =
            tokio::join!(database.migrate(config, migrate), services::egress());
        migrated?;
        let target = database.target();
        let seats = services::build(Needs {
            config,
            secrets,
            target,
            clock,
            egress: egress?,
            tls: tls.as_deref(),
            otlp,
        })?;
        let readiness = Arc::new(std::sync::OnceLock::new());
        let numbers = Numbers::of(&seats);
        let host_routes = host_routes(config, &seats, &numbers, database.states(), &readiness);
        let registry = Registry::new(RegistrySettings {
            services: Arc::clone(&seats.services),
            config: Arc::new(config.clone()),
            provenance: Arc::new(provenance),
            routes: Arc::clone(seats.gateway.routes()),
            host_routes,
            limits: seats.limits.clone(),
            http_metrics: seats.http_metrics.clone(),
        })?;
        // Set once, before the first listener opens.
        let _ = readiness.set(Arc::downgrade(&registry));
        progress("starting plugins");
        registry.start_all().await?;
        let server = Arc::new(Server::with_tls(Arc::clone(&seats.gateway), tls));
        let address = SocketAddr::new(config.http.bind, config.http.port);
        server.listen(None, address, "http.port").await?;
        redirect::open(&server, config, redirect).await?;
        registry.attach(Arc::clone(&server));
        registry.open_ports().await;
        Ok((registry, server, seats.services, seats.exporter, numbers))
    }

    /// The plugins.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the gateway answers.
    pub fn gateway(&self) -> Option<SocketAddr> {
        self.server
            .addresses()
            .into_iter()
            .find(|(plugin, _)| plugin.is_none())
            .map(|(_, address)| address)
    }

    /// How addresses of its ports begin.
    pub fn scheme(&self) -> &'static str {
        self.server.scheme()
    }

    /// SHA-256 of the certificate that its ports show, if they do.
    pub fn certificate(&self) -> Option<[u8; 32]> {
        let pair = self.server.tls()?.pair()?;
        Some(pair.sha256())
    }

    /// Whether its ports speak TLS and there is nothing to show.
    pub fn is_without_certificate(&self) -> bool {
        let tls = self.server.tls();
        tls.is_some_and(|tls| tls.pair().is_none())
    }

    /// Who has to begin with a header of the PROXY protocol.
    pub fn proxies_that_tell(&self) -> Vec<IpNet> {
        self.server.proxies_that_tell()
    }

    /// Open ports: the plugin, or none for the gateway.
    pub fn addresses(&self) -> Vec<(Option<Arc<str>>, SocketAddr)> {
        self.server.addresses()
    }

    /// Where the database comes from, for people.
    pub fn database_source(&self) -> String {
        self.database.source()
    }

    /// The host's own connections to the database.
    pub fn connections(&self) -> Connections {
        Connections::of(&self.services.pool)
    }

    /// These families of what `/metrics` shows, as [`Metrics::render_only`](crate::telemetry::Metrics::render_only).
    pub fn numbers(&self, families: &[String]) -> String {
        self.numbers.only(families)
    }

    /// Whether the database answers now.
    pub async fn database_answers(&self) -> bool {
        let asked = async {
            let client = self.services.pool.get().await.ok()?;
            client.batch_execute("select 1").await.ok()
        };
        matches!(timeout(ANSWER_LIMIT, asked).await, Ok(Some(())))
    }

    /// Appends to the audit log what an operator asked of the running host. What cannot be appended is logged, and hinders
    /// nobody: these commands are for bad days, when the database may be away.
    pub async fn audit(&self, entry: &Entry) {
        let appended = async {
            let client = self.services.pool.get().await.ok()?;
            audit::append(&**client, entry).await.ok()
        };
        if timeout(ANSWER_LIMIT, appended)
            .await
            .ok()
            .flatten()
            .is_none()
        {
            warn!(action = entry.action, "cannot append to the audit log");
        }
    }

    /// A key with which an operator's requests are answered for a minute, for whoever the control socket lets in.
    pub fn operator_pass(&self) -> Result<NewApiKey, ApiKeyError> {
        self.services.verifier.pass("control", PASS_LIFETIME)
    }

    /// Since when it runs.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks for a stop from inside, as `nself stop` does.
    pub fn request_stop(&self) {
        self.stopping.notify_one();
    }

    /// Resolves when a stop was asked for.
    pub async fn stop_requested(&self) {
        self.stopping.notified().await;
    }

    /// Stops: accepts nothing new, lets what is under way finish within `grace`, ends the plugins, then the database.
    /// True when nothing was cut off.
    pub async fn stop(&self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        let answered = self.server.shutdown(grace).await;
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_secs(1));
        let ended = self.registry.stop_all(left).await;
        self.housekeeping.abort();
        for task in [&self.watching, &self.certifying].into_iter().flatten() {
            task.abort();
        }
        self.services.pool.close();
        self.database.close().await;
        // Last, so that it tells of all the others.
        let exporter = self
            .exporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(exporter) = exporter {
            let left = deadline.saturating_duration_since(Instant::now());
            exporter.stop(left.max(Duration::from_secs(1))).await;
        }
        info!(answered, ended, "host stopped");
        answered && ended
    }

    /// Cuts off what still runs.
    pub fn abort(&self) {
        self.server.abort();
    }
}

/// Where old months of the audit log go, and how many stay.
fn archive_of(config: &Config) -> Option<housekeeping::Archive> {
    Some(housekeeping::Archive {
        keep_months: config.audit.keep_months?,
        directory: config.audit_directory(),
    })
}

type Watched = Arc<std::sync::OnceLock<std::sync::Weak<Registry>>>;

/// Health, metrics, and the documents of the API. Open to everybody in development, to operators elsewhere.
fn host_routes(
    config: &Config,
    seats: &services::Seats,
    numbers: &Numbers,
    database: Option<watch::Receiver<cluster::State>>,
    registry: &Watched,
) -> Vec<HostRoute> {
    let documents = match config.environment {
        Environment::Development => Access::Public,
        Environment::Staging | Environment::Production => Access::Operator,
    };
    let pool = seats.services.pool.clone();
    let registry = Arc::clone(registry);
    let mut routes = health_routes(move || {
        let plugins = registry
            .get()
            .and_then(std::sync::Weak::upgrade)
            .map(|registry| registry.plugins());
        readiness(database.as_ref(), &pool, &plugins.unwrap_or_default())
    });
    let numbers = numbers.clone();
    routes.push(metrics_route(documents.clone(), move || numbers.all()));
    routes.push(openapi_route(seats.gateway.routes(), documents.clone()));
    routes.extend(reference_routes(&documents));
    routes.extend(audit::routes::routes(&seats.services.pool));
    routes
}

fn readiness(
    database: Option<&watch::Receiver<cluster::State>>,
    pool: &deadpool_postgres::Pool,
    plugins: &[PluginView],
) -> Readiness {
    let mut parts = BTreeMap::new();
    let postgres = match database.map(|states| states.borrow().clone()) {
        Some(cluster::State::Restarting { reason, .. }) => Part {
            ready: false,
            state: "restarting".into(),
            reason: Some(reason),
        },
        Some(cluster::State::Stopped) => Part {
            ready: false,
            state: "stopped".into(),
            reason: None,
        },
        Some(cluster::State::Running(_)) | None if pool.is_closed() => Part {
            ready: false,
            state: "closed".into(),
            reason: None,
        },
        Some(cluster::State::Running(_)) | None => Part {
            ready: true,
            state: "running".into(),
            reason: None,
        },
    };
    parts.insert("postgres".to_owned(), postgres);
    for plugin in plugins
        .iter()
        .filter(|plugin| plugin.enabled || plugin.state == State::Started)
    {
        let state = match plugin.state {
            State::Started if plugin.degraded => "degraded",
            State::Started => "started",
            State::Draining => "draining",
            State::Failed => "failed",
            State::Quarantined => "quarantined",
            State::Discovered | State::Stopped => "stopped",
        };
        let ready = plugin.state == State::Started;
        let reason = plugin.reason.as_ref().map(|_| {
            let why = match plugin.state {
                State::Quarantined => "it crashed the host again and again and is left out: ",
                _ => "",
            };
            format!("{why}see `nself plugin list` and the log for {}", plugin.id)
        });
        parts.insert(
            plugin.id.clone(),
            Part {
                ready,
                state: state.to_owned(),
                reason,
            },
        );
    }
    // What was left out because it crashed the host is said and counts for nothing here: the others are to be asked.
    let left_out = |id: &str| {
        plugins
            .iter()
            .any(|plugin| plugin.id == id && plugin.left_out)
    };
    Readiness {
        ready: parts.iter().all(|(id, part)| part.ready || left_out(id)),
        parts,
    }
}
