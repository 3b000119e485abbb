//! The embedded cluster: first start, restart, adoption, and what happens when something dies.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use nself::postgres::{
    account::Account,
    binaries::Binaries,
    cluster::{Cluster, ClusterError, ClusterOptions, Progress, State},
    scratch::Scratch,
    settings::Tcp,
};
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};
use tokio::time::timeout;

const PASSWORD: &str = "cluster-canary-7f3a";
const LIMIT: Duration = Duration::from_secs(60);

/// A project directory of its own; what still runs in it ends with the test.
struct Project {
    dir: tempfile::TempDir,
    elsewhere: PathBuf,
    seen: Arc<Mutex<Vec<Progress>>>,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        Self {
            dir,
            elsewhere,
            seen: Arc::default(),
        }
    }

    fn path(&self) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap()
    }

    fn data_dir(&self) -> PathBuf {
        self.path().join("project/.nself")
    }

    fn options(&self) -> ClusterOptions {
        let mut options = ClusterOptions::new(self.data_dir(), PASSWORD);
        options.elsewhere.clone_from(&self.elsewhere);
        // One version for the whole run, also when NSELF_TEST_POSTGRES names another.
        options.binaries = Some(Scratch::shared().binaries().dir().to_owned());
        let seen = Arc::clone(&self.seen);
        options.progress = Box::new(move |step| seen.lock().unwrap().push(step.clone()));
        options
    }

    async fn start(&self) -> Cluster {
        Cluster::start(self.options()).await.unwrap()
    }

    /// A project whose first start has happened: a copy of one, because `initdb` takes seconds.
    fn started_once() -> Self {
        let project = Self::new();
        fs::create_dir_all(project.data_dir()).unwrap();
        copy(&first_start(), &project.data_dir().join("pg"));
        // The disk is not what these tests are about.
        fs::write(project.data().join("custom.conf"), "fsync = off\n").unwrap();
        project
    }

    fn data(&self) -> PathBuf {
        let pg = fs::canonicalize(self.data_dir().join("pg")).unwrap();
        fs::read_dir(pg)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.join("PG_VERSION").exists())
            .unwrap()
    }

    fn saw(&self, is_wanted: impl Fn(&Progress) -> bool) -> bool {
        self.seen.lock().unwrap().iter().any(is_wanted)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        for base in [self.data_dir().join("pg"), self.elsewhere.clone()] {
            end_servers_below(&base, 3);
        }
    }
}

/// The cluster of a project after its first start, made once per process. It lies in the scratch cluster's directory,
/// which is removed with the process.
fn first_start() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let project = Project::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { project.start().await.stop().await.unwrap() });
        let made = Scratch::shared().directory().join("first-start");
        copy(&project.data_dir().join("pg"), &made);
        made
    };
    // On a thread of its own: the caller is inside a runtime.
    MADE.get_or_init(|| thread::spawn(make).join().unwrap())
        .clone()
}

fn copy(source: &Path, target: &Path) {
    assert!(
        std::process::Command::new("cp")
            .arg("-Rp")
            .args([source, target])
            .status()
            .unwrap()
            .success()
    );
}

fn end_servers_below(dir: &Path, depth: u32) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path().join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = text
            .lines()
            .next()
            .and_then(|line| line.parse().ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::QUIT);
        }
        if depth > 0 && entry.path().is_dir() {
            end_servers_below(&entry.path(), depth - 1);
        }
    }
}

