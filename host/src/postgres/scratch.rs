//! Throwaway databases for tests: one real cluster per test process, one database per test.
//!
//! The cluster runs without fsync and dies with the process, however that ends: a small shell holds a pipe from us and
//! cleans up when it closes. `initdb` runs once per machine and Postgres version; later processes copy its result.
//!
//! Nothing here belongs in production, and everything panics with a sentence instead of returning errors: it is for
//! tests and for `nself-plugin-testkit`.

use std::{
    collections::HashSet,
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Config, NoTls};

use super::{
    account::Account,
    binaries::{Binaries, Search},
    initdb::{Init, SUPERUSER},
};

/// The superuser's password in scratch clusters. It guards nothing: the socket's directory does.
pub const PASSWORD: &str = "scratch";

/// How long a cluster may take to start, or to let somebody in, on a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Durability is off because nobody will read the data after the process; everything else is as in the product.
const SETTINGS: &str = "\
listen_addresses = ''
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 300
wal_level = replica
max_wal_size = 256MB
timezone = 'UTC'
log_timezone = 'UTC'
";

/// Stays beside the server and ends with the pipe on its standard input. `$1` template, `$2` run directory, `$3` postgres,
/// `$4` its options.
///
/// A server that was not up when the pipe ended has left no number yet, and does not hear `QUIT`, which jobs of a shell ignore.
const KEEPER: &str = r#"
cp -Rp "$1" "$2/data" || exit 1
"$3" -D "$2/data" -k "$2" $4 </dev/null >"$2/log" 2>&1 &
started=$!
read -r _
server=$(head -n 1 "$2/data/postmaster.pid")
kill -QUIT "$server" || kill -TERM "$started"
wait
while kill -0 "$server" 2>/dev/null; do sleep 0.1; done
rm -rf "$2"
"#;

/// Where Linux has a file system in memory.
const MEMORY: &str = "/dev/shm";

/// What has to be free there: the databases of the tests that run beside one another, and their write-ahead log.
const MEMORY_NEEDED: u64 = 4 << 30;

/// What a commit of a cluster survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// Nothing.
    Process,
    /// A crash of the server.
    Server,
    /// A crash of the machine.
    Machine,
}

impl Durability {
    fn options(self) -> &'static str {
        match self {
            Self::Process => "",
            Self::Server => "-c synchronous_commit=on",
            Self::Machine => {
                "-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c shared_buffers=128MB -c max_wal_size=1GB"
            }
        }
    }
}

/// A throwaway cluster, shared by all tests of this process.
#[derive(Debug)]
pub struct Scratch {
    run_dir: PathBuf,
    binaries: Binaries,
    counter: AtomicU32,
    templates: tokio::sync::Mutex<HashSet<String>>,
    /// The keeper lives while this is open.
    _pipe: ChildStdin,
}

/// A database of its own, dropped (with its plugin roles) when the value is.
#[derive(Debug)]
pub struct TestDatabase {
    scratch: &'static Scratch,
    name: String,
}

