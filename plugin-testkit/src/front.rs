//! A socket before a host's database, for tests of what becomes of what is said there.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::UnixListener;

use crate::host::TestHost;

/// A socket before a host's database. Who accepts its connections carries them to the server, or not.
pub struct DatabaseFront {
    // The socket lies in it.
    _directory: TempDir,
    url: String,
}

impl DatabaseFront {
    /// One before the database of that host: the front, where connections come in, and the server's own socket.
    ///
    /// # Panics
    ///
    /// When there is no room for a socket.
    pub fn of(host: &TestHost) -> (Self, UnixListener, PathBuf) {
        let directory = tempfile::tempdir().expect("there is room for a socket");
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432"));
        let listener = listener.expect("a new socket can be opened");
        let server = host.database().socket();
        let folder = server.parent().expect("a socket is in a folder");
        let url = host.database().url();
        let url = url.replace(&escaped(folder), &escaped(directory.path()));
        let front = Self {
            _directory: directory,
            url,
        };
        (front, listener, server)
    }

    /// How to connect over it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn escaped(path: &Path) -> String {
    let path = path.to_str().expect("the temporary directory is UTF-8");
    path.replace('/', "%2F")
}
