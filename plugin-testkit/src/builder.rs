//! Starting a host for a test.

use std::{env, fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use nself::{
    capability::{
        clock::{HostClock, SystemClock, TestClock},
        process,
    },
    config::{Config, FILE_NAME, Secret, Variables, secrets::Secrets},
    identity::{development::DevelopmentIssuer, key_digest},
    migrate::{Migrator, Options, Owner},
    plugin::manifest::Access,
    postgres::scratch::{Scratch, TestDatabase},
    run::{DatabaseChoice, Host, StartSettings},
};
use tempfile::TempDir;
use tokio_postgres::NoTls;
use toml::{Table, Value};

use crate::{
    clock::WrongClock,
    host::{Life, TestHost},
    library::{Library, library},
    logs,
    process::HostProcess,
    program,
    wait::within,
};

/// What every host of a test has, unless the test says otherwise: no fixed port, no rate limit worth the name.
const CONFIG: &str = "
[http]
port = 0
plugin_ports = false
rate_per_minute = 1_000_000
[database]
pool_max = 4
plugin_pool_max = 4
";

/// Where a project has its plugins.
const PLUGINS: &str = "plugins.d";

/// A host to be started. Made by [`TestHost::builder`] and [`TestHost::beside`].
#[must_use = "nothing runs until `start`"]
#[derive(Default)]
pub struct TestHostBuilder {
    plugins: Vec<Library>,
    config: Table,
    secrets: Vec<(String, String)>,
    clock: Option<Arc<dyn HostClock>>,
    own_server: Option<fn() -> &'static Scratch>,
    is_program: bool,
    is_isolated: bool,
    shared: Option<Shared>,
}

/// What replicas have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) database: Arc<TestDatabase>,
    /// The project whose secrets are copied: logins and tokens follow from them.
    pub(crate) project: Arc<TempDir>,
}

impl TestHostBuilder {
    pub(crate) fn beside(shared: Shared, plugins: Vec<Library>, config: Table) -> Self {
        Self {
            plugins,
            config,
            shared: Some(shared),
            ..Self::default()
        }
    }

    /// Enables a plugin, after those that were named before: by the name of its package, or by the path of its file.
    pub fn plugin(self, plugin: &str) -> Self {
        self.library(library(plugin))
    }

    /// Enables a plugin whose file is known.
    pub fn library(mut self, library: Library) -> Self {
        self.plugins.push(library);
        self
    }

    /// Adds to the project's `nself.toml`; later text overrides earlier text key by key.
    pub fn config(mut self, toml: &str) -> Self {
        merge(
            &mut self.config,
            toml.parse().expect("configuration is TOML"),
        );
        self
    }

