//! Mercure's writing side: what a client may publish over its connection it may publish by a form.

use nself_plugin_api::{
    extract::Body,
    http::{HeaderMap, StatusCode},
    prelude::*,
};
use serde_json::value::{RawValue, to_raw_value};

use super::events::mercure_token;
use crate::{
    Stream,
    channel::Channel,
    error::{StreamError, refused},
    positions::Positions,
    protocol::ClientInfo,
    session::{self, No, connect},
    store, told,
};

/// Channels of one publication.
const TOPICS_MAX: usize = 32;
/// Longest `id` and `type`.
const WORD_BYTES_MAX: usize = 200;

/// A form.
#[derive(Default)]
struct Update {
    topics: Vec<String>,
    data: String,
    /// Makes the same publication within five minutes no second one.
    id: Option<String>,
    kind: Option<String>,
}

impl Update {
    /// Every channel is for whom it is for, so `private` says nothing new; and `retry` is for a client that would not come again by itself.
    fn read(body: &[u8]) -> std::result::Result<Self, StreamError> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body)
            .map_err(|error| StreamError::Request(format!("form: {error}")))?;
        let mut update = Self::default();
        for (name, value) in pairs {
            match &*name {
                "topic" => update.topics.push(value),
                "data" => update.data = value,
                "id" => update.id = Some(value).filter(|id| !id.is_empty()),
                "type" => update.kind = Some(value).filter(|kind| !kind.is_empty()),
                _ => {}
            }
        }
        let words = [&update.id, &update.kind].into_iter().flatten();
        let is_long = words.map(String::len).any(|bytes| bytes > WORD_BYTES_MAX);
        if update.topics.is_empty() || update.topics.len() > TOPICS_MAX || is_long {
            let message = format!(
                "form: expected 1 to {TOPICS_MAX} of topic, id and type of at most {WORD_BYTES_MAX} bytes"
            );
            return Err(StreamError::Request(message));
        }
        Ok(update)
    }

    /// JSON as it is; any other text as a string.
    fn data(&self) -> Result<Box<RawValue>> {
        match RawValue::from_string(self.data.clone()) {
            Ok(json) => Ok(json),
            Err(_) => to_raw_value(&self.data).map_err(Error::internal),
        }
    }
}

/// `POST /.well-known/mercure`; the answer is the id of the event for who listens to these topics alone.
pub(crate) async fn publish(
    cx: Cx<Stream>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response> {
    let token = mercure_token(&cx, &headers, true)?;
    let caller = connect::bearer_of(&cx, &token)
        .await
        .map_err(StreamError::from)?;
    let update = Update::read(&body)?;
    let data = update.data()?;
    let mut channels = Vec::with_capacity(update.topics.len());
    for topic in &update.topics {
        channels.push(find(&cx, topic, &caller, &data)?);
    }
    let mut positions = Positions::default();
    for channel in channels {
        if let Some((offset, epoch)) = publish_one(&cx, &channel, &caller, &update, &data).await? {
            positions.set(&epoch, offset);
        }
    }
    let answer = Response::new(StatusCode::OK, positions.to_string());
    Ok(answer.content_type("text/plain; charset=utf-8"))
}

/// The channel, if the caller may publish that there.
fn find(
    cx: &Cx<Stream>,
    topic: &str,
    caller: &Principal,
    data: &RawValue,
) -> std::result::Result<Channel, StreamError> {
    let channel = cx
        .plugin()
        .namespaces
        .resolve(topic, caller)
        .map_err(No::from)?;
    if !channel.may_publish(caller) {
        return Err(StreamError::ForbiddenChannel);
    }
    let bytes_max = channel.rules.message_bytes_max;
    if data.get().len() > usize::try_from(bytes_max).unwrap_or(usize::MAX) {
        let message = format!("data: at most {bytes_max} bytes in this channel");
        return Err(StreamError::TooLarge { message });
    }
    Ok(channel)
}

async fn publish_one(
    cx: &Cx<Stream>,
    channel: &Channel,
    caller: &Principal,
    update: &Update,
    data: &RawValue,
) -> Result<Option<(i64, String)>> {
    // It is nobody's connection.
    let info = ClientInfo {
        user: session::user(caller),
        client: String::new(),
    };
    let tags = update
        .kind
        .as_ref()
        .map(|kind| to_raw_value(&serde_json::json!({"type": kind})));
    let tags = tags.transpose().map_err(Error::internal)?;
    if channel.rules.ephemeral {
        let told = told::publish(cx, &channel.name, data.to_owned(), tags, Some(&info)).await;
        told.map_err(refused)?;
        return Ok(None);
    }
    let new = store::log::New {
        channel: &channel.name,
        data: data.get(),
        info: Some(&info),
        tags: tags.as_ref().map(|tags| tags.get()),
        key: update.id.as_deref(),
    };
    let appended = store::log::append(&cx.db(), new).await.map_err(refused)?;
    cx.plugin().hub.bell.wake();
    Ok(Some(appended))
}
