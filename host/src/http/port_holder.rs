//! Which process holds a port: a taken port should not send anybody to `lsof`.

use std::fmt;
use std::fs;
use std::path::Path;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    /// Process id.
    pub pid: u32,
    /// Its command's name.
    pub name: String,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Who listens on a TCP port, as far as the kernel tells this process. `None` off Linux, and for other users'
/// processes when not running as root.
pub(super) fn find(port: u16) -> Option<PortHolder> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|path| listening(&fs::read_to_string(path).ok()?, port))?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbered = processes
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    let (pid, path) = numbered.find(|(_, path): &(u32, _)| holds(path, &socket))?;
    let name = fs::read_to_string(path.join("comm")).ok()?;
    Some(PortHolder {
        pid,
        name: name.trim().to_owned(),
    })
}

/// The inode of the listening socket in the kernel's table (`man 5 proc`): columns are sl, local address, remote
/// address, state (0A listens), queues, timer, retransmits, uid, timeout, inode.
fn listening(table: &str, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    let lines = table
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut found = lines
        .filter(|columns| columns.len() > 9 && columns[1].ends_with(&suffix) && columns[3] == "0A");
    found.next()?[9].parse().ok()
}

fn holds(process: &Path, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .flatten()
        .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket))
}
