//! The configuration of the private server: small machine, full durability, scram everywhere.
//!
//! It stands in `nself.conf`, which `postgresql.conf` includes and which is written anew before each start; an
//! operator's own lines go to `custom.conf` beside it and win.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::Path,
};

use super::archive::Archive;

/// Lines that a new cluster's `postgresql.conf` ends with.
pub(crate) const INCLUDES: &str = "\ninclude 'nself.conf'\ninclude_if_exists 'custom.conf'\n";

/// File in the data directory that this module writes.
pub(crate) const FILE: &str = "nself.conf";

/// File in the data directory that belongs to the operator.
pub(crate) const CUSTOM_FILE: &str = "custom.conf";

/// What stands in it at first.
pub(crate) const CUSTOM: &str =
    "# Your own settings: they win over nself.conf and are never overwritten.\n";

/// Names the socket when there is no TCP port.
const SOCKET_PORT: u16 = 5432;

/// Where free ports are looked for.
const FREE_PORTS: Range<u16> = 15_432..32_000;

/// Whether programs that cannot use the socket get a loopback port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tcp {
    /// Only the Unix socket.
    Off,
    /// 127.0.0.1 with a free port, chosen once and kept.
    #[default]
    FreePort,
    /// 127.0.0.1 with this port.
    Port(u16),
}

/// Why no port could be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The operator's port belongs to somebody else.
    #[error(
        "port {0} on 127.0.0.1 is taken, so the embedded PostgreSQL cannot use it: configure another port or stop what holds it"
    )]
    Taken(u16),
    /// Not even a free port was given.
    #[error("no free port on 127.0.0.1: configure one for the embedded PostgreSQL")]
    None,
}

/// The port for this start: the wanted one, the recorded one while it is free, or a new one.
pub(crate) fn port(tcp: Tcp, data: &Path) -> Result<u16, PortError> {
    match tcp {
        Tcp::Off => Ok(SOCKET_PORT),
        Tcp::Port(port) if is_free(port) => Ok(port),
        Tcp::Port(port) => Err(PortError::Taken(port)),
        Tcp::FreePort => match recorded(data) {
            Some(port) if is_free(port) => Ok(port),
            _ => free(data).ok_or(PortError::None),
        },
    }
}

/// The port of the last start, unless that one had no TCP.
pub(crate) fn recorded(data: &Path) -> Option<u16> {
    let text = fs::read_to_string(data.join(FILE)).ok()?;
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix("= "))
    };
    if value("listen_addresses")? == "''" {
        return None;
    }
    value("port")?.parse().ok()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A free port, each project beginning its search at a place of its own. The range lies below the one that systems take
/// the ports of outgoing connections from: such a connection could hold the recorded port at the next start.
fn free(data: &Path) -> Option<u16> {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let len = u64::from(FREE_PORTS.end - FREE_PORTS.start);
    let offset =
        u16::try_from(hasher.finish() % len).expect("the range has fewer ports than there are");
    let first = FREE_PORTS.start + offset;
    (first..FREE_PORTS.end)
        .chain(FREE_PORTS.start..first)
        .find(|port| is_free(*port))
}

/// The text of `nself.conf`.
pub(crate) fn text(tcp: Tcp, port: u16, socket_dir: &Path, archive: &Archive) -> String {
    // By number: a minimal system has no /etc/hosts, and `localhost` does not resolve there.
    let listen = if tcp == Tcp::Off { "''" } else { "'127.0.0.1'" };
    let socket_dir = socket_dir.display().to_string().replace('\'', "''");
    // After a crash each file is flushed before recovery: one call for all on Linux, 0.5 s instead of 4 s.
    let sync_method = if cfg!(target_os = "linux") {
        "syncfs"
    } else {
        "fsync"
    };
    format!(
        "# Written by nself before each start: put your own settings in custom.conf beside this file.
listen_addresses = {listen}
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
ssl = off

# Eight plugin pools, the host's own, and room for psql and a backup.
max_connections = 60
superuser_reserved_connections = 3

# A small machine: memory is for the plugins.
shared_buffers = 32MB
effective_cache_size = 256MB
work_mem = 4MB
maintenance_work_mem = 64MB
max_wal_size = 512MB
min_wal_size = 80MB
wal_compression = on
jit = off

# An acknowledged write is on the disk.
fsync = on
synchronous_commit = on
full_page_writes = on
wal_level = replica
recovery_init_sync_method = {sync_method}

# Queues and logs turn over fast: clean small tables early, with few workers.
autovacuum = on
autovacuum_max_workers = 2
autovacuum_naptime = 30s
autovacuum_vacuum_scale_factor = 0.05
autovacuum_analyze_scale_factor = 0.05

# One log file, rotated by the host; statements are logged without their parameters.
logging_collector = off
log_destination = 'stderr'
log_min_messages = warning
log_line_prefix = '%m [%p] %q%u@%d '
log_parameter_max_length_on_error = 0
lc_messages = 'C'
timezone = 'UTC'
log_timezone = 'UTC'

# The log of writes is kept for backups.
{archive}",
        archive = archive.settings()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_recorded(tcp: Tcp, expected: Option<u16>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(
            dir.path().join(FILE),
            text(tcp, 6543, Path::new("/tmp/it's"), &Archive::Off),
        )
        .expect("a file in it");
        assert_eq!(recorded(dir.path()), expected, "{tcp:?}");
    }

    #[test]
    fn the_port_of_the_last_start_is_found_again() {
        check_recorded(Tcp::FreePort, Some(6543));
        check_recorded(Tcp::Port(6543), Some(6543));
        check_recorded(Tcp::Off, None);
    }

    #[test]
    fn a_taken_port_is_refused_by_number() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let number = taken.local_addr().expect("it is bound").port();
        let error = port(Tcp::Port(number), Path::new("/nowhere")).expect_err("it is taken");
        assert!(error.to_string().contains(&number.to_string()), "{error}");
    }
}
