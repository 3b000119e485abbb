//! WebSockets (RFC 6455): the host does the handshake, the framing, ping and pong, and the limits; the plugin sees messages. What is
//! written waits in the socket's connection of the [hub](crate::hub), whoever sends it.

mod deflate;

use std::{io::ErrorKind, sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use nself_plugin_api::abi::{
    capability::hub::Frame,
    error::Error,
    future::Fut,
    response::{Message, Socket, SocketProvider, Upgrade, message},
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tracing::{Instrument, Span, debug, error};

use self::deflate::Agreed;
use crate::{
    capability::{caller, error::error},
    http::{Body, Departed, InFlight, Limits, Problem},
    hub::{
        self, BINARY, Broken, CLOSE_TIMEOUT, Close, Connection, Hub, Incoming, Lost, Said, TEXT,
        Unheard, encode,
    },
    identity::Principal,
    plugin::watchdog::{Watch, Watched},
};

/// Codes of a close (RFC 6455, section 7.4.1).
mod code {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const INVALID: u16 = 1007;
    pub(super) const SIZE: u16 = 1009;
    pub(super) const ERROR: u16 = 1011;
    pub(super) const RESTART: u16 = 1012;
}

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
    let (span, caller) = (Span::current(), caller::current());
    let opening = async move {
        let departed = upgrade.await.map(Departed::try_from);
        match departed {
            Ok(Ok(departed)) => open(departed, deflate, service, caller),
            Ok(Err(failure)) => error!(%failure, "the upgrade cannot be served"),
            Err(failure) => debug!(%failure, "the upgrade broke off"),
        }
    };
    tokio::spawn(opening.instrument(span));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::from_str(&accepted(key.as_bytes())).expect("base64 is header text");
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(deflate) = deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate.header());
    }
    Ok(response)
}

/// How a server shows that it has read the key of a handshake (section 4.2.2).
fn accepted(key: &[u8]) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(digest.finish().as_ref())
}

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

/// The plugin's future that serves a socket.
type Serving = Watched<Fut<()>>;

/// Serves the socket in a task of its own, which has room for nothing but what an open socket needs: it is there for as long as that.
fn open(
    departed: Departed,
    deflate: Option<Agreed>,
    service: Service,
    caller: Option<Arc<Principal>>,
) {
    let Service {
        serve,
        in_flight,
        terms,
        watch,
        hub,
    } = service;
    let plugin = Arc::clone(in_flight.generation().plugin());
    let window = deflate.map(|deflate| deflate.window);
    let (connection, incoming) = hub.open(departed, plugin, terms.ping, window);
    let place = Place {
        hub,
        connection: Arc::clone(&connection),
    };
    let open = Arc::new(Open {
        incoming: Arc::new(Mutex::new(incoming)),
        connection,
    });
    let socket = Socket::new(Arc::clone(&open));
    let serving = caller::sync_scope(caller.clone(), || serve.run(socket));
    let conversation = converse(watch.future(serving), open, place, in_flight);
    tokio::spawn(caller::scope(caller, conversation).instrument(Span::current()));
}

/// How a conversation has come to its end.
enum End {
    Served(Result<(), Error>),
    /// Nobody is left to be served.
    Gone,
    Restart(Close),
}

/// Until the socket has closed. Its slot among the plugin's requests is held until then.
#[expect(
    clippy::manual_async_fn,
    reason = "what is captured stays where it is; as arguments of an async function it would be there twice"
)]
fn converse(
    mut serving: Serving,
    open: Arc<Open>,
    place: Place,
    in_flight: InFlight,
) -> impl Future<Output = ()> + Send {
    async move {
        let end = tokio::select! {
            served = &mut serving => End::Served(served),
            () = open.connection.gone() => End::Gone,
            restart = restarting(&in_flight, &open.connection) => End::Restart(restart),
        };
        drop(serving);
        // In a box of its own, as all that is not there while the socket is open.
        Box::pin(leave(&open, end)).await;
        drop(place);
    }
}

async fn leave(open: &Open, end: End) {
    match end {
        End::Gone => debug!("the connection was given up"),
        End::Restart(restart) => close(open, &restart).await,
        End::Served(Ok(())) => close(open, &Close::new(code::NORMAL, "")).await,
        // The peer's departure is no failure of the plugin.
        End::Served(Err(failure)) if &*failure.code.to_text() == GONE => {
            debug!(cause = failure.cause.to_text(), "the peer has gone");
            if open.connection.is_closing() {
                return dismiss(open).await;
            }
            // In case it is merely asleep; there is nobody to wait for.
            open.connection.close(&Close::new(code::AWAY, ""));
            let _ = timeout(CLOSE_TIMEOUT, open.connection.flushed()).await;
        }
        End::Served(Err(failure)) => {
            error!(
                error = failure.message.to_text(),
                cause = failure.cause.to_text(),
                "the plugin's socket failed"
            );
            let reason = "something went wrong on our side";
            close(open, &Close::new(code::ERROR, reason)).await;
        }
    }
}

/// Resolves when the socket has to end with its plugin. Where the plugin has said how, that is not before its turn: until then it
/// is served, as long as there is time.
async fn restarting(in_flight: &InFlight, connection: &Connection) -> Close {
    in_flight.ending().await;
    let Some(close) = connection.restart() else {
        let reason = "the plugin is stopping, connect again";
        return Close::new(code::RESTART, reason);
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
        while let Ok(said) = incoming.next().await {
            if matches!(said, Said::Close(_)) {
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
        open.incoming.lock().await.drain().await;
    };
    if timeout(CLOSE_TIMEOUT, leaving).await.is_err() {
        debug!("the peer did not leave in time");
    }
}

struct Open {
    incoming: Arc<Mutex<Incoming>>,
    connection: Arc<Connection>,
}

/// Code of what a plugin is told when the connection is gone.
const GONE: &str = "SOCKET_GONE";

fn gone(cause: impl std::fmt::Display) -> Error {
    error(500, GONE, "the connection is gone", cause)
}

/// How a client is closed that broke the rules of framing; nothing where it has merely gone.
fn broken(failure: &Unheard) -> Option<Close> {
    let (code, reason) = match failure {
        Unheard::Broken(Broken::Rule(_)) => (code::PROTOCOL, "this breaks the rules of framing"),
        Unheard::Broken(Broken::Text) => (code::INVALID, "a text has to be UTF-8"),
        Unheard::Broken(Broken::TooLong) => (code::SIZE, "the message is too long"),
        Unheard::Failed(error) if error.kind() == ErrorKind::InvalidData => {
            (code::INVALID, "the message was not compressed as agreed")
        }
        Unheard::Failed(_) | Unheard::Over => return None,
    };
    Some(Close::new(code, reason))
}

/// What a plugin is told of it; nothing of pings, which are answered.
fn received(said: Said) -> Option<Message> {
    let (kind, code, data) = match said {
        Said::Text(text) => (message::TEXT, 0, text.into()),
        Said::Binary(data) => (message::BINARY, 0, data.into()),
        Said::Close(close) => {
            let (code, reason) = close.unwrap_or((1005, String::new()));
            (message::CLOSE, u32::from(code), reason.into())
        }
        Said::Ping(_) | Said::Pong => return None,
    };
    Some(Message { kind, code, data })
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
                    Ok(said) => {
                        if let Some(message) = received(said) {
                            return Ok(message);
                        }
                    }
                    Err(failure) => {
                        if let Some(close) = broken(&failure) {
                            connection.close(&close);
                        }
                        return Err(gone(failure));
                    }
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
