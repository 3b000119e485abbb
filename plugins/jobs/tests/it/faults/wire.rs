//! A wire between a host and the database that can be cut: what the server is doing goes on, and its answer is lost.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use nself_plugin_testkit::{DatabaseFront, TestHost};
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

/// The wire.
pub(super) struct Wire {
    front: DatabaseFront,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Wire {
    /// A wire to the database of that host.
    pub(super) fn new(host: &TestHost) -> Self {
        let (front, listener, server) = DatabaseFront::of(host);
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        tokio::spawn(accept(listener, server, Arc::clone(&connections)));
        Self { front, connections }
    }

    /// How to connect over it.
    pub(super) fn url(&self) -> &str {
        self.front.url()
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
