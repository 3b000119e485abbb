//! The services behind HTTP and the capabilities, made from the configuration.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ipnet::IpNet;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::{RunError, backup_bucket, programs, watched};
use crate::{
    backup::Keeper,
    capability::{
        clock::HostClock,
        config::Facts,
        crypto::{CryptoService, HashSettings},
        dump::Dumps,
        http::{Egress, list::EgressList},
        kv::Store,
        metrics::MetricsHub,
        pubsub::Messages,
        task::lease::Leases,
    },
    config::{
        ApiKey as ConfiguredKey, Config, Environment, Secret,
        project::OPERATOR_SCOPE,
        secrets::{MASTER_KEY, Secrets},
    },
    events::{EventLog, dial},
    http::{
        Cors, Gateway, HttpMetrics, Limits, Routes, Settings, listen::scheme, origin, tls::Tls,
    },
    hub::Hub,
    identity::{
        ApiKey, KeySet, Kind, Verifier, VerifierSettings, development::DevelopmentIssuer,
        key_digest,
    },
    plugin::services::Services,
    postgres::{
        binaries::Search,
        connect::{Target, pool},
    },
    telemetry::{
        Metrics,
        otlp::{Dropped, Exporter, OtlpSettings},
    },
};

/// Bytes of the master key: everything that is sealed hangs on it.
pub(super) const MASTER_KEY_BYTES: usize = 32;

/// What HTTP and the registry are made of.
pub(super) struct Seats {
    pub(super) services: Arc<Services>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) limits: Limits,
    pub(super) http_metrics: HttpMetrics,
    pub(super) metrics: Metrics,
    pub(super) exporter: Option<Exporter>,
}

/// What they are made from.
pub(super) struct Needs<'a> {
    pub(super) config: &'a Config,
    pub(super) secrets: &'a Secrets,
    pub(super) target: &'a Target,
    pub(super) clock: Arc<dyn HostClock>,
    pub(super) egress: Egress,
    pub(super) tls: Option<&'a Tls>,
    pub(super) otlp: Option<OtlpSettings>,
}

fn setup(part: &'static str) -> impl Fn(String) -> RunError {
    move |reason| RunError::Setup { part, reason }
}

/// What goes out is made with the system's certificates, which are some 150 files: off the event loop.
pub(super) async fn egress() -> Result<Egress, RunError> {
    let read = tokio::task::spawn_blocking(Egress::new).await;
    let read = read.map_err(|error| setup("TLS")(error.to_string()))?;
    read.map_err(|error| setup("TLS")(error.to_string()))
}

