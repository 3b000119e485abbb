//! Why a host does not start.

use std::path::PathBuf;

use crate::{
    acme::AcmeError,
    capability::process::AllowedError,
    cli::{CliError, Exit},
    config::secrets::SecretError,
    http::{CorsError, ListenError, OriginError, TableError, tls::TlsError},
    identity::{ApiKeyError, KeyError, development::DevelopmentError},
    migrate::{MigrateError, files::FilesError},
    plugin::lock::LockError,
    postgres::{cluster::ClusterError, connect::UrlError, roles::RoleError},
    telemetry::otlp::OtlpError,
};

/// What is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `DATABASE_URL` does not read.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// `nself serve` needs a database.
    #[error("no database is configured: set DATABASE_URL, or run `nself up` for a private one")]
    NoDatabase,
    /// The private cluster does not start.
    #[error(transparent)]
    Cluster(#[from] Box<ClusterError>),
    /// The database cannot be reached.
    #[error("the database at {place} cannot be reached: {source}")]
    Connect {
        /// User, host and database; no password.
        place: String,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// A migration of the host failed.
    #[error(transparent)]
    Migrate(#[from] Box<MigrateError>),
    /// There are pending migrations and they may not be applied.
    #[error(
        "{0} migrations are pending: run `nself db migrate up` first, or start without --no-migrate"
    )]
    Pending(usize),
    /// The project's own steps, or its seeds.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The login of a plugin.
    #[error("the database login of {id} cannot be prepared")]
    Login {
        /// The plugin.
        id: String,
        /// Why.
        source: RoleError,
    },
    /// A file beside the cluster, which tells who uses it.
    #[error("cannot lock {}", path.display())]
    Users {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A bucket for archives that cannot be one.
    #[error("database.backup_bucket: {0}")]
    BackupBucket(String),
    /// A list of hosts that does not read.
    #[error("plugins.{id}.egress: {reason}")]
    Egress {
        /// The plugin.
        id: String,
        /// The entry, and what to write instead.
        reason: String,
    },
    /// A list of what may be run that does not read.
    #[error("plugins.{id}.run: {source}")]
    Run {
        /// The plugin.
        id: String,
        /// The word, and those that there are.
        source: AllowedError,
    },
    /// A capability that no plugin provides.
    #[error(
        "plugins.{id}.capabilities: {name} is the host's: only those of other plugins can be named here"
    )]
    Capability {
        /// The plugin.
        id: String,
        /// The entry.
        name: String,
    },
    /// A key of the configuration that has no value.
    #[error("identity.api_keys.{name}: {reason}")]
    ApiKey {
        /// Name of the key.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// A key of the configuration.
    #[error(transparent)]
    ApiKeyForm(#[from] ApiKeyError),
    /// The configured key set.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The configured key set cannot be read.
    #[error("identity.jwks_file: cannot read {path}: {source}")]
    KeysFile {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The development key.
    #[error(transparent)]
    Development(#[from] DevelopmentError),
    /// `http.cors_origins`.
    #[error(transparent)]
    Cors(#[from] CorsError),
    /// `http.trusted_proxies`.
    #[error("http.trusted_proxies: `{0}` is no address and no network such as 10.0.0.0/8")]
    Proxy(String),
    /// `http.proxy_protocol`.
    #[error(
        "http.proxy_protocol is set, and http.trusted_proxies names nobody: put the balancer's address there"
    )]
    NoProxy,
    /// `http.public_url`.
    #[error("http.public_url: {0}")]
    PublicUrl(#[from] OriginError),
    /// `http.tls.redirect_port`.
    #[error("http.tls.redirect_port is set, and {0}")]
    Redirect(&'static str),
    /// `[http.tls]`.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `[http.tls.acme]`.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// `[telemetry]`.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// `redis.url`.
    #[error("redis.url: {0}")]
    Redis(String),
    /// TLS, metrics: the host's own set-up.
    #[error("cannot set up {part}: {reason}")]
    Setup {
        /// Which part.
        part: &'static str,
        /// Why.
        reason: String,
    },
    /// `plugins.lock`.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The host's own routes clash.
    #[error(transparent)]
    Routes(#[from] TableError),
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        let (code, exit) = match &error {
            RunError::Secret(_) | RunError::Tls(_) | RunError::Acme(_) => match error {
                RunError::Secret(secret) => return secret.into(),
                RunError::Tls(tls) => return tls.into(),
                RunError::Acme(acme) => return acme.into(),
                _ => unreachable!("matched above"),
            },
            RunError::Url(_) | RunError::NoDatabase => ("DATABASE_URL", Exit::Configuration),
            RunError::Cluster(_) => ("POSTGRES", Exit::Unavailable),
            RunError::Connect { .. } => ("DATABASE_UNREACHABLE", Exit::Unavailable),
            RunError::Migrate(migrate) if matches!(**migrate, MigrateError::Locked { .. }) => {
                ("MIGRATION_LOCKED", Exit::TryAgain)
            }
            RunError::Migrate(_) => ("MIGRATION", Exit::Failed),
            RunError::Files(_) => ("MIGRATION_FILES", Exit::BadData),
            RunError::Login { .. } => ("DATABASE_LOGIN", Exit::Failed),
            RunError::Users { .. } => ("DATABASE_LOCK", Exit::CannotCreate),
            RunError::Pending(_) => ("MIGRATIONS_PENDING", Exit::ChangesNeeded),
            RunError::ApiKey { .. }
            | RunError::ApiKeyForm(_)
            | RunError::Keys(_)
            | RunError::KeysFile { .. }
            | RunError::Development(_)
            | RunError::Cors(_)
            | RunError::Proxy(_)
            | RunError::NoProxy
            | RunError::PublicUrl(_)
            | RunError::Redirect(_)
            | RunError::Egress { .. }
            | RunError::Run { .. }
            | RunError::Capability { .. }
            | RunError::BackupBucket(_)
            | RunError::Otlp(_)
            | RunError::Redis(_) => ("CONFIGURATION", Exit::Configuration),
            RunError::Lock(_) => ("PLUGINS_LOCK", Exit::BadData),
            RunError::Setup { .. } | RunError::Routes(_) => ("SETUP", Exit::Failed),
            RunError::Listen(_) => ("PORT", Exit::Unavailable),
        };
        Self::of(code, exit, &error)
    }
}
