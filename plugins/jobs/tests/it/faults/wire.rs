//! A wire between a host and the database that can be cut: what the server is doing goes on, and its answer is lost.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use nself_plugin_testkit::TestHost;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

/// The wire.
pub(super) struct Wire {
    directory: TempDir,
    url: String,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Wire {
    /// A wire to the database of that host.
    pub(super) fn new(host: &TestHost) -> Self {
        let directory = tempfile::tempdir().expect("there is room for a socket");
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432"))
            .expect("a new socket can be opened");
        let server = host.database().socket();
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        tokio::spawn(accept(listener, server.clone(), Arc::clone(&connections)));
        let place = |path: &std::path::Path| {
            let path = path.to_str().expect("the temporary directory is UTF-8");
            path.replace('/', "%2F")
        };
        let server = server.parent().expect("a socket is in a folder");
        let url = host.database().url();
        let url = url.replace(&place(server), &place(directory.path()));
        Self {
            directory,
            url,
            connections,
        }
    }

    /// How to connect over it.
    pub(super) fn url(&self) -> &str {
        assert!(self.directory.path().exists());
        &self.url
    }

    /// Cuts all connections. New ones can be made at once.
    pub(super) fn cut(&self) {
        let mut connections = self.connections.lock().expect("nobody panicked");
        connections.abort_all();
    }
}

async fn accept(listener: UnixListener, server: PathBuf, connections: Arc<Mutex<JoinSet<()>>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let server = server.clone();
        let connection = async move {
            if let Ok(mut server) = UnixStream::connect(server).await {
                // However it ends, both sides see it.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        };
        let mut connections = connections.lock().expect("nobody panicked");
        connections.spawn(connection);
    }
}
