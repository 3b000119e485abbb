//! At the start of a host: the last one's crash is counted, and the next one will be caught.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use tracing::{error, warn};

use super::{Crashes, Report, file::put_aside};
use crate::{control::run_directory, loader::crash, plugin::watchdog, whole_file::PRIVATE};

/// Where the handler writes, in the directory of the control socket: empty unless a host has crashed.
const NAME: &str = "crash";

/// More than a handler writes.
const BYTES_MAX: u64 = 64 * 1024;

/// Counts the crash of the host before, if it crashed, and catches those of this one. Before anything of a plugin is opened, and by
/// who holds the project's lock. What goes wrong here is said and keeps nothing from starting.
pub fn begin(state_directory: &Path) {
    let path = run_directory(state_directory).join(NAME);
    match read(&path) {
        Ok(text) => count(state_directory, &path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            warn!(file = %path.display(), %error, "cannot read what the last crash has left");
        }
    }
    let watching = open(&path).and_then(|file| crash::watch(file, watchdog::here));
    if let Err(error) = watching {
        warn!(
            file = %path.display(), %error,
            "a crash of this host will not be attributed to a plugin: make the file writable for the user that runs nself"
        );
    }
}

fn count(state_directory: &Path, path: &Path, text: &str) {
    let report = match Report::parse(text) {
        Ok(Some(report)) => report,
        Ok(None) => return,
        Err(refusal) => {
            warn!(file = %path.display(), "what the last crash has left cannot be used: {refusal}");
            return put_aside(path);
        }
    };
    let mut crashes = Crashes::read(state_directory);
    let quarantined = crashes.count(&report);
    if let Some(culprit) = &report.culprit {
        error!(
            plugin = culprit.id,
            version = culprit.version,
            quarantined,
            "the host before this one was crashed by a plugin: {report}"
        );
    } else {
        error!("the host before this one crashed, and not in a plugin: {report}");
    }
    if let Err(error) = crashes.write() {
        warn!(
            file = super::NAME, %error,
            "this crash is not counted: make the state directory writable for the user that runs nself"
        );
    }
}

/// Whoever spoils the file shall not fill the memory as well.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opened now, because a process that is crashing can open nothing it could rely on.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true);
    file.mode(PRIVATE).open(path)
}