pub(super) fn build(needs: Needs<'_>) -> Result<Seats, RunError> {
    let Needs {
        config,
        secrets,
        target,
        clock,
        egress,
        tls,
        otlp,
    } = needs;
    let master = secrets.get_or_generate(MASTER_KEY, MASTER_KEY_BYTES)?;
    let host_pool = pool(target, config.database.pool_max);
    let metrics = Metrics::new();
    let http_metrics = HttpMetrics::new(metrics.registry())
        .map_err(|error| setup("metrics")(error.to_string()))?;
    watched::show(config, &metrics).map_err(|error| setup("metrics")(error.to_string()))?;
    tls.map_or(Ok(()), |tls| tls.register(metrics.registry()))
        .map_err(|error| setup("metrics")(error.to_string()))?;
    let panics = by_plugin(
        &metrics,
        "nself_plugin_panics_total",
        "Panics of plugins, caught by their guards",
    )?;
    let blocked = by_plugin(
        &metrics,
        "nself_plugin_blocked_total",
        "Polls of plugins that held a thread of the event loop for longer than 100 ms",
    )?;
    let restarts = by_plugin(
        &metrics,
        "nself_plugin_restarts_total",
        "Processes of a plugin that were started after one that ended by itself",
    )?;
    let verifier = Arc::new(Verifier::new(verifier_settings(config, secrets, &clock)?)?);
    let settings = settings_of(config)?;
    let limits = settings.limits.clone();
    let routes = Routes::new();
    let dropped =
        Dropped::register(&metrics).map_err(|error| setup("metrics")(error.to_string()))?;
    let exporter = otlp
        .map(|otlp| {
            let (registry, http_metrics) = (metrics.registry().clone(), http_metrics.clone());
            let table = Arc::clone(&routes);
            let gather = move || {
                http_metrics.observe(&table.load());
                registry.gather()
            };
            Exporter::start(&otlp, &egress, &dropped, Arc::new(gather))
        })
        .transpose()?;
    let tracer = exporter.as_ref().and_then(Exporter::tracer);
    let gateway = Gateway::new(
        routes,
        Arc::clone(&verifier),
        settings,
        http_metrics.clone(),
        tracer.cloned(),
    );
    let services = Services {
        facts: Facts {
            host: env!("CARGO_PKG_VERSION").to_owned(),
            environment: config.environment.as_str().to_owned(),
            public_url: match &config.http.public_url {
                Some(url) => origin(url)?,
                None => format!(
                    "{}://{}",
                    scheme(tls.is_some()),
                    SocketAddr::new(config.http.bind, config.http.port)
                ),
            },
            directory: std::path::absolute(&config.directory)
                .unwrap_or_else(|_| config.directory.clone()),
        },
        bind: config.http.bind,
        plugin_pool_max: config.database.plugin_pool_max,
        requests_max: config.http.concurrency_per_plugin,
        leases: Leases::new(target),
        providers: Arc::default(),
        handlers: Arc::default(),
        verifier,
        metrics: MetricsHub::new(metrics.registry())
            .map_err(|error| setup("metrics")(error.to_string()))?,
        panics,
        blocked,
        restarts,
        crashes: gauge_by_plugin(
            &metrics,
            "nself_plugin_crashes",
            "Crashes of the host in a row that came from a plugin",
        )?,
        quarantined: gauge_by_plugin(
            &metrics,
            "nself_plugin_quarantined",
            "Whether a plugin is left out because it crashed the host",
        )?,
        secrets: secret_source(secrets),
        login_password: login_password(&master),
        kv: Arc::new(match &config.redis.url {
            Some(url) => {
                Store::redis(url.expose()).map_err(|error| RunError::Redis(error.to_string()))?
            }
            None => Store::postgres(host_pool.clone()),
        }),
        messages: messages(config)?,
        crypto: Arc::new(
            CryptoService::new(
                &master_bytes(&master),
                secret_source(secrets),
                HashSettings::default(),
            )
            .map_err(|error| setup("crypto")(error.to_string()))?,
        ),
        dumps: Arc::new(Dumps::new(
            target.clone(),
            programs_of(config),
            config.resolve(&config.database.backup_directory),
            backup_bucket::open(&config.database.backup_bucket, secrets, &egress)?,
            Keeper::new(config, target),
            Arc::clone(&clock),
        )),
        programs: programs::open(config, &clock),
        run_allowed: programs::allowed(config)?,
        egress,
        egress_beyond: egress_beyond(config)?,
        calls_beyond: calls_beyond(config)?,
        hub: Hub::new(metrics.registry()).map_err(|error| setup("metrics")(error.to_string()))?,
        ports: Arc::default(),
        port_overrides: port_overrides(config),
        clock,
        events: Arc::new(EventLog::new(
            host_pool.clone(),
            dial(target.config().clone(), target.tls()),
        )),
        pool: host_pool,
        target: target.clone(),
        tracer: tracer.cloned(),
    };
    Ok(Seats {
        services: Arc::new(services),
        gateway,
        limits,
        http_metrics,
        metrics,
        exporter,
    })
}

/// What carries messages between hosts, if anything does.
fn messages(config: &Config) -> Result<Option<Arc<Messages>>, RunError> {
    let url = config.redis.url.as_ref();
    let messages = url.map(|url| Messages::redis(url.expose())).transpose();
    let messages = messages.map_err(|error| RunError::Redis(error.to_string()))?;
    Ok(messages.map(Arc::new))
}

