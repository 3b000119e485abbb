//! Hasura at the gateway's port. Subscriptions are Hasura's: what is said is passed on both ways, with the caller's own token and
//! nothing that would make more of them than the token does. The admin secret is not known here, and no word that begins with
//! `x-hasura-` comes through, in no header and in no `connection_init`.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod said;
mod upstream;

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nself_plugin_api::{
    bytes::Bytes,
    futures_util::future::{Either, select},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    prelude::*,
};

use self::upstream::{Heard, Upstream};
use crate::{Stream, error::StreamError};

/// Hasura's address, and no other, is where this goes.
pub(crate) const SERVER: &str = "{hasura_host}:{hasura_port}";

/// Hasura's path.
const PATH: &str = "/v1/graphql";

/// What is spoken over a WebSocket: the protocol of today, and the one of Apollo's first clients.
const PROTOCOLS: [&str; 2] = ["graphql-transport-ws", "graphql-ws"];

/// How long a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer to a query.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What a client that does not keep to the protocol is closed with, as the protocol has it.
const BAD_REQUEST: u16 = 4400;

/// Hasura has gone, or what it says is not to be understood.
const AWAY: u16 = 1012;

/// Passes a query on.
///
/// # Errors
///
/// `STREAM_GRAPHQL_OFF` without an address, `STREAM_GRAPHQL_AWAY` when Hasura does not answer.
pub(crate) async fn ask(cx: &Cx<Stream>, headers: &HeaderMap, body: Bytes) -> Result<Response> {
    let config = &cx.plugin().config;
    let host = config.hasura_host.as_deref();
    let host = host.ok_or(StreamError::GraphqlOff)?;
    let scheme = if config.hasura_tls { "https" } else { "http" };
    let url = format!("{scheme}://{host}:{}{PATH}", config.hasura_port);
    let mut request = cx.http().request("POST", &url).timeout(QUERY_TIMEOUT);
    request = request.header("content-type", "application/json");
    if let Some(token) = bearer(headers) {
        request = request.header("authorization", token);
    }
    let answer = request
        .body(body)
        .send()
        .await
        .map_err(|error| away(&error))?;
    let status = StatusCode::from_u16(answer.status()).map_err(Error::internal)?;
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let body = answer
        .bytes(ANSWER_BYTES_MAX)
        .await
        .map_err(|error| away(&error))?;
    let response = Response::new(status, body);
    Ok(match kind {
        Some(kind) => response.header(CONTENT_TYPE, kind),
        None => response,
    })
}

/// Connects to Hasura in the name of a client, by a protocol that it offers.
///
/// # Errors
///
/// As [`ask`]; `STREAM_REQUEST` when the client offers no protocol that is spoken.
pub(crate) async fn open(cx: &Cx<Stream>, headers: &HeaderMap) -> Result<(Upstream, &'static str)> {
    let host = cx.plugin().config.hasura_host.as_deref();
    let host = host.ok_or(StreamError::GraphqlOff)?;
    let offered = handshake::offered(headers);
    let protocol = PROTOCOLS.into_iter().find(|one| offered.contains(one));
    let protocol = protocol.ok_or_else(|| {
        let expected = "Sec-WebSocket-Protocol: expected graphql-transport-ws or graphql-ws";
        StreamError::Request(expected.to_owned())
    })?;
    let opened = Upstream::open(cx, host, protocol, bearer(headers)).await;
    Ok((opened.map_err(|error| away(&error))?, protocol))
}

fn away(error: &Error) -> Error {
    let cause = error.to_string();
    Error::from(StreamError::GraphqlAway).with_cause(cause)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, _) = token.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Answers with 101, and passes on what is said until one of the two closes.
pub(crate) fn websocket(upstream: Upstream, protocol: &'static str) -> Result<WebSocket> {
    let upstream = Arc::new(Mutex::new(Some(upstream)));
    let websocket = WebSocket::new(move |socket| {
        let upstream = upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        async move {
            match upstream {
                Some(upstream) => pass_on(&socket, &upstream).await,
                None => Ok(()),
            }
        }
    });
    websocket.protocol(protocol)
}

async fn pass_on(socket: &Socket, upstream: &Upstream) -> Result<()> {
    let up = pin!(to_hasura(socket, upstream));
    let down = pin!(to_client(socket, upstream));
    let end = match select(up, down).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    };
    match end {
        Ok(Some(close)) => socket.send(close).await,
        Ok(None) => Ok(()),
        Err(_) => socket.send(gone()).await,
    }
}

fn gone() -> Message {
    Message::Close(AWAY, "Hasura has gone".to_owned())
}

/// What the client is closed with; nothing when it has closed by itself.
async fn to_hasura(socket: &Socket, upstream: &Upstream) -> Result<Option<Message>> {
    loop {
        let text = match socket.receive().await? {
            Message::Text(text) => said::cleaned(text),
            Message::Binary(_) => None,
            Message::Close(code, reason) => {
                upstream.close(code, reason).await?;
                return Ok(None);
            }
        };
        let Some(text) = text else {
            upstream.close(1000, String::new()).await?;
            return Ok(Some(Message::Close(
                BAD_REQUEST,
                "Invalid message received".to_owned(),
            )));
        };
        upstream.say(text).await?;
    }
}

/// The same. Who does not read is not written to, and so Hasura is not read.
async fn to_client(socket: &Socket, upstream: &Upstream) -> Result<Option<Message>> {
    loop {
        match upstream.hear().await? {
            Heard::Text(text) => socket.send(Message::Text(text)).await?,
            Heard::Close(code, reason) => return Ok(Some(Message::Close(code, reason))),
            Heard::End => return Ok(Some(gone())),
        }
    }
}
