//! How to reach a database: the embedded cluster over its socket, or `DATABASE_URL` with TLS as it says.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{Host, SslMode},
};

use super::tls::{MakeTls, Stream, TlsError, Trust};

/// For one connection attempt, when the URL says nothing else.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After this long without an acknowledgement a peer that vanished counts as gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// After this long without a word the peer is asked whether it is still there; the driver's own two hours would leave a connection
/// that only listens deaf for as long, when a peer vanished without closing it.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_AFTER_OF_DRIVER: Duration = Duration::from_secs(2 * 60 * 60);

/// How long anybody waits for a free connection before he is told that the database is busy.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// For opening a connection of the pool, login included.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);

/// For looking at a connection before it is lent again.
const RECYCLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A database and the way to it. `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct Target {
    config: Config,
    tls: MakeTls,
    ssl: Ssl,
}

/// What is wrong with a `DATABASE_URL`. No text holds the URL: it carries a password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("DATABASE_URL must look like postgres://user:password@host:5432/database")]
    Form,
    /// A part of it does not parse.
    #[error("DATABASE_URL cannot be read")]
    Parse(#[source] tokio_postgres::Error),
    /// It names no database, user or host.
    #[error(
        "DATABASE_URL names no {0}: it must look like postgres://user:password@host:5432/database"
    )]
    Lacks(&'static str),
    /// An `sslmode` that is not offered.
    #[error(
        "sslmode={0} in DATABASE_URL is not offered: use disable, prefer, require or verify-full"
    )]
    SslMode(String),
    /// The roots of trust cannot be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Target {
    /// Reads `postgres://user:password@host:port/database?sslmode=..&sslrootcert=..`, `sslmode` as libpq means it:
    /// `prefer` (the default) and `require` encrypt without asking who answers, `verify-full` asks.
    ///
    /// # Errors
    ///
    /// [`UrlError`] names the part that is wrong, never its content.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(UrlError::Form);
        }
        let (base, ssl) = split_ssl(url);
        let mut config: Config = base.parse().map_err(UrlError::Parse)?;
        complete(&config)?;
        let verify = "verify-full";
        let mode = ssl.mode.as_deref().unwrap_or(if ssl.root_cert.is_some() {
            verify
        } else {
            "prefer"
        });
        let root = ssl.root_cert.as_deref().map(Path::new);
        let (ssl_mode, trust) = match mode {
            "disable" => (SslMode::Disable, Trust::Anyone),
            "prefer" => (SslMode::Prefer, Trust::Anyone),
            "require" => (SslMode::Require, Trust::Anyone),
            _ if mode == verify => (SslMode::Require, root.map_or(Trust::System, Trust::File)),
            other => return Err(UrlError::SslMode(other.to_owned())),
        };
        config.ssl_mode(ssl_mode);
        let tls = MakeTls::new(trust)?;
        Ok(Self {
            config: limited(config),
            tls,
            ssl: Ssl {
                mode: Some(mode.to_owned()),
                ..ssl
            },
        })
    }

    /// A database on this machine, reached without TLS: the embedded cluster, or one for tests.
    pub fn local(config: Config) -> Self {
        let mut config = limited(config);
        config.ssl_mode(SslMode::Disable);
        let tls = MakeTls::new(Trust::Anyone).expect("trusting anyone needs no roots");
        let ssl = Ssl {
            mode: Some("disable".to_owned()),
            root_cert: None,
        };
        Self { config, tls, ssl }
    }

    /// The same database with another login.
    #[must_use]
    pub fn with_login(&self, user: &str, password: &str) -> Self {
        let mut target = self.clone();
        target.config.user(user).password(password);
        target
    }

    /// The same, shown as `name` in `pg_stat_activity`.
    #[must_use]
    pub fn with_application_name(&self, name: &str) -> Self {
        let mut target = self.clone();
        target.config.application_name(name);
        target
    }

    /// How TLS is spoken there.
    pub fn tls(&self) -> MakeTls {
        self.tls.clone()
    }

    /// The parsed parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same for `psql`, `pg_dump` and whatever else is made with libpq, as environment variables: an argument would
    /// show the password to everybody on the machine.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let config = &self.config;
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => OsString::from(name),
            #[cfg(unix)]
            Host::Unix(directory) => directory.clone().into_os_string(),
        });
        let addresses = config.get_hostaddrs().iter();
        let ports = config.get_ports().iter();
        let texts = [
            ("PGPORT", list(ports.map(|port| port.to_string().into()))),
            (
                "PGHOSTADDR",
                list(addresses.map(|address| address.to_string().into())),
            ),
            ("PGHOST", list(hosts)),
            ("PGUSER", config.get_user().map(OsString::from)),
            ("PGDATABASE", config.get_dbname().map(OsString::from)),
            (
                "PGPASSWORD",
                config
                    .get_password()
                    .map(|password| OsStr::from_bytes(password).to_owned()),
            ),
            ("PGOPTIONS", config.get_options().map(OsString::from)),
            ("PGSSLMODE", self.ssl.mode.as_ref().map(OsString::from)),
            (
                "PGSSLROOTCERT",
                self.ssl.root_cert.as_ref().map(OsString::from),
            ),
        ];
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// For people and logs: `app@db.example.org:5432/nself`, without the password.
    pub fn describe(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(dir)) => dir.display().to_string(),
            None => self
                .config
                .get_hostaddrs()
                .first()
                .map_or_else(String::new, ToString::to_string),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let (user, database) = (
            self.config.get_user().unwrap_or(""),
            self.config.get_dbname().unwrap_or(""),
        );
        format!("{user}@{host}:{port}/{database}")
    }

    /// A connection outside any pool, for LISTEN and long work. The caller runs the second part.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached or refuses the login.
    pub async fn connect(
        &self,
    ) -> Result<(Client, Connection<Socket, Stream<Socket>>), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }
}

