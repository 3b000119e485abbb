//! WebSockets (RFC 6455): the host does the handshake, the framing, ping and pong, and the limits; the plugin sees messages.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use nself_plugin_api::abi::{
    bytes::Bytes,
    error::Error,
    response::{Message, Socket, SocketProvider, Upgrade, message},
};
use tokio::{
    sync::Mutex,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tracing::{Instrument, Span, debug, error};

use crate::{
    capability::{caller, error::error},
    http::{Body, InFlight, Problem},
    plugin::watchdog::Watch,
};

/// Largest message of a client.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// For the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// `Sec-WebSocket-Key`, when the request asks for a WebSocket of the version that everybody speaks.
pub(super) fn key(headers: &HeaderMap) -> Option<HeaderValue> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    (version == "13")
        .then(|| headers.get(header::SEC_WEBSOCKET_KEY).cloned())
        .flatten()
}

/// What a socket is served with.
pub(super) struct Service {
    /// The plugin's side.
    pub(super) serve: Upgrade,
    /// Its place among the plugin's requests.
    pub(super) in_flight: InFlight,
    /// A client that has said nothing for so long is asked whether it is there, and dropped after as long again.
    pub(super) ping: Duration,
    /// Notes its polls.
    pub(super) watch: Watch,
}

/// Answers with 101 and serves the socket beside the requests. The socket holds its generation, and is asked to end with it.
pub(super) fn accept(
    key: Option<HeaderValue>,
    upgrade: Option<OnUpgrade>,
    service: Service,
) -> Result<Response<Body>, Problem> {
    let (Some(key), Some(upgrade)) = (key, upgrade) else {
        return Err(Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "WEBSOCKET_REQUIRED",
            "this address speaks WebSocket: send an upgrade request of version 13",
        )
        .header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .header(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        ));
    };
    let span = Span::current();
    let conversation = async move {
        match upgrade.await {
            Ok(upgraded) => converse(upgraded, service).await,
            Err(failure) => debug!(%failure, "the upgrade broke off"),
        }
    };
    tokio::spawn(caller::scope(caller::current(), conversation).instrument(span));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept =
        HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64 is header text");
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

type Transport = WebSocketStream<TokioIo<Upgraded>>;

async fn converse(upgraded: Upgraded, service: Service) {
    // The place is held until the socket has closed.
    let Service {
        serve,
        in_flight,
        ping,
        watch,
    } = service;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let stream =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (sink, stream) = stream.split();
    let open = Arc::new(Open {
        sink: Arc::new(Mutex::new(sink)),
        incoming: Arc::new(Mutex::new(Incoming::new(stream, ping))),
    });
    let serving = serve.run(Socket::new(Arc::clone(&open)));
    let served = tokio::select! {
        served = watch.future(serving) => served,
        () = in_flight.ending() => {
            return close(&open, CloseCode::Restart, "the plugin is stopping, connect again").await;
        }
    };
    match served {
        Ok(()) => close(&open, CloseCode::Normal, "").await,
        // The peer's departure is no failure of the plugin.
        Err(failure) if &*failure.code.to_text() == GONE => {
            debug!(cause = failure.cause.to_text(), "the peer has gone");
            // In case it is merely asleep; there is nobody to wait for.
            let _ = timeout(CLOSE_TIMEOUT, send_close(&open, CloseCode::Away, "")).await;
        }
        Err(failure) => {
            error!(
                error = failure.message.to_text(),
                cause = failure.cause.to_text(),
                "the plugin's socket failed"
            );
            close(&open, CloseCode::Error, "something went wrong on our side").await;
        }
    }
}

async fn send_close(open: &Open, code: CloseCode, reason: &str) {
    let frame = CloseFrame {
        code,
        reason: reason.to_owned().into(),
    };
    let mut sink = open.sink.lock().await;
    // Failures mean that the peer has gone, which is what closing is for.
    let _ = sink.send(tungstenite::Message::Close(Some(frame))).await;
    let _ = sink.flush().await;
}

async fn close(open: &Open, code: CloseCode, reason: &str) {
    let closing = async {
        send_close(open, code, reason).await;
        let mut incoming = open.incoming.lock().await;
        while let Some(Ok(message)) = incoming.stream.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        debug!("the peer did not close in time");
    }
}

