//! Everything before the first process: lock, programs, places, data directory, configuration. It blocks.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::FlockOperation;
use tokio_postgres::Config;

use super::{BACKUPS, ClusterError, ClusterOptions, Progress, WAL};
use crate::postgres::{
    archive::Archive,
    binaries::{Binaries, BinariesError, Search},
    bundle,
    initdb::{Init, SUPERUSER},
    log::Log,
    pidfile, place,
    server::Plan,
    settings::{self, Tcp},
};

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) socket_dir: PathBuf,
    pub(super) port: u16,
    pub(super) tcp: bool,
}

/// What the blocking half of a start finds out.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) address: Address,
    /// Holds the data directories.
    pub(super) pg: PathBuf,
    pub(super) lock: fs::File,
}

/// Everything up to the first process: lock, programs, places, data directory, configuration.
pub(super) fn prepare(options: &ClusterOptions) -> Result<Prepared, ClusterError> {
    let account = &options.account;
    let data_dir = data_dir(&options.data_dir)?;
    let lock = lock(&data_dir)?;
    let pg = place::pg_dir(&data_dir, &options.elsewhere, account)?;
    let existing = existing(&pg);
    let binaries = find(options, existing.as_ref())?;
    let binaries = bundle::reachable(
        binaries,
        options.bundle_dir.as_deref(),
        &data_dir,
        &options.elsewhere,
        account,
    )?;
    let data = match existing {
        Some((data, _)) => data,
        None => create(options, &binaries, &pg)?,
    };
    if !pg.starts_with(&data_dir) {
        (options.progress)(&Progress::Elsewhere(data.clone()));
    }
    let address = listen(options, &binaries, &pg, &data)?;
    let admin = admin(options, &address);
    let log = Log::new(pg.join("postgres.log"));
    Ok(Prepared {
        plan: Plan {
            binaries,
            account: account.clone(),
            data,
            log,
            admin,
        },
        address,
        pg,
        lock,
    })
}

/// How the host connects before there is a database of its own.
pub(super) fn admin(options: &ClusterOptions, address: &Address) -> Config {
    let mut admin = Config::new();
    admin
        .host_path(&address.socket_dir)
        .port(address.port)
        .user(SUPERUSER)
        .password(options.password.as_str())
        .dbname("postgres")
        .application_name("nself")
        .connect_timeout(Duration::from_secs(5));
    admin
}

pub(super) fn data_dir(dir: &Path) -> Result<PathBuf, ClusterError> {
    let io = |source| ClusterError::Io {
        path: dir.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dir)
        .map_err(io)?;
    fs::canonicalize(dir).map_err(io)
}

/// How long another host may take to end before it counts as running.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// Takes the lock that makes this host the only one; it is held as long as the file is open.
pub(super) fn lock(data_dir: &Path) -> Result<fs::File, ClusterError> {
    let path = data_dir.join("postgres.lock");
    let io = |source| ClusterError::Io {
        path: path.clone(),
        source,
    };
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    // A host that is just ending, or a child between fork and exec, holds the lock for a moment.
    let until = Instant::now() + LOCK_LIMIT;
    while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        let pid = if pid.trim().is_empty() {
            "?".to_owned()
        } else {
            pid.trim().to_owned()
        };
        return Err(ClusterError::Supervised {
            pid,
            data_dir: data_dir.to_owned(),
        });
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io)?;
    Ok(file)
}

/// The server that runs on the project's data now, whoever started it.
pub(super) fn server_of(data_dir: &Path) -> Option<pidfile::Postmaster> {
    // A server is recognised by its working directory, which has no links in it.
    let pg = fs::canonicalize(data_dir.join("pg")).ok()?;
    let (data, _) = existing(&pg)?;
    pidfile::running(&data)
}

/// Where backups of the data in `pg` lie: beside it, unless the operator has another place for them.
pub(super) fn shelf(options: &ClusterOptions, pg: &Path) -> PathBuf {
    options.backups.clone().unwrap_or_else(|| beside(pg))
}

/// Their usual place, beside the data in `pg`.
pub(super) fn beside(pg: &Path) -> PathBuf {
    pg.parent().unwrap_or(pg).join(BACKUPS)
}

/// The data directory in use: of several, that of the highest major, which an upgrade made last.
pub(super) fn existing(pg: &Path) -> Option<(PathBuf, u32)> {
    let dirs = fs::read_dir(pg).ok()?.flatten().map(|entry| entry.path());
    let hidden = |dir: &PathBuf| {
        dir.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'))
    };
    let numbered = dirs.filter(|dir| !hidden(dir)).filter_map(|dir| {
        let major = fs::read_to_string(dir.join("PG_VERSION"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some((dir, major))
    });
    numbered.max_by_key(|(_, major)| *major)
}

pub(super) fn find(
    options: &ClusterOptions,
    existing: Option<&(PathBuf, u32)>,
) -> Result<Binaries, ClusterError> {
    let search = Search {
        configured: options.binaries.clone(),
        bundle_dir: options.bundle_dir.clone(),
        major: existing.map(|(_, major)| *major),
    };
    Binaries::find(&search).map_err(|found| match (existing, &found) {
        (Some((data, major)), BinariesError::Missing { .. } | BinariesError::Version { .. }) => {
            ClusterError::OtherMajor {
                data: data.clone(),
                major: *major,
                found,
            }
        }
        _ => found.into(),
    })
}

fn create(
    options: &ClusterOptions,
    binaries: &Binaries,
    pg: &Path,
) -> Result<PathBuf, ClusterError> {
    let data = pg.join(binaries.version().major.to_string());
    (options.progress)(&Progress::Creating(data.clone()));
    let init = Init {
        binaries,
        account: &options.account,
        password: &options.password,
        args: &[],
        is_durable: true,
        settings: settings::INCLUDES,
    };
    init.run(&data)?;
    let custom = data.join(settings::CUSTOM_FILE);
    let write = options.account.write(&custom, settings::CUSTOM.as_bytes());
    write.map_err(|source| ClusterError::Io {
        path: custom,
        source,
    })?;
    Ok(data)
}

/// Where the server listens: a running one's address is as it is, a new one's is written down before it starts.
pub(super) fn listen(
    options: &ClusterOptions,
    binaries: &Binaries,
    pg: &Path,
    data: &Path,
) -> Result<Address, ClusterError> {
    if let Some(running) = pidfile::running(data) {
        (options.progress)(&Progress::Adopting(running.pid.as_raw_nonzero().get()));
        let tcp = settings::recorded(data).is_some();
        // One that was just started has no socket yet, and will have it where it was told to.
        let socket_dir = match running.socket_dir {
            Some(dir) => dir,
            None => place::socket_dir(pg, &options.account)?,
        };
        return Ok(Address {
            socket_dir,
            port: running.port,
            tcp,
        });
    }
    let socket_dir = place::socket_dir(pg, &options.account)?;
    let port = settings::port(options.tcp, data)?;
    if let Some(before) = settings::recorded(data).filter(|before| *before != port) {
        (options.progress)(&Progress::PortChanged(before, port));
    }
    let path = data.join(settings::FILE);
    let archive = Archive::To(shelf(options, pg).join(WAL));
    let text = settings::text(options.tcp, port, &socket_dir, &archive);
    options
        .account
        .write(&path, text.as_bytes())
        .map_err(|source| ClusterError::Io { path, source })?;
    (options.progress)(&Progress::Starting(binaries.to_string()));
    Ok(Address {
        socket_dir,
        port,
        tcp: options.tcp != Tcp::Off,
    })
}