/// A pool of at most `connections_max` connections; none is opened before it is needed.
///
/// A returned connection is lent again when its socket is still open (`Fast`). Asking the server each time (`Verified`)
/// would add a round trip to every request, and would still not help the query that follows when the server dies in between;
/// a vanished peer is found by the TCP timeout. Session state stays, but only within one plugin: each has its own pool.
pub fn pool(target: &Target, connections_max: usize) -> Pool {
    let how = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(target.config.clone(), target.tls.clone(), how);
    Pool::builder(manager)
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT_TIMEOUT))
        .create_timeout(Some(CREATE_TIMEOUT))
        .recycle_timeout(Some(RECYCLE_TIMEOUT))
        .build()
        .expect("a pool with timeouts has a runtime")
}

/// As libpq writes lists of hosts and ports; none when it is empty.
fn list(items: impl Iterator<Item = OsString>) -> Option<OsString> {
    items.reduce(|mut list, item| {
        list.push(",");
        list.push(item);
        list
    })
}

/// What libpq means and `tokio_postgres` does not know.
#[derive(Debug, Clone, Default)]
struct Ssl {
    mode: Option<String>,
    root_cert: Option<String>,
}

/// Takes the parameters out that `tokio_postgres` does not know.
fn split_ssl(url: &str) -> (String, Ssl) {
    let Some((base, query)) = url.split_once('?') else {
        return (url.to_owned(), Ssl::default());
    };
    let mut ssl = Ssl::default();
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = || Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
        match name {
            "sslmode" => ssl.mode = value(),
            "sslrootcert" => ssl.root_cert = value(),
            _ => rest.push(pair),
        }
    }
    let query = if rest.is_empty() {
        String::new()
    } else {
        format!("?{}", rest.join("&"))
    };
    (base.to_owned() + &query, ssl)
}

fn complete(config: &Config) -> Result<(), UrlError> {
    let host = !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty();
    for (given, name) in [
        (host, "host"),
        (config.get_user().is_some(), "user"),
        (config.get_dbname().is_some(), "database"),
    ] {
        if !given {
            return Err(UrlError::Lacks(name));
        }
    }
    Ok(())
}

/// Every attempt ends, and the host says who it is.
fn limited(mut config: Config) -> Config {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if config.get_keepalives_idle() == KEEPALIVE_AFTER_OF_DRIVER {
        config.keepalives_idle(KEEPALIVE_AFTER);
    }
    if config.get_application_name().is_none() {
        config.application_name("nself");
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_made_with_libpq_get_the_same_target_as_variables() {
        let url = "postgres://app:s%40cret@db.example.org:6432/shop?sslmode=verify-full";
        let target = Target::from_url(url).expect("a good URL");
        let environment: Vec<(&str, String)> = target
            .environment()
            .into_iter()
            .map(|(name, value)| (name, value.into_string().expect("text")))
            .collect();
        let expected = [
            ("PGPORT", "6432"),
            ("PGHOST", "db.example.org"),
            ("PGUSER", "app"),
            ("PGDATABASE", "shop"),
            ("PGPASSWORD", "s@cret"),
            ("PGSSLMODE", "verify-full"),
        ];
        assert_eq!(
            environment,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[track_caller]
    fn check_mode(query: &str, expected: SslMode) {
        let target = Target::from_url(&format!("postgres://app:secret@db.example.org/shop{query}"))
            .expect("a good URL");
        assert_eq!(target.config().get_ssl_mode(), expected, "{query}");
        assert_eq!(target.describe(), "app@db.example.org:5432/shop");
    }

    #[test]
    fn sslmode_means_what_libpq_means() {
        check_mode("", SslMode::Prefer);
        check_mode("?sslmode=disable", SslMode::Disable);
        check_mode("?application_name=x&sslmode=require", SslMode::Require);
        check_mode("?sslmode=verify-full&connect_timeout=3", SslMode::Require);
    }

    #[test]
    fn a_peer_that_vanished_is_noticed_unless_the_url_says_when() {
        let idle = |query: &str| {
            let url = format!("postgres://app:x@db.example.org/shop{query}");
            let target = Target::from_url(&url).expect(query);
            target.config().get_keepalives_idle()
        };
        assert_eq!(idle(""), KEEPALIVE_AFTER);
        assert_eq!(idle("?keepalives_idle=60"), Duration::from_secs(60));
    }

    #[track_caller]
    fn check_refused(url: &str, expected: &str) {
        let error = Target::from_url(url).expect_err(url).to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_its_password() {
        check_refused("host=db user=app password=secret", "must look like");
        check_refused("postgres://app:secret@db/", "no database");
        check_refused("postgres://app:secret@/shop", "no host");
        check_refused(
            "postgres://app:secret@db/shop?sslmode=verify-ca",
            "sslmode=verify-ca",
        );
        check_refused("postgres://app:secret@db:port/shop", "cannot be read");
        check_refused(
            "postgres://app:secret@db/shop?sslmode=verify-full&sslrootcert=%2Fnowhere.pem",
            "/nowhere.pem",
        );
    }

    #[test]
    fn what_is_shown_of_a_target_holds_no_password() {
        let target = Target::from_url("postgres://app:secret@db/shop").expect("a good URL");
        assert!(!format!("{target:?} {}", target.describe()).contains("secret"));
    }
}