/// Where the database's programs are.
pub(crate) fn programs_of(config: &Config) -> Search {
    let configured = config.database.bin_directory.as_ref();
    Search {
        configured: configured.map(|path| config.resolve(path)),
        bundle_dir: Some(config.state_directory().join("postgres-dist")),
        major: None,
    }
}

/// A counter with a series for each plugin.
fn by_plugin(metrics: &Metrics, name: &str, help: &str) -> Result<IntCounterVec, RunError> {
    let failed = |error: prometheus::Error| setup("metrics")(error.to_string());
    let counter = IntCounterVec::new(Opts::new(name, help), &["plugin"]).map_err(failed)?;
    let registered = metrics.register(Box::new(counter.clone()));
    registered.map_err(|error| setup("metrics")(error.to_string()))?;
    Ok(counter)
}

/// A gauge with a series for each plugin.
fn gauge_by_plugin(metrics: &Metrics, name: &str, help: &str) -> Result<IntGaugeVec, RunError> {
    let failed = |error: prometheus::Error| setup("metrics")(error.to_string());
    let gauge = IntGaugeVec::new(Opts::new(name, help), &["plugin"]).map_err(failed)?;
    let registered = metrics.register(Box::new(gauge.clone()));
    registered.map_err(|error| setup("metrics")(error.to_string()))?;
    Ok(gauge)
}

/// What the configuration says about HTTP.
///
/// # Errors
///
/// When an origin of `http.cors_origins` is none.
pub fn settings_of(config: &Config) -> Result<Settings, RunError> {
    let http = &config.http;
    let any = http.cors_origins.iter().any(|origin| origin == "*");
    Ok(Settings {
        limits: Limits {
            connections_max: http.connections_max,
            head_bytes_max: http.header_bytes_max,
            head_timeout: Duration::from_millis(http.header_timeout_ms),
            idle_timeout: Duration::from_millis(http.idle_timeout_ms),
            websocket_ping: Duration::from_millis(http.websocket_ping_ms),
            websocket_deflate: http.websocket_deflate,
            body_bytes_max: http.body_bytes_max,
            request_timeout: Duration::from_millis(http.request_timeout_ms),
            rate_per_minute: http.rate_per_minute,
            ..Limits::default()
        },
        cors: Cors::new(&http.cors_origins, !http.cors_origins.is_empty() && !any)?,
        trusted_proxies: http
            .trusted_proxies
            .iter()
            .map(|text| network(text))
            .collect::<Result<_, _>>()?,
        proxy_protocol: proxy_protocol(config)?,
        hsts_seconds: http.hsts_seconds,
    })
}

/// Without a proxy that may say who calls, nobody would be understood.
fn proxy_protocol(config: &Config) -> Result<bool, RunError> {
    let http = &config.http;
    if http.proxy_protocol && http.trusted_proxies.is_empty() {
        return Err(RunError::NoProxy);
    }
    Ok(http.proxy_protocol)
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, RunError> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| RunError::Proxy(text.to_owned()))
}

fn verifier_settings(
    config: &Config,
    secrets: &Secrets,
    clock: &Arc<dyn HostClock>,
) -> Result<VerifierSettings, RunError> {
    let mut keys = configured_keys(config)?;
    if config.environment == Environment::Development {
        keys.push(DevelopmentIssuer::open(secrets)?.keys());
    }
    let api_keys = config
        .identity
        .api_keys
        .iter()
        .map(|(name, key)| api_key(name, key, secrets))
        .collect::<Result<_, _>>()?;
    // Tokens end by the clock that dated them.
    let clock = Arc::clone(clock);
    Ok(VerifierSettings {
        keys,
        api_keys,
        clock: Arc::new(move || clock.system_time()),
        ..VerifierSettings::default()
    })
}

