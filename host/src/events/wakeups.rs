//! One connection per process that listens, and the readers that it wakes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Socket};

/// Opens a connection whose notifications can be heard.
pub type Dial =
    Arc<dyn Fn() -> BoxFuture<'static, Result<(Client, Messages), Error>> + Send + Sync>;

/// What a connection hears while it is driven; ends with the connection.
type Messages = BoxStream<'static, Result<AsyncMessage, Error>>;

/// A [`Dial`] for `config` over `tls`.
pub fn dial<T>(config: Config, tls: T) -> Dial
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    Arc::new(move || {
        let (config, tls) = (config.clone(), tls.clone());
        async move {
            let (client, connection) = config.connect(tls).await?;
            Ok((client, messages(connection)))
        }
        .boxed()
    })
}

fn messages<S, T>(mut connection: Connection<S, T>) -> Messages
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    stream::poll_fn(move |context| connection.poll_message(context)).boxed()
}

const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Wakes readers by name.
pub(super) struct Wakeups {
    readers: Arc<Readers>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Readers(Mutex<HashMap<String, Arc<Notify>>>);

impl Readers {
    fn of(&self, name: &str) -> Arc<Notify> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.entry(name.to_owned()).or_default().clone()
    }

    fn wake_all(&self) {
        let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.values().for_each(|reader| reader.notify_one());
    }
}

impl Wakeups {
    pub(super) fn start(dial: Dial) -> Self {
        let readers = Arc::new(Readers::default());
        let listener = tokio::spawn(listen_for_ever(dial, readers.clone()));
        Self { readers, listener }
    }

    /// What is notified when `subscriber` should look at the log. A wake-up before the wait is not lost.
    pub(super) fn of(&self, subscriber: &str) -> Arc<Notify> {
        self.readers.of(subscriber)
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for Wakeups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wakeups").finish_non_exhaustive()
    }
}

async fn listen_for_ever(dial: Dial, readers: Arc<Readers>) {
    let mut pause = RECONNECT_PAUSE;
    loop {
        match listen(&dial, &readers, &mut pause).await {
            Ok(()) => tracing::info!("the connection that listens for events was closed"),
            Err(error) => tracing::warn!(%error, "the connection that listens for events was lost"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
    }
}

async fn listen(dial: &Dial, readers: &Readers, pause: &mut Duration) -> Result<(), Error> {
    let (client, mut messages) = dial().await?;
    // The connection does its work only while its messages are taken, also for LISTEN itself.
    let mut subscribe = std::pin::pin!(client.batch_execute("LISTEN nself_events").fuse());
    loop {
        tokio::select! {
            outcome = &mut subscribe => {
                outcome?;
                *pause = RECONNECT_PAUSE;
                // Whatever was notified while nobody listened.
                readers.wake_all();
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(notification))) => readers.of(notification.payload()).notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}
