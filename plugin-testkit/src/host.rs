//! The host of a test.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use http::Method;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use nself::{
    capability::clock::HostClock,
    identity::development::{Bearer, DevelopmentIssuer},
    plugin::{instance::Running, manifest, registry::Registry},
    postgres::{roles::login_name, scratch::TestDatabase},
    run::Host,
};
use nself_plugin_api::manifest::Role;
use postgres_protocol::escape::escape_literal;
use toml::Table;
use uuid::Uuid;

use crate::{
    builder::{Shared, TestHostBuilder},
    library::Library,
    outage::Outage,
    process::{HostProcess, HostProcessBuilder, Signal},
    program::{command, log_in},
    request::{Body, Request},
    wait::within,
};

/// Time that a host which is stopped has before it cuts off what is left. It does cost something: work that waits for
/// nothing else is given back only when this is nearly over.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// A host in this process (or, by [`TestHostBuilder::program`], in one of its own), with a project and a database that end
/// with it.
///
/// Stop it at the end of a test ([`stop`](Self::stop)): that fails the test when something does not end by itself.
pub struct TestHost {
    life: Life,
    clock: Arc<dyn HostClock>,
    address: SocketAddr,
    issuer: DevelopmentIssuer,
    plugins: Vec<Library>,
    config: Table,
    /// Its plugins as it noted them at its start.
    lock: String,
    pub(crate) client: Client<HttpConnector, Body>,
    // After the host: a database is dropped when nobody uses it any more.
    shared: Shared,
}

/// Where a host lives.
pub(crate) enum Life {
    Here(Box<Host>),
    Program(Box<HostProcess>),
}

impl TestHost {
    /// An operator's API key that every such host accepts.
    pub const OPERATOR_KEY: &'static str = "nsk_test_operator_of_the_testkit";

    /// The API key of a service that has every scope which the plugins' routes ask for.
    pub const SERVICE_KEY: &'static str = "nsk_test_service_of_the_testkit";

    /// A host with a database of its own.
    pub fn builder() -> TestHostBuilder {
        TestHostBuilder::default()
    }

    pub(crate) fn new(
        life: Life,
        clock: Arc<dyn HostClock>,
        shared: Shared,
        issuer: DevelopmentIssuer,
        plugins: Vec<Library>,
        config: Table,
    ) -> Self {
        let address = match &life {
            Life::Here(host) => host.gateway().expect("a started host listens"),
            Life::Program(program) => program.address(),
        };
        let lock = shared.project.path().join("plugins.lock");
        Self {
            life,
            clock,
            address,
            issuer,
            plugins,
            config,
            // Without plugins there is none.
            lock: fs::read_to_string(lock).unwrap_or_default(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            shared,
        }
    }

    /// Another replica: the same database, secrets, plugins and configuration.
    pub fn beside(&self) -> TestHostBuilder {
        TestHostBuilder::beside(
            self.shared.clone(),
            self.plugins.clone(),
            self.config.clone(),
        )
    }

    /// Another replica in a process of its own, for tests that hurt it: the built `nself` with the same database, secrets,
    /// plugins and configuration.
    pub fn process_beside(&self) -> HostProcessBuilder {
        HostProcessBuilder::new(
            self.shared.project.path(),
            &self.lock,
            &self.shared.database.url(),
        )
    }

    /// The project's directory.
    pub fn project(&self) -> &Path {
        self.shared.project.path()
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The files of its plugins.
    pub(crate) fn libraries(&self) -> &[Library] {
        &self.plugins
    }

    /// Its plugins, to enable, disable and exchange them.
    ///
    /// # Panics
    ///
    /// When it is a program of its own.
    pub fn registry(&self) -> &Arc<Registry> {
        match &self.life {
            Life::Here(host) => host.registry(),
            Life::Program(_) => panic!("a program's plugins are its own"),
        }
    }

    /// Kills it, if it is a program: nothing of it ends in an orderly way. [`start_again`](Self::start_again) brings it back.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub async fn kill(&mut self) {
        match &mut self.life {
            Life::Program(program) => _ = program.end_by(Signal::KILL).await,
            Life::Here(_) => panic!("what lives in the test's process cannot be killed"),
        }
    }

    /// Starts the program again in its project, at another address.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let project = self.shared.project.path();
        let command = command(project, &self.shared.database.url());
        let program = HostProcess::start(command, project, None).await;
        self.address = program.address();
        self.life = Life::Program(Box::new(program));
    }