impl Scratch {
    /// The cluster of this process; the first caller starts it and blocks for about a second.
    ///
    /// # Panics
    ///
    /// When no Postgres is found or it does not start; the message holds its log.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Scratch> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Account::choose(), "shared", Durability::Process))
    }

    /// Another cluster, for a test that hurts the server: what was committed survives the server's crash. It is there until
    /// the process ends.
    ///
    /// # Panics
    ///
    /// As [`shared`](Self::shared) does.
    pub fn of_its_own() -> &'static Self {
        Self::another(Durability::Server)
    }

    /// The same for a test of the disk: its commits reach it.
    ///
    /// # Panics
    ///
    /// As [`shared`](Self::shared) does.
    pub fn durable_of_its_own() -> &'static Self {
        Self::another(Durability::Machine)
    }

    fn another(durability: Durability) -> &'static Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("own-{number}");
        Box::leak(Box::new(Self::start(&Account::choose(), &name, durability)))
    }

    /// One cluster for all benchmarks of this process, with Postgres's own durability and sizes: a commit's way to the disk
    /// counts there. (WAL segments are as small as in the other ones.)
    ///
    /// # Panics
    ///
    /// As [`shared`](Self::shared) does.
    pub fn durable() -> &'static Self {
        static DURABLE: OnceLock<Scratch> = OnceLock::new();
        DURABLE.get_or_init(|| Self::start(&Account::choose(), "durable", Durability::Machine))
    }

    fn start(account: &Account, name: &str, durability: Durability) -> Self {
        let search = Search {
            configured: env::var_os("NSELF_TEST_POSTGRES").map(PathBuf::from),
            ..Search::default()
        };
        let binaries =
            Binaries::find(&search).unwrap_or_else(|error| panic!("no scratch cluster: {error}"));
        let base = directory(durability).join(format!("nself-scratch-{}", account.uid));
        account
            .passable_dir(&base)
            .unwrap_or_else(|error| panic!("no scratch cluster: {error}"));
        let template = template(&base, &binaries, account);
        let run_dir = base.join(format!(
            "run-{}-{}-{name}",
            std::process::id(),
            binaries.version()
        ));
        account
            .private_dir(&run_dir)
            .unwrap_or_else(|error| panic!("no scratch cluster: {error}"));
        let pipe = keeper(
            account,
            &template,
            &run_dir,
            &binaries,
            durability.options(),
        );
        wait_until_ready(&run_dir);
        Self {
            run_dir,
            binaries,
            counter: AtomicU32::new(0),
            templates: tokio::sync::Mutex::default(),
            _pipe: pipe,
        }
    }

    /// A new, empty database.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn database(&'static self) -> TestDatabase {
        self.create("template1").await
    }

    /// A copy of the database `template`, which `init` fills once per process: far quicker than filling each.
    ///
    /// Roles are per cluster and not copied; `init` must close its connections or let them close on drop.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn database_from(
        &'static self,
        template: &str,
        init: impl AsyncFnOnce(Config),
    ) -> TestDatabase {
        let mut templates = self.templates.lock().await;
        if !templates.contains(template) {
            self.admin(&format!("CREATE DATABASE {}", quoted(template)))
                .await;
            init(self.config(template)).await;
            self.freeze(template).await;
            templates.insert(template.to_owned());
        }
        drop(templates);
        self.create(template).await
    }

    /// A directory that is removed with the process, for a test's fixtures. Only the server's account (and root) may
    /// enter it, and what is put there must belong to that account.
    pub fn directory(&self) -> &Path {
        &self.run_dir
    }

    /// The programs that this cluster runs from.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    fn crash_and_restart(&self) {
        let mut restart = Command::new(self.binaries.program("pg_ctl"));
        restart
            .args(["restart", "-m", "immediate", "-w", "-s", "-D"])
            .arg(self.run_dir.join("data"))
            .arg("-l")
            .arg(self.run_dir.join("log"))
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let restarted = Account::choose().apply(&mut restart).status();
        assert!(
            restarted.is_ok_and(|status| status.success()),
            "the scratch cluster did not come back"
        );
    }

    /// The server's process id, for tests that hurt it. Nobody restarts the cluster that tests share.
    pub fn postmaster_pid(&self) -> u32 {
        let text = fs::read_to_string(self.run_dir.join("data/postmaster.pid"))
            .expect("the scratch cluster runs");
        text.lines()
            .next()
            .and_then(|line| line.parse().ok())
            .expect("the first line of postmaster.pid is its process")
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.run_dir)
            .user(SUPERUSER)
            .password(PASSWORD)
            .dbname(database)
            .connect_timeout(START_LIMIT);
        config
    }

    async fn create(&'static self, template: &str) -> TestDatabase {
        let name = format!(
            "t{}_{}",
            std::process::id(),
            self.counter.fetch_add(1, Ordering::Relaxed)
        );
        self.admin(&format!(
            "CREATE DATABASE {} TEMPLATE {}",
            quoted(&name),
            quoted(template)
        ))
        .await;
        TestDatabase {
            scratch: self,
            name,
        }
    }

    /// A template can be copied only while nobody is connected to it.
    async fn freeze(&self, template: &str) {
        self.admin(&format!(
            "ALTER DATABASE {} ALLOW_CONNECTIONS false",
            quoted(template)
        ))
        .await;
        let client = connect(&self.config("postgres")).await;
        let until = Instant::now() + START_LIMIT;
        loop {
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            if client
                .query(sql, &[&template])
                .await
                .expect("backends can be listed")
                .is_empty()
            {
                return;
            }
            assert!(
                Instant::now() < until,
                "somebody stays connected to the template database {template}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn admin(&self, sql: &str) {
        let client = connect(&self.config("postgres")).await;
        client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

impl TestDatabase {
    /// How to connect, as superuser over the socket.
    pub fn config(&self) -> Config {
        self.scratch.config(&self.name)
    }

    /// The same as a URL, for `DATABASE_URL`.
    pub fn url(&self) -> String {
        let host = self
            .scratch
            .run_dir
            .to_str()
            .expect("the temporary directory is UTF-8")
            .replace('/', "%2F");
        format!("postgres://{SUPERUSER}:{PASSWORD}@{host}/{}", self.name)
    }

    /// Ends its server as a crash would, and starts it again. For a database on a server of its own.
    ///
    /// # Panics
    ///
    /// When it does not come back.
    pub fn crash_and_restart(&self) {
        self.scratch.crash_and_restart();
    }

    /// The server's socket.
    pub fn socket(&self) -> PathBuf {
        self.scratch.run_dir.join(".s.PGSQL.5432")
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection of its own.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn client(&self) -> Client {
        connect(&self.config()).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let config = self.scratch.config("postgres");
        let name = std::mem::take(&mut self.name);
        // A thread of its own: the test's runtime may be shutting down, and a panicking test still cleans up.
        let _ = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(drop_database(&config, &name)).ok()
        })
        .join();
    }
}

/// Drops the database and the roles that were made for it: their names start with the database's.
async fn drop_database(config: &Config, name: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            quoted(name)
        ))
        .await?;
    // In one statement: one of them may have created the others.
    let sql = "SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles WHERE starts_with(rolname, $1)";
    let roles: Option<String> = client.query_one(sql, &[&format!("{name}_")]).await?.get(0);
    if let Some(roles) = roles {
        client.batch_execute(&format!("DROP ROLE {roles}")).await?;
    }
    Ok(())
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config
        .connect(NoTls)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to the scratch cluster: {error:?}"));
    tokio::spawn(connection);
    client
}

