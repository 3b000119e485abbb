//! Server-sent events, for `EventSource`, curl and devices: Centrifugo's unidirectional protocol, and Mercure's reading side.

use std::collections::BTreeMap;

use nself_plugin_api::{
    Schema,
    extract::{Body, Extract, Request},
    futures_util::{Stream as Events, StreamExt, stream::BoxStream},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{AUTHORIZATION, COOKIE},
    },
    prelude::*,
    respond::Respond,
};
use serde::Deserialize;

use crate::{
    Stream,
    error::StreamError,
    one_way::{self, CHANNELS_MAX, Telling, Wording},
    protocol::{ConnectRequest, SubscribeRequest},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Where what is sent begins, for clients that can look at the head of an answer.
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");
/// Its value when something was lost.
const EARLIEST: HeaderValue = HeaderValue::from_static("earliest");

/// What a GET of Centrifugo's clients says.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default)]
pub(crate) struct Connect {
    /// The connect request: JSON with `token` and `subs`.
    pub cf_connect: String,
}

/// What a GET of Mercure's clients says.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default)]
pub(crate) struct Topics {
    /// A channel; as often as there are channels.
    pub topic: Vec<String>,
    /// The same under the name that newer drafts have for it.
    #[serde(rename = "match")]
    pub matched: Vec<String>,
    /// The id of the last event that the client has; a header `Last-Event-ID` goes before it.
    #[serde(rename = "lastEventID")]
    pub last_event_id: Option<String>,
    /// The same.
    #[serde(rename = "last_event_id")]
    pub last: Option<String>,
}

impl Extract for Topics {
    const QUERY: Option<&'static nself_plugin_api::schema::Shape> = Some(&Self::SHAPE);

    async fn extract(request: &mut Request) -> Result<Self> {
        let query = request.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|error| StreamError::Request(format!("query string: {error}")))?;
        let mut topics = Self::default();
        for (name, value) in pairs {
            match &*name {
                "topic" => topics.topic.push(value),
                "match" | "match_exact" => topics.matched.push(value),
                "lastEventID" | "Last-Event-ID" => topics.last_event_id = Some(value),
                "last_event_id" => topics.last = Some(value),
                // Who asks for more than is understood must not take what comes for all of it.
                name if name.starts_with("match") => {
                    let message = format!("{name}: topics are compared letter by letter");
                    return Err(StreamError::Request(message).into());
                }
                _ => {}
            }
        }
        Ok(topics)
    }
}

/// A stream of events, and one more header.
pub(crate) struct Told<S> {
    events: S,
    header: Option<(HeaderName, HeaderValue)>,
}

impl<S> Respond for Told<S>
where
    S: Events<Item = Result<SseEvent>> + Send + 'static,
{
    const KIND: &'static str = "sse";

    fn respond(self) -> Result<Response> {
        let response = Sse(self.events).respond()?;
        Ok(match self.header {
            Some((name, value)) => response.header(name, value),
            None => response,
        })
    }
}

type Answer = Told<BoxStream<'static, Result<SseEvent>>>;

/// `EventSource` can only GET: the request is in the address.
pub(crate) async fn uni_sse(
    cx: Cx<Stream>,
    headers: HeaderMap,
    Query(connect): Query<Connect>,
) -> Result<Answer> {
    let request = if connect.cf_connect.is_empty() {
        "{}"
    } else {
        &connect.cf_connect
    };
    pushes(&cx, &headers, request.as_bytes()).await
}

/// Others have it in the body.
pub(crate) async fn uni_sse_posted(
    cx: Cx<Stream>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Answer> {
    pushes(&cx, &headers, &body).await
}

async fn pushes(cx: &Cx<Stream>, headers: &HeaderMap, request: &[u8]) -> Result<Answer> {
    cx.plugin().origins.check(headers)?;
    let mut request: ConnectRequest = serde_json::from_slice(request)
        .map_err(|error| StreamError::Request(format!("connect request: {error}")))?;
    if request.token.is_empty() {
        request.token = bearer(headers);
    }
    few(request.subs.len())?;
    let last = text(headers, &LAST_EVENT_ID);
    let opened = one_way::open(cx, request, last, true).await;
    let (open, connect) = opened.map_err(StreamError::from)?;
    Ok(told(Telling::new(open, Wording::Pushes, connect), None))
}

/// `GET /.well-known/mercure`.
pub(crate) async fn mercure(cx: Cx<Stream>, headers: HeaderMap, topics: Topics) -> Result<Answer> {
    let token = mercure_token(&cx, &headers, false)?;
    let names = topics.topic.into_iter().chain(topics.matched);
    let subs: BTreeMap<_, _> = names
        .map(|name| (name, SubscribeRequest::default()))
        .collect();
    if subs.is_empty() {
        let message = "topic: expected the name of a channel".to_owned();
        return Err(StreamError::Request(message).into());
    }
    few(subs.len())?;
    let asked = topics.last.or(topics.last_event_id);
    let last = text(&headers, &LAST_EVENT_ID).or(asked.as_deref());
    let request = ConnectRequest {
        token,
        subs,
        ..ConnectRequest::default()
    };
    let opened = one_way::open(&cx, request, last, false).await;
    let (open, connect) = opened.map_err(StreamError::from)?;
    let is_whole = connect
        .subs
        .values()
        .all(|result| result.recovered || !result.recoverable);
    let header = last.map(|last| {
        let same = HeaderValue::from_str(last).ok().filter(|_| is_whole);
        (MERCURE_LAST_EVENT_ID, same.unwrap_or(EARLIEST))
    });
    Ok(told(Telling::new(open, Wording::Data, connect), header))
}

/// The token of a client of Mercure: in the header, or where a browser's pages can send none in the cookie `mercureAuthorization`.
pub(super) fn mercure_token(
    cx: &Cx<Stream>,
    headers: &HeaderMap,
    is_to_change: bool,
) -> Result<String> {
    let origins = &cx.plugin().origins;
    origins.check(headers)?;
    if headers.contains_key(AUTHORIZATION) {
        return Ok(bearer(headers));
    }
    let Some(token) = cookie(headers) else {
        return Ok(String::new());
    };
    origins.check_cookie(headers, is_to_change)?;
    Ok(token.to_owned())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lists = headers.get_all(COOKIE).iter();
    let mut pairs = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix("mercureAuthorization="))
}

fn told(telling: Telling, header: Option<(HeaderName, HeaderValue)>) -> Answer {
    let events = telling.events().boxed();
    Told { events, header }
}

fn few(channels: usize) -> Result<()> {
    if channels > CHANNELS_MAX {
        let message = format!("at most {CHANNELS_MAX} channels in one request");
        return Err(StreamError::Request(message).into());
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The token of the header; nothing where there is none.
fn bearer(headers: &HeaderMap) -> String {
    let value = text(headers, &AUTHORIZATION).unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        token.trim().to_owned()
    } else {
        String::new()
    }
}
