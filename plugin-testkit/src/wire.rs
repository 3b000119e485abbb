//! A wire between a host and its database that can be cut, or swallow what is said on it.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix},
    sync::watch,
    task::JoinSet,
};

use crate::{front::DatabaseFront, host::TestHost};

/// The wire. It ends with the test.
pub struct Wire {
    front: DatabaseFront,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<JoinSet<()>>,
    /// Which of them are silent: those that were made before this number.
    silent_before: watch::Sender<usize>,
    made: AtomicUsize,
}

impl Wire {
    /// A wire to the database of that host.
    pub fn new(host: &TestHost) -> Self {
        let (front, listener, server) = DatabaseFront::of(host);
        let shared = Arc::<Shared>::default();
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&shared)));
        Self {
            front,
            shared,
            accepting,
        }
    }

    /// How to connect over it.
    pub fn url(&self) -> &str {
        self.front.url()
    }

    /// Cuts all connections: what the server is doing goes on, and its answer is lost. New ones can be made at once.
    pub fn cut(&self) {
        self.shared.connections().abort_all();
    }

    /// Passes nothing more on of the connections that there are, and closes none, as a firewall does that has forgotten them. New ones
    /// can be made at once.
    pub fn swallow(&self) {
        let made = self.shared.made.load(Ordering::Relaxed);
        self.shared.silent_before.send_replace(made);
    }

    /// The same of those that are made from now on, until [`pass`](Self::pass).
    pub fn swallow_all(&self) {
        self.shared.silent_before.send_replace(usize::MAX);
    }

    /// Passes everything on again.
    pub fn pass(&self) {
        self.shared.silent_before.send_replace(0);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: UnixListener, server: PathBuf, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.made.fetch_add(1, Ordering::Relaxed);
        let connection = carry(client, server.clone(), number, Arc::clone(&shared));
        shared.connections().spawn(connection);
    }
}

/// Carries what both sides say. However it ends, both see it.
async fn carry(client: UnixStream, server: PathBuf, number: usize, shared: Arc<Shared>) {
    let Ok(server) = UnixStream::connect(server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let silence = || shared.silent_before.subscribe();
    tokio::select! {
        _ = pass(from_client, to_server, number, silence()) => {}
        _ = pass(from_server, to_client, number, silence()) => {}
    }
}

async fn pass(
    mut from: unix::OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    number: usize,
    mut silent_before: watch::Receiver<usize>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let passed = silent_before.wait_for(|before| number >= *before).await;
        passed.map_err(io::Error::other)?;
        to.write_all(&buffer[..length]).await?;
    }
}
