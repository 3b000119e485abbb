//! LISTEN: one connection per plugin, shared by its channels, that comes back by itself.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use nself_plugin_api::abi::{error::Error, stream::Stream};
use postgres_protocol::escape::escape_identifier;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tokio_postgres::{AsyncMessage, Client, Notification};
use tracing::warn;

use super::failure;
use crate::postgres::connect::Target;

/// Notifications that may wait for one reader. One that is slower misses some, and is told as after a reconnect.
const WAITING_MAX: usize = 1_024;

/// Pauses between two attempts to reconnect.
const BACKOFF: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// What a reader gets: a zero byte and the payload, or nothing for "look for yourself".
type Chunk = Vec<u8>;

struct Subscribe {
    channel: String,
    reader: mpsc::Sender<Chunk>,
    listening: oneshot::Sender<Result<(), Error>>,
}

/// The connection, started when first needed.
pub(super) struct Listener {
    target: Target,
    requests: Mutex<Option<mpsc::UnboundedSender<Subscribe>>>,
}

impl Listener {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            requests: Mutex::new(None),
        }
    }

    pub(super) async fn listen(self: Arc<Self>, channel: String) -> Result<Stream, Error> {
        let (reader, chunks) = mpsc::channel(WAITING_MAX);
        let (listening, listens) = oneshot::channel();
        self.request(Subscribe {
            channel,
            reader,
            listening,
        });
        listens.await.map_err(failure::away)??;
        Ok(Stream::new(
            stream::unfold(chunks, move |mut chunks| {
                // Keeps the listener, and so its connection, while there is a reader.
                let _listener = &self;
                async move { chunks.recv().await.map(|chunk| (Ok(chunk.into()), chunks)) }
            })
            .boxed(),
        ))
    }

    fn request(&self, subscribe: Subscribe) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let unsent = match requests.as_ref() {
            Some(requests) => match requests.send(subscribe) {
                Ok(()) => return,
                Err(unsent) => unsent.0,
            },
            None => subscribe,
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(
            Connection {
                target: self.target.clone(),
                readers: HashMap::new(),
            }
            .run(receiver),
        );
        // The receiver is alive: its task has just been spawned.
        let _ = sender.send(unsent);
        *requests = Some(sender);
    }
}

struct Reader {
    chunks: mpsc::Sender<Chunk>,
    /// Something was dropped because it was too slow: it is told to look for itself before the next payload.
    behind: bool,
}

impl Reader {
    /// Hands the chunk over if there is room; whether the reader is still there.
    fn tell(&mut self, chunk: Chunk) -> bool {
        if self.behind && self.chunks.try_send(Vec::new()).is_ok() {
            self.behind = false;
        }
        match self.chunks.try_send(chunk) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.behind = true;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// The task that owns the connection. It ends when the listener is dropped.
struct Connection {
    target: Target,
    readers: HashMap<String, Vec<Reader>>,
}

impl Connection {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Subscribe>) {
        let mut attempt = 0;
        loop {
            match self.connect().await {
                Ok((client, notifications)) => {
                    attempt = 0;
                    self.serve(&client, notifications, &mut requests).await;
                }
                Err(failure) => {
                    warn!(attempt, error = %failure, "cannot connect to listen");
                    // Whoever asks while the database is away is told so, instead of waiting for it.
                    while let Ok(subscribe) = requests.try_recv() {
                        let _ = subscribe.listening.send(Err(failure::statement(&failure)));
                    }
                }
            }
            if requests.is_closed() && requests.is_empty() {
                return;
            }
            tokio::time::sleep(BACKOFF[attempt.min(BACKOFF.len() - 1)]).await;
            attempt += 1;
        }
    }

    /// Connects, and listens again to every channel that has readers.
    async fn connect(
        &mut self,
    ) -> Result<(Client, mpsc::Receiver<Notification>), tokio_postgres::Error> {
        let (client, mut connection) = self.target.connect().await?;
        let (sender, notifications) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message
                    && sender.send(notification).await.is_err()
                {
                    return;
                }
            }
        });
        for (channel, readers) in &mut self.readers {
            client.batch_execute(&listen_sql(channel)).await?;
            readers.retain_mut(|reader| reader.tell(Vec::new()));
        }
        Ok((client, notifications))
    }

    /// Serves until the connection breaks or the listener is gone.
    async fn serve(
        &mut self,
        client: &Client,
        mut notifications: mpsc::Receiver<Notification>,
        requests: &mut mpsc::UnboundedReceiver<Subscribe>,
    ) {
        loop {
            tokio::select! {
                notification = notifications.recv() => match notification {
                    Some(notification) => self.dispatch(client, &notification).await,
                    None => return,
                },
                subscribe = requests.recv() => {
                    let Some(Subscribe { channel, reader, listening }) = subscribe else { return };
                    let listened = client.batch_execute(&listen_sql(&channel)).await;
                    self.readers.entry(channel).or_default().push(Reader { chunks: reader, behind: false });
                    let broken = listened.as_ref().is_err_and(tokio_postgres::Error::is_closed);
                    let _ = listening.send(listened.map_err(|error| failure::statement(&error)));
                    if broken {
                        return;
                    }
                }
            }
        }
    }

    async fn dispatch(&mut self, client: &Client, notification: &Notification) {
        let Some(readers) = self.readers.get_mut(notification.channel()) else {
            return;
        };
        let payload = notification.payload().as_bytes();
        readers.retain_mut(|reader| {
            let mut chunk = Vec::with_capacity(payload.len() + 1);
            chunk.push(0);
            chunk.extend_from_slice(payload);
            reader.tell(chunk)
        });
        if readers.is_empty() {
            self.readers.remove(notification.channel());
            // A failure means that the connection broke, which ends the listening as well.
            let _ = client
                .batch_execute(&format!(
                    "unlisten {}",
                    escape_identifier(notification.channel())
                ))
                .await;
        }
    }
}

fn listen_sql(channel: &str) -> String {
    format!("listen {}", escape_identifier(channel))
}