async fn ask(cluster: &Cluster, sql: &str) -> String {
    let (client, connection) = cluster
        .config()
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn pid(cluster: &Cluster) -> Pid {
    match *cluster.states().borrow() {
        State::Running(pid) => Pid::from_raw(pid).unwrap(),
        ref other => panic!("the cluster does not run: {other:?}"),
    }
}

async fn until(cluster: &Cluster, is_wanted: impl FnMut(&State) -> bool) {
    timeout(LIMIT, cluster.states().wait_for(is_wanted))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_first_start_needs_nothing_but_a_directory() {
    let project = Project::new();
    let cluster = project.start().await;
    assert!(project.saw(|step| matches!(step, Progress::Creating(_))));
    assert!(
        cluster.source().starts_with("PostgreSQL "),
        "{}",
        cluster.source()
    );
    let settings = "SELECT concat_ws(' ', current_database(), current_setting('data_checksums'), current_setting('fsync'), \
                    current_setting('listen_addresses'), current_setting('TimeZone'), current_setting('password_encryption'), \
                    (SELECT datcollate FROM pg_database WHERE datname = current_database()))";
    assert!(
        ask(&cluster, settings)
            .await
            .starts_with("nself on on 127.0.0.1 UTC scram-sha-256 C")
    );
    let rules = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules";
    assert_eq!(ask(&cluster, rules).await, "scram-sha-256");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn both_urls_lead_to_the_database() {
    let project = Project::started_once();
    let cluster = project.start().await;
    for url in [cluster.url(), cluster.tcp_url().unwrap()] {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client.query_one("SELECT 1", &[]).await.unwrap();
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn files_belong_to_the_account_and_hold_no_password() {
    let project = Project::new();
    project.start().await.stop().await.unwrap();
    let account = Account::choose();
    let data = project.data();
    for path in [
        data.clone(),
        data.join("nself.conf"),
        data.join("PG_VERSION"),
        data.parent().unwrap().join("postgres.log"),
    ] {
        let found = fs::metadata(&path).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o077),
            (account.uid, 0),
            "{}",
            path.display()
        );
    }
    let grep = std::process::Command::new("grep")
        .args(["-rl", PASSWORD])
        .arg(project.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
}

#[tokio::test]
async fn a_second_start_keeps_data_and_port() {
    let project = Project::started_once();
    let cluster = project.start().await;
    ask(&cluster, "SELECT set_config('x.y', 'z', false)").await;
    let (client, connection) = cluster
        .config()
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE kept AS SELECT 'yes'::text AS answer")
        .await
        .unwrap();
    drop(client);
    let url = cluster.tcp_url();
    cluster.stop().await.unwrap();
    let cluster = project.start().await;
    assert_eq!(ask(&cluster, "SELECT answer FROM kept").await, "yes");
    assert_eq!(cluster.tcp_url(), url);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_back_in_seconds() {
    let project = Project::started_once();
    let cluster = project.start().await;
    for _ in 0..3 {
        let killed = pid(&cluster);
        kill_process(killed, Signal::KILL).unwrap();
        until(
            &cluster,
            |state| matches!(state, State::Running(pid) if *pid != killed.as_raw_nonzero().get()),
        )
        .await;
        assert_eq!(ask(&cluster, "SELECT 'back'").await, "back");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_left_is_adopted_and_watched() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let left = pid(&cluster);
    let url = cluster.url();
    cluster.leave().await;
    let cluster = project.start().await;
    assert_eq!((pid(&cluster), cluster.url()), (left, url));
    assert!(project.saw(|step| matches!(step, Progress::Adopting(_))));
    kill_process(left, Signal::KILL).unwrap();
    until(
        &cluster,
        |state| matches!(state, State::Running(pid) if *pid != left.as_raw_nonzero().get()),
    )
    .await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_still_stopping_is_waited_for() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let stopping = pid(&cluster);
    // A smart shutdown waits for its sessions: this one keeps it stopping for as long as we like.
    let (session, connection) = cluster
        .config()
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    cluster.leave().await;
    kill_process(stopping, Signal::TERM).unwrap();
    let next = tokio::spawn(Cluster::start(project.options()));
    let adopting = async {
        while !project.saw(|step| matches!(step, Progress::Adopting(_))) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, adopting).await.unwrap();
    drop(session);
    connection.await.unwrap().unwrap();
    let cluster = timeout(LIMIT, next).await.unwrap().unwrap().unwrap();
    assert_ne!(pid(&cluster), stopping);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn leftovers_of_a_killed_server_delay_the_start_but_do_not_fail_it() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let killed = pid(&cluster);
    cluster.leave().await;
    kill_process(killed, Signal::KILL).unwrap();
    let cluster = timeout(LIMIT, project.start()).await.unwrap();
    assert_eq!(ask(&cluster, "SELECT 'recovered'").await, "recovered");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn stop_ends_the_process_also_with_open_sessions() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let server = pid(&cluster);
    let (_session, connection) = cluster
        .config()
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut states = cluster.states();
    cluster.stop().await.unwrap();
    assert!(test_kill_process(server).is_err());
    assert_eq!(*states.borrow_and_update(), State::Stopped);
    assert!(
        !project.data().join("postmaster.pid").exists(),
        "it stopped cleanly and removed its own file"
    );
}

#[tokio::test]
async fn two_hosts_do_not_share_a_cluster() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let error = Cluster::start(project.options()).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::Supervised { pid, .. } if *pid == std::process::id().to_string()),
        "{error}"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_major_is_named_and_left_alone() {
    let project = Project::started_once();
    let version = project.data().join("PG_VERSION");
    fs::write(&version, "13\n").unwrap();
    let error = Cluster::start(project.options()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, ClusterError::OtherMajor { major: 13, .. }),
        "{text}"
    );
    assert!(
        text.contains(project.data().to_str().unwrap())
            && text.contains("apt-get install postgresql-13"),
        "{text}"
    );
}

#[tokio::test]
async fn another_password_is_refused_and_nothing_is_left_running() {
    let project = Project::started_once();
    let mut options = project.options();
    options.password = "another".to_owned().into();
    let error = Cluster::start(options).await.unwrap_err();
    assert!(
        error.to_string().contains("refuses the stored password"),
        "{error}"
    );
    assert!(!project.data().join("postmaster.pid").exists());
}

#[tokio::test]
async fn a_configured_port_that_is_taken_is_named() {
    let project = Project::started_once();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = ClusterOptions {
        tcp: Tcp::Port(port),
        ..project.options()
    };
    let error = Cluster::start(options).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("port {port} on 127.0.0.1 is taken")),
        "{error}"
    );
}

#[tokio::test]
async fn a_recorded_port_that_is_taken_by_now_is_replaced() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let before = ask(&cluster, "SELECT current_setting('port')").await;
    cluster.stop().await.unwrap();
    let _taken = TcpListener::bind(format!("127.0.0.1:{before}")).unwrap();
    let cluster = project.start().await;
    assert_ne!(
        ask(&cluster, "SELECT current_setting('port')").await,
        before
    );
    assert!(project.saw(|step| matches!(step, Progress::PortChanged(..))));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_init_leaves_nothing_in_the_way() {
    let project = Project::started_once();
    let data = project.data();
    let left = data.with_file_name(".init-99999999");
    fs::rename(&data, &left).unwrap();
    fs::remove_file(left.join("PG_VERSION")).unwrap();
    project.start().await.stop().await.unwrap();
    assert!(!left.exists());
    assert!(data.join("PG_VERSION").exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_is_quoted() {
    let project = Project::started_once();
    fs::write(
        project.data().join("custom.conf"),
        "shared_buffers = 'a lot'\n",
    )
    .unwrap();
    let error = Cluster::start(project.options()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("invalid value for parameter \"shared_buffers\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let project = Project::new();
    let data_dir = project
        .path()
        .join("a-directory-with-a-long-name/".repeat(4))
        .join(".nself");
    let options = ClusterOptions {
        data_dir: data_dir.clone(),
        ..project.options()
    };
    let cluster = Cluster::start(options).await.unwrap();
    let socket_dir = PathBuf::from(
        ask(
            &cluster,
            "SELECT current_setting('unix_socket_directories')",
        )
        .await,
    );
    assert!(!socket_dir.starts_with(&data_dir));
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    cluster.stop().await.unwrap();
    fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test]
async fn root_in_a_closed_directory_gets_its_data_elsewhere() {
    if !geteuid().is_root() {
        return;
    }
    let project = Project::new();
    fs::create_dir_all(project.data_dir()).unwrap();
    fs::set_permissions(
        project.path().join("project"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    for _ in 0..2 {
        let cluster = project.start().await;
        let data = ask(&cluster, "SELECT current_setting('data_directory')").await;
        assert!(
            Path::new(&data).starts_with(project.path().join("elsewhere")),
            "{data}"
        );
        assert!(
            fs::symlink_metadata(project.data_dir().join("pg"))
                .unwrap()
                .is_symlink()
        );
        cluster.stop().await.unwrap();
    }
    assert!(project.saw(|step| matches!(step, Progress::Elsewhere(_))));
}

#[tokio::test]
async fn data_that_became_unreachable_is_named_with_the_remedy() {
    if !geteuid().is_root() {
        return;
    }
    let project = Project::started_once();
    fs::set_permissions(
        project.path().join("project"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    let error = Cluster::start(project.options())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!(
            "chmod o+x {}",
            project.path().join("project").display()
        )),
        "{error}"
    );
}

#[tokio::test]
async fn a_machine_without_an_account_for_postgres_uses_a_bare_number() {
    if !geteuid().is_root() {
        return;
    }
    let project = Project::new();
    let options = ClusterOptions {
        account: Account::bare(10_001),
        ..project.options()
    };
    let cluster = Cluster::start(options).await.unwrap();
    assert_eq!(fs::metadata(project.data()).unwrap().uid(), 10_001);
    assert_eq!(ask(&cluster, "SELECT 'works'").await, "works");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_configured_directory_without_programs_is_refused() {
    let project = Project::new();
    let options = ClusterOptions {
        binaries: Some(project.path()),
        ..project.options()
    };
    let error = Cluster::start(options).await.unwrap_err();
    assert!(
        error.to_string().contains(project.path().to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn links_lead_to_the_real_programs() {
    let real = Scratch::shared().binaries();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(real.program("postgres"), dir.path().join("postgres")).unwrap();
    assert_eq!(Binaries::open(dir.path()).as_ref(), Some(real));
}

#[tokio::test]
async fn a_server_that_cannot_come_back_is_tried_until_it_can() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let custom = project.data().join("custom.conf");
    fs::write(&custom, "port = 'none'\n").unwrap();
    kill_process(pid(&cluster), Signal::KILL).unwrap();
    until(&cluster, |state| matches!(state, State::Restarting { attempt: 2.., reason } if reason.contains("\"port\""))).await;
    fs::write(&custom, "").unwrap();
    until(&cluster, |state| matches!(state, State::Running(_))).await;
    assert_eq!(ask(&cluster, "SELECT 'back'").await, "back");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_can_be_stopped_while_it_does_not_run() {
    let project = Project::started_once();
    let cluster = project.start().await;
    fs::write(project.data().join("custom.conf"), "port = 'none'\n").unwrap();
    kill_process(pid(&cluster), Signal::KILL).unwrap();
    until(&cluster, |state| {
        matches!(state, State::Restarting { attempt: 1.., .. })
    })
    .await;
    timeout(LIMIT, cluster.stop()).await.unwrap().unwrap();
    assert_eq!(servers_of(&project), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_cluster_asks_its_server_to_stop() {
    let project = Project::started_once();
    let cluster = project.start().await;
    let file = project.data().join("postmaster.pid");
    drop(cluster);
    let gone = async {
        while file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
}

/// Processes that work in the project's data directory.
fn servers_of(project: &Project) -> Vec<String> {
    let data = project.data();
    let works_there = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("cwd")).is_ok_and(|dir| dir == data)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(works_there)
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

#[tokio::test]
async fn an_unpacked_bundle_that_the_account_cannot_reach_is_copied() {
    let binaries = Scratch::shared().binaries();
    let Ok(inside) = binaries.dir().strip_prefix("/usr/lib/postgresql") else {
        return;
    };
    if !geteuid().is_root() {
        return;
    }
    let project = Project::new();
    let bundle = project.data_dir().join("postgres-dist");
    // The distribution's own tree under another root: its programs find their files by relative paths.
    let major = binaries.version().major.to_string();
    for part in ["lib/postgresql", "share/postgresql"] {
        fs::create_dir_all(bundle.join(part)).unwrap();
        copy(
            &Path::new("/usr").join(part).join(&major),
            &bundle.join(part).join(&major),
        );
    }
    fs::set_permissions(
        project.path().join("project"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    let options = ClusterOptions {
        binaries: Some(bundle.join("lib/postgresql").join(inside)),
        bundle_dir: Some(bundle.clone()),
        ..project.options()
    };
    let cluster = Cluster::start(options).await.unwrap();
    assert!(
        cluster
            .source()
            .contains(project.path().join("elsewhere").to_str().unwrap()),
        "{}",
        cluster.source()
    );
    assert_eq!(ask(&cluster, "SELECT 'works'").await, "works");
    cluster.stop().await.unwrap();
}
