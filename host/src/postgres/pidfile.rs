//! `postmaster.pid`: read to find a server that outlived its host. It is never written and never deleted here: it is
//! what keeps two servers from writing one data directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::Pid;

/// A running server of one data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postmaster {
    pub(crate) pid: Pid,
    pub(crate) port: u16,
    /// None as long as it has no socket: the line is empty until then.
    pub(crate) socket_dir: Option<PathBuf>,
}

/// The server that runs on `data` now, however far it is with starting or stopping.
pub(crate) fn running(data: &Path) -> Option<Postmaster> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    parse(&text).filter(|postmaster| serves(postmaster.pid, data))
}

/// Whether the server on `data` says that it accepts connections. Trying before that only fills its log.
pub(crate) fn says_ready(data: &Path) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    text.lines()
        .nth(STATE_LINE)
        .is_some_and(|state| state.trim_end() == "ready")
}

/// The last line, padded with spaces: `starting`, `ready`, `standby` or `stopping`.
const STATE_LINE: usize = 7;

/// Process, data directory, start time, port, socket directory, address, shared memory, state: one a line.
fn parse(text: &str) -> Option<Postmaster> {
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.trim().parse().ok()?)?;
    let port = lines.nth(2)?.trim().parse().ok()?;
    let socket_dir = Some(lines.next()?).filter(|line| !line.is_empty());
    Some(Postmaster {
        pid,
        port,
        socket_dir: socket_dir.map(PathBuf::from),
    })
}

/// Whether the process is alive and a server of this directory: its number may belong to somebody else by now.
fn serves(pid: Pid, data: &Path) -> bool {
    if !is_alive(pid) {
        return false;
    }
    // A server works in its data directory. Where there is no /proc, being alive must do.
    match fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())) {
        Ok(dir) => dir == data,
        Err(error) => {
            error.kind() == std::io::ErrorKind::NotFound && !Path::new("/proc/self").exists()
        }
    }
}

/// Whether the process exists, also when it is another account's.
pub(crate) fn is_alive(pid: Pid) -> bool {
    match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "4711\n/srv/x/.nself/pg/15\n1732550000\n6543\n/srv/x/.nself/pg/run\n127.0.0.1\n  6294   \nready   \n";

    #[test]
    fn the_address_of_a_running_server_is_read() {
        let postmaster = parse(TEXT).expect("it is whole");
        assert_eq!(postmaster.pid.as_raw_nonzero().get(), 4711);
        assert_eq!(
            (postmaster.port, postmaster.socket_dir),
            (6543, Some(PathBuf::from("/srv/x/.nself/pg/run")))
        );
    }

    #[test]
    fn a_server_that_is_just_starting_has_no_socket_yet() {
        let text = TEXT.replace("/srv/x/.nself/pg/run\n127.0.0.1", "\n");
        let postmaster = parse(&text).expect("it is there");
        assert_eq!((postmaster.port, postmaster.socket_dir), (6543, None));
    }

    #[test]
    fn a_file_that_is_still_being_written_names_no_server() {
        assert_eq!(parse("4711\n/srv/x"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_reused_process_number_is_not_taken_for_a_server() {
        let me = rustix::process::getpid();
        assert!(is_alive(me));
        assert!(!serves(me, Path::new("/srv/x/.nself/pg/15")));
    }
}