    /// Gives a secret its value.
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the host and its plugins see this clock, which stands until the test moves it.
    pub fn clock(mut self, clock: Arc<TestClock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Lets the host and its plugins see a clock that goes wrong by what the test says.
    pub fn wrong_clock(mut self, clock: Arc<WrongClock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Gives the host a database server that no other test uses, whose commits survive a crash of the server.
    pub fn own_server(mut self) -> Self {
        self.own_server = Some(Scratch::of_its_own);
        self
    }

    /// The same with a server whose commits wait for the disk.
    pub fn durable_server(mut self) -> Self {
        self.own_server = Some(Scratch::durable_of_its_own);
        self
    }

    /// Runs the built `nself` in a process of its own, for tests that kill it or read its log. What is asked of the host
    /// itself ([`TestHost::registry`], [`TestHost::running`]) and [`clock`](Self::clock) are not for it.
    pub fn program(mut self) -> Self {
        self.is_program = true;
        self
    }

    /// Runs each of the plugins in a process of its own. So does the variable `TESTKIT_ISOLATED` for every host.
    pub fn isolated(mut self) -> Self {
        self.is_isolated = true;
        self
    }

    /// Starts the host and enables the plugins.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn start(mut self) -> TestHost {
        logs::capture();
        if self.is_isolated || env::var_os("TESTKIT_ISOLATED").is_some() {
            process::performed_by(program::built().to_owned());
            merge(&mut self.config, isolated(&self.plugins));
        }
        let directory = tempfile::tempdir().expect("there is room for a project");
        let server = self.own_server.unwrap_or(Scratch::shared);
        let database = match self.shared {
            Some(shared) => {
                let secrets = Path::new(".nself").join("secrets");
                let of_the_first = shared.project.path().join(&secrets);
                copy_files(&of_the_first, &directory.path().join(&secrets));
                shared.database
            }
            None => Arc::new(database_of(server()).await),
        };
        let secrets = Secrets::open(&directory.path().join(".nself")).expect("a new store");
        for (name, value) in &self.secrets {
            let stored = secrets.set(name, &Secret::new(value.clone()));
            stored.expect("the store takes a secret");
        }
        let issuer = DevelopmentIssuer::open(&secrets).expect("a key for tokens");
        let mut config: Table = CONFIG.parse().expect("configuration is TOML");
        merge(&mut config, api_keys(&self.plugins));
        merge(&mut config, self.config.clone());
        write(directory.path(), &config);
        let clock = self
            .clock
            .unwrap_or_else(|| Arc::new(SystemClock::default()));
        let life = if self.is_program {
            put_in_place(&self.plugins, directory.path());
            let url = database.url();
            for plugin in &self.plugins {
                program::enable(directory.path(), &url, &plugin.manifest.id).await;
            }
            Life::Program(Box::new(
                HostProcess::start(
                    program::command(directory.path(), &url),
                    directory.path(),
                    None,
                )
                .await,
            ))
        } else {
            let host = open(directory.path(), &database, Arc::clone(&clock)).await;
            put_in_place(&self.plugins, directory.path());
            for plugin in &self.plugins {
                let enabled = host.registry().enable(&plugin.manifest.id);
                let enabled = within("enabling a plugin", enabled).await;
                enabled.unwrap_or_else(|refusal| panic!("{refusal}"));
            }
            Life::Here(Box::new(host))
        };
        let shared = Shared {
            database,
            project: Arc::new(directory),
        };
        TestHost::new(life, clock, shared, issuer, self.plugins, self.config)
    }
}

/// Puts each plugin into a process of its own.
fn isolated(plugins: &[Library]) -> Table {
    let alone = Table::from_iter([("isolation".to_owned(), "process".into())]);
    let tables = plugins
        .iter()
        .map(|plugin| (plugin.manifest.id.clone(), Value::Table(alone.clone())));
    Table::from_iter([("plugins".to_owned(), Value::Table(tables.collect()))])
}

/// An operator's key, and a service's with every scope that the plugins' routes ask for.
fn api_keys(plugins: &[Library]) -> Table {
    let mut scopes: Vec<Value> = Vec::new();
    for route in plugins.iter().flat_map(|plugin| &plugin.manifest.routes) {
        if let Access::Service(scope) = &route.access {
            scopes.push(scope.clone().into());
        }
    }
    let key = |key, scopes: Vec<Value>| {
        let sha256 = ("sha256".to_owned(), key_digest(key).into());
        Value::Table(Table::from_iter([
            sha256,
            ("scopes".to_owned(), scopes.into()),
        ]))
    };
    let operator = key(TestHost::OPERATOR_KEY, vec!["operator".into()]);
    let service = key(TestHost::SERVICE_KEY, scopes);
    let keys = Table::from_iter([
        ("operator".to_owned(), operator),
        ("service".to_owned(), service),
    ]);
    let identity = Table::from_iter([("api_keys".to_owned(), Value::Table(keys))]);
    Table::from_iter([("identity".to_owned(), Value::Table(identity))])
}

/// Makes a project of a directory.
fn write(directory: &Path, config: &Table) {
    fs::write(directory.join(FILE_NAME), config.to_string()).expect("the project is writable");
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    private
        .create(directory.join(PLUGINS))
        .expect("the project is writable");
}

async fn open(directory: &Path, database: &TestDatabase, clock: Arc<dyn HostClock>) -> Host {
    let variables = Variables::from([("DATABASE_URL".to_owned(), database.url())]);
    let (config, provenance) =
        Config::load(directory, &variables).unwrap_or_else(|error| panic!("{error}"));
    let secrets = Secrets::of(&config).unwrap_or_else(|error| panic!("{error}"));
    let settings = StartSettings {
        config,
        provenance,
        secrets,
        database: DatabaseChoice::Url,
        migrate: true,
        progress: Arc::new(|_| ()),
    };
    // A large future, and every test holds many of those that hold it.
    let starting = Box::pin(Host::start_with_clock(settings, clock));
    let started = within("starting a host", starting).await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

/// A database with the host's own schema and the shared model.
async fn database_of(server: &'static Scratch) -> TestDatabase {
    let fill = async |config: tokio_postgres::Config| {
        let (client, connection) = config.connect(NoTls).await.expect("a new database is open");
        tokio::spawn(connection);
        let mut migrator = Migrator::new(client, Options::default());
        let migrated = migrator.up(&[Owner::host(), Owner::shared()]).await;
        migrated.unwrap_or_else(|error| panic!("{error}"));
    };
    server.database_from("testkit", fill).await
}

fn put_in_place(plugins: &[Library], directory: &Path) {
    for plugin in plugins {
        let file = directory
            .join(PLUGINS)
            .join(format!("{}.so", plugin.manifest.id));
        fs::copy(&plugin.path, &file).expect("the project is writable");
    }
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .expect("the project is writable");
    for entry in fs::read_dir(from).into_iter().flatten() {
        let path = entry.expect("a folder of ours can be listed").path();
        let name = path.file_name().expect("an entry has a name");
        fs::copy(&path, to.join(name)).expect("the project is writable");
    }
}

/// Puts `over` on top of `table`.
pub(crate) fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(value)) => merge(below, value),
            (_, value) => _ = table.insert(key, value),
        }
    }
}
