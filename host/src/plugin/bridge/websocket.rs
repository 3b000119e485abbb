//! WebSockets (RFC 6455): the host does the handshake, the framing, ping and pong, and the limits; the plugin sees messages. What is
//! written waits in the socket's connection of the [hub](crate::hub), whoever sends it.

mod deflate;

use std::{io::ErrorKind, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use nself_plugin_api::abi::{
    capability::hub::Frame,
    error::Error,
    response::{Message, Socket, SocketProvider, Upgrade, message},
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        error::ProtocolError,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tracing::{Instrument, Span, debug, error};

use self::deflate::Agreed;
use crate::{
    capability::{caller, error::error},
    http::{Body, Departed, InFlight, Limits, Problem},
    hub::{self, BINARY, CLOSE_TIMEOUT, Close, Connection, Hub, Lost, TEXT, Wire, encode},
    plugin::watchdog::Watch,
};

/// Largest message of a client.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What the operator has said about WebSockets.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// A client that has said nothing for so long is asked whether it is there, and dropped after as long again.
    ping: Duration,
    /// Whether messages are compressed for clients that offer it.
    is_deflating: bool,
}

impl Terms {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            ping: limits.websocket_ping,
            is_deflating: limits.websocket_deflate,
        }
    }
}

/// What a request says that asks for a WebSocket of the version that everybody speaks.
pub(super) struct Handshake {
    key: HeaderValue,
    deflate: Option<Agreed>,
}

impl Handshake {
    pub(super) fn read(headers: &HeaderMap, terms: Terms) -> Option<Self> {
        let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
        let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
        (version == "13").then(|| Self {
            key: key.clone(),
            deflate: terms
                .is_deflating
                .then(|| deflate::agree(headers))
                .flatten(),
        })
    }
}

/// What a socket is served with.
pub(super) struct Service {
    /// The plugin's side.
    pub(super) serve: Upgrade,
    /// Its place among the plugin's requests.
    pub(super) in_flight: InFlight,
    /// What the operator has said.
    pub(super) terms: Terms,
    /// Notes its polls.
    pub(super) watch: Watch,
    /// Has the open sockets.
    pub(super) hub: Arc<Hub>,
}

/// Answers with 101 and serves the socket beside the requests. The socket holds its generation, and is asked to end with it.
pub(super) fn accept(
    handshake: Option<Handshake>,
    upgrade: Option<OnUpgrade>,
    service: Service,
) -> Result<Response<Body>, Problem> {
    let (Some(Handshake { key, deflate }), Some(upgrade)) = (handshake, upgrade) else {
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
        let departed = upgrade.await.map(Departed::try_from);
        match departed {
            Ok(Ok(departed)) => converse(departed, deflate, service).await,
            Ok(Err(failure)) => error!(%failure, "the upgrade cannot be served"),
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
    if let Some(deflate) = deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate.header());
    }
    Ok(response)
}

type Transport = WebSocketStream<Wire>;

/// What the codec takes at a time of what was read. It is there for each connection, for as long as it is open.
const READ_BUFFER_BYTES: usize = 128;

/// The place among the open sockets, given up however the conversation ends.
struct Place {
    hub: Arc<Hub>,
    connection: Arc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.close(&self.connection);
    }
}

async fn converse(departed: Departed, deflate: Option<Agreed>, service: Service) {
    // The slot is held until the socket has closed.
    let Service {
        serve,
        in_flight,
        terms,
        watch,
        hub,
    } = service;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let plugin = Arc::clone(in_flight.generation().plugin());
    let window = deflate.map(|deflate| deflate.window);
    let (connection, wire) = hub.open(departed, plugin, terms.ping, window);
    let _place = Place {
        hub,
        connection: Arc::clone(&connection),
    };
    // In a box of its own, as all that is not there while the socket is open: the task has room for the largest of its steps all along.
    let stream = Box::pin(WebSocketStream::from_raw_socket(
        wire,
        Role::Server,
        Some(config),
    ))
    .await;
    let open = Arc::new(Open {
        incoming: Arc::new(Mutex::new(stream)),
        connection,
    });
    let serving = watch.future(serve.run(Socket::new(Arc::clone(&open))));
    let served = tokio::select! {
        served = serving => served,
        // Nobody is left to be served.
        () = open.connection.gone() => return debug!("the connection was given up"),
        restart = restarting(&in_flight, &open.connection) => return Box::pin(close(&open, &restart)).await,
    };
    match served {
        Ok(()) => Box::pin(close(&open, &Close::new(CloseCode::Normal.into(), ""))).await,
        // The peer's departure is no failure of the plugin.
        Err(failure) if &*failure.code.to_text() == GONE => {
            debug!(cause = failure.cause.to_text(), "the peer has gone");
            if open.connection.is_closing() {
                return dismiss(&open).await;
            }
            // In case it is merely asleep; there is nobody to wait for.
            let away = Close::new(CloseCode::Away.into(), "");
            open.connection.close(&away);
            let _ = Box::pin(timeout(CLOSE_TIMEOUT, open.connection.flushed())).await;
        }
        Err(failure) => {
            error!(
                error = failure.message.to_text(),
                cause = failure.cause.to_text(),
                "the plugin's socket failed"
            );
            let reason = "something went wrong on our side";
            Box::pin(close(&open, &Close::new(CloseCode::Error.into(), reason))).await;
        }
    }
}