struct Open {
    sink: Arc<Mutex<SplitSink<Transport, tungstenite::Message>>>,
    incoming: Arc<Mutex<Incoming>>,
}

/// The reading side, with one timer for the socket's whole life: setting one for every message would cost more than
/// the message.
struct Incoming {
    stream: SplitStream<Transport>,
    ping: Duration,
    silence: Pin<Box<Sleep>>,
    /// When the client was last heard, or asked.
    since: Instant,
    asked: bool,
}

/// What comes next.
enum Heard {
    Frame(Option<Result<tungstenite::Message, tungstenite::Error>>),
    Silence,
}

impl Incoming {
    fn new(stream: SplitStream<Transport>, ping: Duration) -> Self {
        Self {
            stream,
            ping,
            silence: Box::pin(sleep(ping)),
            since: Instant::now(),
            asked: false,
        }
    }

    fn poll_heard(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(frame) = self.stream.poll_next_unpin(context) {
            (self.since, self.asked) = (Instant::now(), false);
            return Poll::Ready(Heard::Frame(frame));
        }
        loop {
            ready!(self.silence.as_mut().poll(context));
            // It was set for the silence that was due when it last rang; something may have come since.
            let due = self.since + self.ping;
            if due <= Instant::now() {
                return Poll::Ready(Heard::Silence);
            }
            self.silence.as_mut().reset(due);
        }
    }
}

/// Code of what a plugin is told when the connection is gone.
const GONE: &str = "SOCKET_GONE";

fn gone(cause: impl std::fmt::Display) -> Error {
    error(500, GONE, "the connection is gone", cause)
}

fn received(frame: tungstenite::Message) -> Option<Message> {
    match frame {
        tungstenite::Message::Text(text) => Some(Message {
            kind: message::TEXT,
            code: 0,
            data: bytes::Bytes::from(text).into(),
        }),
        tungstenite::Message::Binary(data) => Some(Message {
            kind: message::BINARY,
            code: 0,
            data: data.into(),
        }),
        tungstenite::Message::Close(frame) => {
            let (code, reason) = frame.map_or((1005, String::new()), |f| {
                (f.code.into(), f.reason.to_string())
            });
            Some(Message {
                kind: message::CLOSE,
                code: u32::from(code),
                data: reason.into(),
            })
        }
        _ => None,
    }
}

fn outgoing(message: Message) -> Result<tungstenite::Message, Error> {
    let text =
        |data: Bytes| tungstenite::Utf8Bytes::try_from(bytes::Bytes::from(data)).map_err(gone);
    Ok(match message.kind {
        message::TEXT => tungstenite::Message::Text(text(message.data)?),
        message::CLOSE => tungstenite::Message::Close(Some(CloseFrame {
            code: u16::try_from(message.code).unwrap_or(1000).into(),
            reason: text(message.data)?,
        })),
        _ => tungstenite::Message::Binary(message.data.into()),
    })
}

impl SocketProvider for Open {
    fn receive(&self) -> impl Future<Output = Result<Message, Error>> + Send + 'static {
        let (incoming, sink) = (Arc::clone(&self.incoming), Arc::clone(&self.sink));
        async move {
            let mut incoming = incoming.lock().await;
            loop {
                match poll_fn(|context| incoming.poll_heard(context)).await {
                    Heard::Frame(Some(Ok(frame))) => {
                        if let Some(message) = received(frame) {
                            return Ok(message);
                        }
                    }
                    Heard::Frame(Some(Err(failure))) => return Err(gone(failure)),
                    Heard::Frame(None) => return Err(gone("closed without a close frame")),
                    Heard::Silence if incoming.asked => return Err(gone("no answer to a ping")),
                    Heard::Silence => {
                        (incoming.since, incoming.asked) = (Instant::now(), true);
                        let ping = tungstenite::Message::Ping(bytes::Bytes::new());
                        sink.lock().await.send(ping).await.map_err(gone)?;
                    }
                }
            }
        }
    }

    fn send(&self, message: Message) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let sink = Arc::clone(&self.sink);
        async move {
            let message = outgoing(message)?;
            sink.lock().await.send(message).await.map_err(gone)
        }
    }
}