fn quoted(identifier: &str) -> String {
    postgres_protocol::escape::escape_identifier(identifier)
}

/// Where clusters are put: in memory when there is plenty, unless a commit has to reach the disk. Each test makes a database of
/// more than a thousand files and drops it, and ext4 then looks through all inodes that were freed in the last seconds for each
/// new file: that took half of the server's time in tests.
fn directory(durability: Durability) -> PathBuf {
    let free = || {
        let stat = rustix::fs::statvfs(MEMORY).ok()?;
        Some(stat.f_bavail * stat.f_frsize)
    };
    if durability != Durability::Machine && free().is_some_and(|free| free >= MEMORY_NEEDED) {
        PathBuf::from(MEMORY)
    } else {
        env::temp_dir()
    }
}

/// The freshly initialised cluster that every process copies. The lock makes one process create it.
fn template(base: &Path, binaries: &Binaries, account: &Account) -> PathBuf {
    let lock = fs::File::create(base.join("lock")).expect("the scratch directory is writable");
    account
        .own_file(&lock)
        .expect("what root creates can change hands");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .expect("the scratch directory can be locked");
    let template = base.join(format!("template-{}", binaries.version()));
    if !template.exists() {
        // Small WAL segments: the copy is 7 MB instead of 23.
        let args = &["--wal-segsize=1"];
        let init = Init {
            binaries,
            account,
            password: PASSWORD,
            args,
            is_durable: false,
            settings: SETTINGS,
        };
        init.run(&template)
            .unwrap_or_else(|error| panic!("no scratch cluster: {error}"));
    }
    template
}

fn keeper(
    account: &Account,
    template: &Path,
    run_dir: &Path,
    binaries: &Binaries,
    options: &str,
) -> ChildStdin {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", KEEPER, "nself-scratch"])
        .args([template, run_dir, &binaries.program("postgres")])
        .arg(options)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // ^C in the terminal ends the tests; the keeper then cleans up.
        .process_group(0);
    let mut child = account
        .apply(&mut command)
        .spawn()
        .unwrap_or_else(|error| panic!("no scratch cluster: {error}"));
    let pipe = child.stdin.take().expect("standard input was piped");
    // Waited for so that it leaves no zombie should it end before us.
    thread::spawn(move || child.wait());
    pipe
}

fn wait_until_ready(run_dir: &Path) {
    let until = Instant::now() + START_LIMIT;
    // The eighth line of the file is the server's state; it is padded with spaces.
    let ready = || {
        let text = fs::read_to_string(run_dir.join("data/postmaster.pid")).unwrap_or_default();
        text.lines()
            .nth(7)
            .is_some_and(|line| line.trim() == "ready")
    };
    while !ready() {
        let log = || fs::read_to_string(run_dir.join("log")).unwrap_or_default();
        assert!(
            Instant::now() < until,
            "the scratch cluster did not start:\n{}",
            log()
        );
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_whose_process_ends_at_once_is_not_left_behind() {
        let account = Account::choose();
        let binaries = Binaries::find(&Search::default()).expect("the tests need Postgres");
        let base = directory(Durability::Process).join(format!("nself-scratch-{}", account.uid));
        account.passable_dir(&base).expect("a directory");
        let template = template(&base, &binaries, &account);
        let run_dir = base.join(format!("run-{}-short", std::process::id()));
        account.private_dir(&run_dir).expect("a directory");
        drop(keeper(&account, &template, &run_dir, &binaries, ""));
        let until = Instant::now() + START_LIMIT;
        while run_dir.exists() {
            assert!(Instant::now() < until, "{} is kept", run_dir.display());
            thread::sleep(Duration::from_millis(10));
        }
    }
}