/// Resolves when the socket has to end with its plugin. Where the plugin has said how, that is not before its turn: until then it
/// is served, as long as there is time.
async fn restarting(in_flight: &InFlight, connection: &Connection) -> Close {
    in_flight.ending().await;
    let Some(close) = connection.restart() else {
        let reason = "the plugin is stopping, connect again";
        return Close::new(CloseCode::Restart.into(), reason);
    };
    let turn = hub::turn(connection.number(), in_flight.generation().served());
    Box::pin(async {
        tokio::select! {
            () = sleep(turn) => {}
            () = in_flight.cut() => {}
        }
    })
    .await;
    close
}

async fn close(open: &Open, why: &Close) {
    open.connection.close(why);
    let closing = async {
        open.connection.flushed().await;
        let mut incoming = open.incoming.lock().await;
        while let Some(Ok(message)) = incoming.next().await {
            if message.is_close() {
                break;
            }
        }
        // The answer to its close, where it was the first.
        open.connection.flushed().await;
    };
    if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        debug!("the peer did not close in time");
    }
}

/// Waits until a client that broke the rules has gone. It may still be sending, and a socket that is dropped with something unread
/// takes back the close that says why.
async fn dismiss(open: &Open) {
    let leaving = async {
        open.connection.flushed().await;
        open.connection.shut().await;
        let mut incoming = open.incoming.lock().await;
        let _ = tokio::io::copy(incoming.get_mut(), &mut tokio::io::sink()).await;
    };
    if timeout(CLOSE_TIMEOUT, leaving).await.is_err() {
        debug!("the peer did not leave in time");
    }
}

struct Open {
    incoming: Arc<Mutex<Transport>>,
    connection: Arc<Connection>,
}

/// Code of what a plugin is told when the connection is gone.
const GONE: &str = "SOCKET_GONE";

fn gone(cause: impl std::fmt::Display) -> Error {
    error(500, GONE, "the connection is gone", cause)
}

/// How a client is closed that broke the rules of framing; nothing where it has merely gone.
fn broken(failure: &tungstenite::Error) -> Option<Close> {
    let (code, reason) = match failure {
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return None,
        tungstenite::Error::Protocol(_) => {
            (CloseCode::Protocol, "this breaks the rules of framing")
        }
        tungstenite::Error::Utf8(_) => (CloseCode::Invalid, "a text has to be UTF-8"),
        tungstenite::Error::Capacity(_) => (CloseCode::Size, "the message is too long"),
        tungstenite::Error::Io(error) if error.kind() == ErrorKind::InvalidData => (
            CloseCode::Invalid,
            "the message was not compressed as agreed",
        ),
        _ => return None,
    };
    Some(Close::new(code.into(), reason))
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

/// A message as a frame; nothing for a close, which is none.
fn outgoing(message: &Message) -> Result<Option<Frame>, Error> {
    let data = message.data.as_slice();
    let opcode = match message.kind {
        message::CLOSE => return Ok(None),
        message::TEXT => {
            std::str::from_utf8(data).map_err(gone)?;
            TEXT
        }
        _ => BINARY,
    };
    Ok(Some(Frame::new(Arc::new(encode(opcode, data)))))
}

impl SocketProvider for Open {
    fn receive(&self) -> impl Future<Output = Result<Message, Error>> + Send + 'static {
        let (incoming, connection) = (Arc::clone(&self.incoming), Arc::clone(&self.connection));
        async move {
            let mut incoming = incoming.lock().await;
            let _listening = connection.listen();
            loop {
                let heard = tokio::select! {
                    biased;
                    heard = incoming.next() => heard,
                    lost = connection.lost() => return Err(gone(match lost {
                        Lost::Silent => "no answer to a ping",
                        Lost::Gone => "it takes nothing any more",
                    })),
                };
                match heard {
                    Some(Ok(frame)) => {
                        if frame.is_close() {
                            // The codec's answer is the close: it has the client's code, or says what is wrong with that.
                            let _ = incoming.flush().await;
                        }
                        if let Some(message) = received(frame) {
                            return Ok(message);
                        }
                    }
                    Some(Err(failure)) => {
                        if let Some(close) = broken(&failure) {
                            connection.close(&close);
                        }
                        return Err(gone(failure));
                    }
                    None => return Err(gone("closed without a close frame")),
                }
            }
        }
    }

    fn send(&self, message: Message) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let connection = Arc::clone(&self.connection);
        async move {
            let Some(frame) = outgoing(&message)? else {
                let code = u16::try_from(message.code).unwrap_or(1000);
                let reason = message.data.to_text();
                connection.close(&Close::new(code, &reason));
                return Ok(());
            };
            let is_sent = connection.send_in_turn(frame).await;
            is_sent.then_some(()).ok_or_else(|| gone("it is closed"))
        }
    }

    fn number(&self) -> u64 {
        self.connection.number()
    }
}