    /// What the built program says, called with these words in the host's project; standard output and error.
    ///
    /// # Panics
    ///
    /// When it ends badly.
    pub async fn command_line(&self, words: &[&str]) -> (String, String) {
        let project = self.shared.project.path();
        let call = command(project, &self.shared.database.url());
        let calling = tokio::process::Command::from(call)
            .args(words)
            .kill_on_drop(true)
            .output();
        let ran = within("a call of the program", calling).await;
        let ran = ran.expect("the built program runs");
        let [said, told] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(ran.status.success(), "{words:?}: {said}{told}");
        (said.into_owned(), told.into_owned())
    }

    /// What the program has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(log_in(self.shared.project.path())).unwrap_or_default()
    }

    /// A running plugin behind its boundary.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub async fn running(&self, id: &str) -> Arc<Running> {
        let running = self.registry().running(id).await;
        running.unwrap_or_else(|| panic!("{id} does not run"))
    }

    /// A request.
    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        let method = method.parse().expect("a method is a word");
        Request::new(self, method, path)
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Request<'_> {
        Request::new(self, Method::GET, path)
    }

    /// A POST.
    pub fn post(&self, path: &str) -> Request<'_> {
        Request::new(self, Method::POST, path)
    }

    /// A PUT.
    pub fn put(&self, path: &str) -> Request<'_> {
        Request::new(self, Method::PUT, path)
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> Request<'_> {
        Request::new(self, Method::DELETE, path)
    }

    /// An access token of a person (or device) with that role in `family`. The person is the same for the same family and
    /// role.
    pub fn token(&self, role: Role, family: Uuid) -> String {
        self.token_of(Self::id_of(role, family), Some((role, family)))
    }

    /// An access token of that person, with or without an active family.
    pub fn token_of(&self, user_id: Uuid, family: Option<(Role, Uuid)>) -> String {
        let bearer = Bearer {
            user_id,
            family: family.map(|(role, family)| (family, host_role(role))),
            lifetime: Duration::from_secs(3_600),
        };
        let minted = self.issuer.mint_at(&bearer, self.clock.system_time());
        minted.expect("a good key signs")
    }

    /// The database of this host and its replicas.
    pub fn database(&self) -> &TestDatabase {
        &self.shared.database
    }

    /// A superuser's connection to it.
    pub async fn sql(&self) -> tokio_postgres::Client {
        self.shared.database.client().await
    }

    /// A connection that is what the plugin's own login would have: its rights, its row-level security.
    pub async fn sql_as(&self, plugin: &str) -> tokio_postgres::Client {
        let client = self.sql().await;
        let login = login_name(self.shared.database.name(), plugin);
        let become_it = format!("set session authorization {}", escape_literal(&login));
        let became = client.batch_execute(&become_it).await;
        became.unwrap_or_else(|error| panic!("{plugin} has no login: {error:?}"));
        client
    }

    /// Takes the database away until the outage ends: open connections are cut, new ones refused.
    pub async fn database_away(&self) -> Outage {
        Outage::begin(Arc::clone(&self.shared.database)).await
    }

    /// Everything on `/metrics`.
    pub async fn metrics(&self) -> String {
        let answer = self.get("/metrics").send().await.expect_status(200);
        String::from_utf8(answer.body.to_vec()).expect("metrics are text")
    }

    /// The value of the metric that begins so, as in `nself_plugin_panics_total{plugin="hello"}`; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let metrics = self.metrics().await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a sample is a number"))
    }

    /// Panics of a plugin so far.
    pub async fn panics(&self, plugin: &str) -> u64 {
        let series = format!("nself_plugin_panics_total{{plugin=\"{plugin}\"}}");
        let panics = self.metric(&series).await;
        format!("{panics}").parse().expect("a count is whole")
    }

    /// Stops it.
    ///
    /// # Panics
    ///
    /// When something had to be cut off.
    pub async fn stop(self) {
        let clean = match self.life {
            Life::Here(host) => within("stopping a host", host.stop(DRAIN_LIMIT)).await,
            Life::Program(mut program) => program.end_by(Signal::TERM).await.success(),
        };
        assert!(
            clean,
            "something of the host or its plugins did not end by itself"
        );
    }
}

/// The role as the host has it.
fn host_role(role: Role) -> manifest::Role {
    match role {
        Role::Owner => manifest::Role::Owner,
        Role::Admin => manifest::Role::Admin,
        Role::AdultMember => manifest::Role::AdultMember,
        Role::YouthMember => manifest::Role::YouthMember,
        Role::ChildMember => manifest::Role::ChildMember,
        Role::Device => manifest::Role::Device,
    }
}
