//! The control socket: how the command line talks to the running host.
//!
//! `.nself/run/control.sock`, for its owner and root only. One request line, `{"command": "…", "args": {…}}`, then any
//! number of `{"progress": "…"}` lines, then `{"ok": true, "data": …}` or `{"ok": false, "error": {…}}`.

mod server;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use server::{Control, ControlError, ControlServer, HostLock, ProgressSender};

use crate::cli::CliError;

/// Longest line in either direction, bytes.
pub(crate) const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the command line asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) command: String,
    #[serde(default)]
    pub(crate) args: Value,
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reply {
    Progress { progress: String },
    Failed { ok: False, error: CliError },
    Done { ok: True, data: Value },
}

/// `true` and nothing else, so that the replies can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub(crate) struct True;

/// `false` and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub(crate) struct False;

impl From<True> for bool {
    fn from(_: True) -> Self {
        true
    }
}

impl From<False> for bool {
    fn from(_: False) -> Self {
        false
    }
}

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(flag: bool) -> Result<Self, Self::Error> {
        if flag { Ok(Self) } else { Err("expected true") }
    }
}

impl TryFrom<bool> for False {
    type Error = &'static str;

    fn try_from(flag: bool) -> Result<Self, Self::Error> {
        if flag {
            Err("expected false")
        } else {
            Ok(Self)
        }
    }
}

/// The directory of the socket, below the project's state directory.
pub(crate) fn run_directory(state_directory: &Path) -> PathBuf {
    state_directory.join("run")
}

/// A path to the socket that is short enough for `sockaddr_un` (108 bytes with the zero), however deep the project lies:
/// through the directory's descriptor, which has to stay open while the path is used.
pub(crate) struct SocketPath {
    pub(crate) path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    pub(crate) fn new(state_directory: &Path) -> std::io::Result<Self> {
        const NAME: &str = "control.sock";
        let directory = run_directory(state_directory);
        let path = directory.join(NAME);
        if path.as_os_str().len() < 100 {
            return Ok(Self {
                path,
                _directory: None,
            });
        }
        let opened = File::open(&directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", opened.as_raw_fd()));
        Ok(Self {
            path,
            _directory: Some(opened),
        })
    }
}