/// The static key set, until a plugin brings its own.
fn configured_keys(config: &Config) -> Result<Vec<KeySet>, RunError> {
    let identity = &config.identity;
    let jwks = match (&identity.jwks, &identity.jwks_file) {
        (Some(jwks), _) => serde_json::Value::Object(jwks.clone()).to_string(),
        (None, Some(file)) => {
            let path = config.resolve(file);
            fs::read_to_string(&path).map_err(|source| RunError::KeysFile {
                path: path.display().to_string(),
                source,
            })?
        }
        (None, None) => return Ok(Vec::new()),
    };
    Ok(vec![KeySet {
        jwks,
        issuer: identity.issuer.clone().unwrap_or_default(),
        audiences: identity.audience.iter().cloned().collect(),
    }])
}

fn api_key(name: &str, key: &ConfiguredKey, secrets: &Secrets) -> Result<ApiKey, RunError> {
    let missing = |reason: &str| RunError::ApiKey {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let digest = match (&key.sha256, &key.secret) {
        (Some(digest), _) => digest.clone(),
        (None, Some(secret)) => {
            let value = secrets
                .get(secret)?
                .ok_or_else(|| missing("the secret that it names has no value"))?;
            key_digest(value.expose())
        }
        (None, None) => {
            return Err(missing(
                "state `sha256`, or `secret` with the name of a secret",
            ));
        }
    };
    let is_operator = key.scopes.iter().any(|scope| scope == OPERATOR_SCOPE);
    let kind = if is_operator {
        Kind::Operator
    } else {
        Kind::Service
    };
    Ok(ApiKey::new(name, kind, &digest, &key.scopes)?)
}

/// `[plugins.<id>.listen]`; a key that is no port has nothing to override.
fn port_overrides(config: &Config) -> BTreeMap<String, BTreeMap<u16, u16>> {
    let ports = |listen: &BTreeMap<String, u16>| {
        listen
            .iter()
            .filter_map(|(port, bound)| Some((port.parse().ok()?, *bound)))
            .collect()
    };
    config
        .plugins
        .by_id
        .iter()
        .map(|(id, plugin)| (id.clone(), ports(&plugin.listen)))
        .collect()
}

/// `[plugins.<id>.egress]`.
///
/// # Errors
///
/// When an entry cannot be read: the plugin would otherwise start, and learn at its first call that it reaches nobody.
fn egress_beyond(config: &Config) -> Result<BTreeMap<String, Vec<String>>, RunError> {
    let mut beyond = BTreeMap::new();
    for (id, plugin) in &config.plugins.by_id {
        EgressList::parse(&plugin.egress).map_err(|error| RunError::Egress {
            id: id.clone(),
            reason: error.to_string(),
        })?;
        beyond.insert(id.clone(), plugin.egress.clone());
    }
    Ok(beyond)
}

/// `[plugins.<id>.capabilities]`.
///
/// # Errors
///
/// When one is the host's: those are granted when the plugin is enabled, and to none that does not ask for them.
fn calls_beyond(config: &Config) -> Result<BTreeMap<String, Vec<String>>, RunError> {
    let mut beyond = BTreeMap::new();
    for (id, plugin) in &config.plugins.by_id {
        let mut named = plugin.capabilities.iter();
        if let Some(name) = named.find(|name| name.starts_with("nself.")) {
            let (id, name) = (id.clone(), name.clone());
            return Err(RunError::Capability { id, name });
        }
        beyond.insert(id.clone(), plugin.capabilities.clone());
    }
    Ok(beyond)
}

fn secret_source(secrets: &Secrets) -> crate::capability::config::SecretSource {
    let secrets = secrets.clone();
    Arc::new(move |name| {
        let secret = secrets.get(name)?;
        Ok(secret.map(|secret| secret.expose().as_bytes().to_vec()))
    })
}

fn master_bytes(master: &Secret) -> [u8; 32] {
    // The secret is text of any length that an operator may have chosen: the key is its digest.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, master.expose().as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The password of a plugin's login follows from the master key: every host of the database comes to the same one, and
/// none is stored.
pub(super) fn login_password(master: &Secret) -> Arc<dyn Fn(&str) -> String + Send + Sync> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &master_bytes(master));
    Arc::new(move |plugin| {
        let tag = hmac::sign(&key, format!("nself database login {plugin}").as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    })
}
