//! What a host asks the database: its connections go through here, and every statement is counted by its text.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use nself_plugin_testkit::{DatabaseFront, TestHost};
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix},
};

/// Statements, and how often they were carried out.
pub(crate) type Counts = HashMap<String, usize>;

/// The protocol, which a session begins with.
const VERSION: [u8; 4] = [0, 3, 0, 0];

/// The way to the database.
pub(crate) struct Questions {
    front: DatabaseFront,
    counts: Arc<Mutex<Counts>>,
}

impl Questions {
    /// A way to the database of that host, for another one.
    pub(crate) fn of(host: &TestHost) -> Self {
        let (front, listener, server) = DatabaseFront::of(host);
        let counts = Arc::<Mutex<Counts>>::default();
        tokio::spawn(accept(listener, server, Arc::clone(&counts)));
        Self { front, counts }
    }

    /// How to connect over it.
    pub(crate) fn url(&self) -> &str {
        self.front.url()
    }

    /// What was asked until now.
    pub(crate) fn counts(&self) -> Counts {
        locked(&self.counts).clone()
    }
}

fn locked(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().expect("nobody panicked")
}

async fn accept(listener: UnixListener, server: PathBuf, counts: Arc<Mutex<Counts>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, counts) = (server.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            if let Ok(server) = UnixStream::connect(server).await {
                let ((questions, mut answers_to), (mut answers, questions_to)) =
                    (client.into_split(), server.into_split());
                // However it ends, both sides see it.
                tokio::select! {
                    _ = count(questions, questions_to, &counts) => {}
                    _ = io::copy(&mut answers, &mut answers_to) => {}
                }
            }
        });
    }
}

/// Hands on what the host says, and counts the statements in it (PostgreSQL, Frontend/Backend Protocol, Message Formats).
async fn count(
    mut from: unix::OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    counts: &Mutex<Counts>,
) -> io::Result<()> {
    let mut prepared = HashMap::new();
    // What comes before the session has no kind: a question for TLS, which the server says no to, and the beginning.
    loop {
        let first = body(&mut from).await?;
        write(&mut to, None, &first).await?;
        if first.starts_with(&VERSION) {
            break;
        }
    }
    loop {
        let kind = from.read_u8().await?;
        let message = body(&mut from).await?;
        match kind {
            b'P' => {
                let mut texts = texts(&message);
                let (name, statement) = (texts.next(), texts.next());
                prepared.insert(name.unwrap_or_default(), statement.unwrap_or_default());
            }
            b'B' => {
                let name = texts(&message).nth(1).unwrap_or_default();
                let statement = prepared.get(&name).cloned();
                let statement = statement.expect("what is bound was prepared");
                *locked(counts).entry(statement).or_default() += 1;
            }
            b'Q' => {
                let statement = texts(&message).next().unwrap_or_default();
                *locked(counts).entry(statement).or_default() += 1;
            }
            _ => {}
        }
        write(&mut to, Some(kind), &message).await?;
    }
}

/// The texts that a message begins with.
fn texts(message: &[u8]) -> impl Iterator<Item = String> {
    let texts = message.split(|byte| *byte == 0);
    texts.map(|text| String::from_utf8_lossy(text).into_owned())
}

/// What stands behind a length, which counts itself.
async fn body(from: &mut unix::OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = usize::try_from(from.read_u32().await?).expect("it is 32 bits");
    let mut message = vec![0; length - size_of::<u32>()];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(to: &mut unix::OwnedWriteHalf, kind: Option<u8>, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len() + size_of::<u32>()).expect("it was one");
    let mut whole: Vec<u8> = kind.into_iter().collect();
    whole.extend(length.to_be_bytes());
    whole.extend(message);
    to.write_all(&whole).await
}
