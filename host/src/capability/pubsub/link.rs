//! The way to Redis: one task, which has two connections. One subscribes and is told messages; a connection that has subscribed takes
//! no other commands, so the other one publishes. They come and go together: while either is broken nothing is sent at all, and whoever
//! publishes learns at once that nothing was.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use nself_plugin_api::abi::stream::Stream;
use redis::{
    AsyncConnectionConfig, Client, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

use super::{
    PubSubError,
    reader::{self, Reader, Waiting},
};

/// Time to connect and to subscribe again, together.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Time for one answer. Whoever publishes waits no longer, and the connection is given up after it.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Silence after which the connection is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// Pauses between two attempts to connect.
const BACKOFF: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Commands that may wait for the connection to take them.
const PIPELINE_COMMANDS_MAX: usize = 256;

/// Whether messages can be published, and how.
#[derive(Clone)]
enum State {
    /// Nobody has tried yet.
    Starting,
    /// Nothing is connected.
    Down,
    /// Commands go there. The number tells one connection from the next.
    Up(u64, MultiplexedConnection),
}

enum Request {
    Subscribe {
        /// Each once.
        channels: Vec<String>,
        reader: Reader,
        subscribed: oneshot::Sender<Result<(), PubSubError>>,
    },
    /// Some reader was dropped.
    Gone,
    /// A command was not answered on the connection with this number.
    Broken(u64),
}

/// Both connections, and the task that has them.
pub(super) struct Link {
    requests: mpsc::UnboundedSender<Request>,
    state: watch::Sender<State>,
    /// Until somebody needs it.
    unstarted: Mutex<Option<Connection>>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let (state, _) = watch::channel(State::Starting);
        let connection = Connection {
            client,
            requests: receiver,
            state: state.clone(),
            readers: HashMap::new(),
            readers_ever: 0,
            channels: HashMap::new(),
        };
        Self {
            requests,
            state,
            unstarted: Mutex::new(Some(connection)),
        }
    }

    /// Begins to connect, unless it has begun.
    pub(super) fn start(&self) {
        let unstarted = self.unstarted.lock();
        let unstarted = unstarted.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connection) = unstarted {
            tokio::spawn(connection.run());
        }
    }

    /// Publishes, and waits until Redis has taken it.
    ///
    /// # Errors
    ///
    /// [`PubSubError::Away`] when nothing was sent; [`PubSubError::Uncertain`] when there is no answer.
    pub(super) async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), PubSubError> {
        let (number, mut commands) = self.commands().await?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(message);
        let answered = timeout(ANSWER_LIMIT, publish.query_async::<()>(&mut commands)).await;
        match answered {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_refusal(&error) => Err(PubSubError::Refused(error.to_string())),
            Ok(Err(error)) => Err(self.broken(number, error.to_string())),
            Err(_) => Err(self.broken(number, "it takes too long".to_owned())),
        }
    }

    /// Where commands go. Only who comes while the first attempt is made waits for its end.
    async fn commands(&self) -> Result<(u64, MultiplexedConnection), PubSubError> {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Starting));
        match known.await.as_deref() {
            Ok(State::Up(number, commands)) => Ok((*number, commands.clone())),
            _ => Err(PubSubError::Away),
        }
    }

    /// Nothing more is sent there; the task connects anew.
    fn broken(&self, number: u64, reason: String) -> PubSubError {
        self.state.send_if_modified(|state| {
            let is_it = matches!(state, State::Up(current, _) if *current == number);
            if is_it {
                *state = State::Down;
            }
            is_it
        });
        let _ = self.requests.send(Request::Broken(number));
        PubSubError::Uncertain(reason)
    }

    /// What is published on these channels.
    ///
    /// # Errors
    ///
    /// [`PubSubError::Refused`].
    pub(super) async fn subscribe(&self, mut channels: Vec<String>) -> Result<Stream, PubSubError> {
        channels.sort_unstable();
        channels.dedup();
        let (reader, waiting) = reader::queue();
        let subscription = Subscription {
            waiting,
            _gone: SayGone(self.requests.clone()),
        };
        let (subscribed, answer) = oneshot::channel();
        // The task ends after all who can ask, and this one can.
        let _ = self.requests.send(Request::Subscribe {
            channels,
            reader,
            subscribed,
        });
        answer.await.map_err(|_| PubSubError::Away)??;
        let chunks = stream::unfold(subscription, |mut subscription| async move {
            let chunk = subscription.waiting.next().await?;
            Some((Ok(chunk.into()), subscription))
        });
        Ok(Stream::new(chunks.boxed()))
    }
}

/// What a plugin reads from. The reader goes before the task is told of it: in the order of the fields.
struct Subscription {
    waiting: Waiting,
    _gone: SayGone,
}

/// Tells the task that a reader was dropped.
struct SayGone(mpsc::UnboundedSender<Request>);

impl Drop for SayGone {
    fn drop(&mut self) {
        // Without a task there is nothing left to end.
        let _ = self.0.send(Request::Gone);
    }
}

/// Whether Redis itself says no, and will the next time.
fn is_refusal(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// What the task has.
struct Connection {
    client: Client,
    requests: mpsc::UnboundedReceiver<Request>,
    state: watch::Sender<State>,
    readers: HashMap<u64, Reader>,
    readers_ever: u64,
    /// Who reads a channel, by the name that Redis knows.
    channels: HashMap<String, Vec<u64>>,
}

/// Both ways, of which neither is broken yet.
struct Connected {
    number: u64,
    sink: PubSubSink,
    messages: PubSubStream,
    commands: MultiplexedConnection,
}

impl Connection {
    /// Connects again and again, until nobody can ask for anything any more.
    async fn run(mut self) {
        let mut attempt = 0;
        for number in 1.. {
            match self.connect(number).await {
                Ok(connected) => {
                    if attempt > 0 {
                        info!("Redis carries messages between hosts again");
                    }
                    attempt = 0;
                    self.serve(connected).await;
                    if self.requests.is_closed() {
                        return;
                    }
                    warn!("Redis carries no messages between hosts: the connection is lost");
                }
                Err(error) if attempt == 0 => {
                    warn!(%error, "Redis carries no messages between hosts");
                }
                // That it is away has been said.
                Err(_) => {}
            }
            self.state.send_replace(State::Down);
            if !self.pause(BACKOFF[attempt.min(BACKOFF.len() - 1)]).await {
                return;
            }
            attempt += 1;
        }
    }

    /// Connects, and subscribes again to every channel that has readers. They have missed what was published meanwhile.
    async fn connect(&self, number: u64) -> RedisResult<Connected> {
        let dial = async {
            let (mut sink, messages) = self.client.get_async_pubsub().await?.split();
            if !self.channels.is_empty() {
                let channels: Vec<&String> = self.channels.keys().collect();
                sink.subscribe(channels).await?;
            }
            // Each use has a limit of its own.
            let config = AsyncConnectionConfig::new()
                .set_response_timeout(None)
                .set_pipeline_buffer_size(PIPELINE_COMMANDS_MAX);
            let commands = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            Ok::<_, RedisError>(Connected {
                number,
                sink,
                messages,
                commands,
            })
        };
        let late = |_| RedisError::from(io::Error::from(io::ErrorKind::TimedOut));
        let connected = timeout(CONNECT_LIMIT, dial).await.map_err(late)??;
        for reader in self.readers.values() {
            reader.tell_missed();
        }
        self.state
            .send_replace(State::Up(number, connected.commands.clone()));
        Ok(connected)
    }

    /// Serves until a connection breaks or nobody can ask any more.
    async fn serve(&mut self, mut connected: Connected) {
        loop {
            let goes_on = tokio::select! {
                message = timeout(SILENCE, connected.messages.next()) => match message {
                    Ok(Some(message)) => {
                        self.dispatch(message.get_channel_name(), message.get_payload_bytes());
                        true
                    }
                    Ok(None) => false,
                    Err(_) => connected.is_alive().await,
                },
                request = self.requests.recv() => match request {
                    Some(request) => self.answer(request, &mut connected).await,
                    None => false,
                },
            };
            if !goes_on {
                return;
            }
        }
    }

    fn dispatch(&self, channel: &str, message: &[u8]) {
        let readers = self.channels.get(channel).into_iter().flatten();
        let mut readers = readers.filter_map(|id| self.readers.get(id)).peekable();
        if readers.peek().is_none() {
            return;
        }
        let name = channel.split_once(':').map_or(channel, |(_, name)| name);
        let chunk = reader::chunk(name, message);
        for reader in readers {
            reader.tell(&chunk);
        }
    }

    /// Does what is asked; whether the connection can be used any further.
    async fn answer(&mut self, request: Request, connected: &mut Connected) -> bool {
        match request {
            Request::Subscribe {
                channels,
                reader,
                subscribed,
            } => {
                let is_new = |channel: &&String| !self.channels.contains_key(*channel);
                let new: Vec<&String> = channels.iter().filter(is_new).collect();
                let listens = new.is_empty() || {
                    let listens = timeout(ANSWER_LIMIT, connected.sink.subscribe(new)).await;
                    if let Ok(Err(error)) = &listens
                        && is_refusal(error)
                    {
                        let _ = subscribed.send(Err(PubSubError::Refused(error.to_string())));
                        return true;
                    }
                    matches!(listens, Ok(Ok(())))
                };
                // Where it does not, the connection is broken, and the next one subscribes to all that there is.
                self.enter(channels, reader);
                let _ = subscribed.send(Ok(()));
                listens
            }
            Request::Gone => {
                let unread = self.forget();
                unread.is_empty() || {
                    let done = timeout(ANSWER_LIMIT, connected.sink.unsubscribe(unread)).await;
                    matches!(done, Ok(Ok(())))
                }
            }
            Request::Broken(number) => number != connected.number,
        }
    }

    /// Waits, and takes in meanwhile who is to be subscribed later; false when nobody can ask any more.
    async fn pause(&mut self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        loop {
            match timeout_at(end, self.requests.recv()).await {
                Err(_) => return true,
                Ok(None) => return false,
                Ok(Some(Request::Subscribe {
                    channels,
                    reader,
                    subscribed,
                })) => {
                    self.enter(channels, reader);
                    let _ = subscribed.send(Ok(()));
                }
                Ok(Some(Request::Gone)) => drop(self.forget()),
                Ok(Some(Request::Broken(_))) => {}
            }
        }
    }

    fn enter(&mut self, channels: Vec<String>, reader: Reader) {
        let id = self.readers_ever;
        self.readers_ever += 1;
        self.readers.insert(id, reader);
        for channel in channels {
            self.channels.entry(channel).or_default().push(id);
        }
    }

    /// Forgets the readers that were dropped; the channels that nobody reads any more.
    fn forget(&mut self) -> Vec<String> {
        self.readers.retain(|_, reader| !reader.is_gone());
        let Self {
            readers, channels, ..
        } = self;
        let mut unread = Vec::new();
        channels.retain(|channel, ids| {
            ids.retain(|id| readers.contains_key(id));
            if ids.is_empty() {
                unread.push(channel.clone());
            }
            !ids.is_empty()
        });
        unread
    }
}

impl Connected {
    /// Whether Redis answers on both.
    async fn is_alive(&mut self) -> bool {
        let ping = redis::cmd("PING");
        let both = async {
            self.sink.ping::<()>().await?;
            ping.query_async::<()>(&mut self.commands).await
        };
        matches!(timeout(ANSWER_LIMIT, both).await, Ok(Ok(())))
    }
}
