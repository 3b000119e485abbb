//! `stream.channels/1`: other plugins publish. In a transaction of theirs they call the SQL function `stream.publish` instead.

use std::collections::BTreeMap;

use nself_plugin_api::{extract::misfit, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    Stream,
    error::{StreamError, refused},
    store, told,
};

/// Longest key.
const KEY_BYTES_MAX: usize = 200;

/// What another plugin publishes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    /// The whole name.
    pub channel: String,
    pub data: Box<RawValue>,
    /// Texts that subscribers see beside the data.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Makes the same publication within five minutes no second one.
    #[serde(default)]
    pub key: Option<String>,
    /// Only for who is there at the moment, whatever the namespace keeps. Programs may say so over HTTP.
    #[serde(skip)]
    pub is_fleeting: bool,
}

/// Where it is now. Nothing where nothing is kept.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Published {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

pub(crate) async fn call(cx: Cx<Stream>, call: CapabilityCall) -> Result<Vec<u8>> {
    let published = match &*call.method {
        "publish" => {
            let publish = serde_json::from_slice(&call.payload).map_err(|error| misfit(&error))?;
            self::publish(&cx, publish).await?
        }
        method => {
            let method = method.to_owned();
            return Err(StreamError::Method { method }.into());
        }
    };
    serde_json::to_vec(&published).map_err(Error::internal)
}

/// Publishes.
///
/// # Errors
///
/// What is wrong with it, for the caller.
pub(crate) async fn publish(cx: &Cx<Stream>, publish: Publish) -> Result<Published> {
    let Publish {
        channel,
        data,
        tags,
        key,
        is_fleeting,
    } = publish;
    let plugin = cx.plugin();
    let known = plugin.namespaces.find(&channel).ok_or_else(|| {
        let message = "channel: expected family:<id>:<rest>, user:<id> or public:<rest>".to_owned();
        StreamError::Publication { message }
    })?;
    let bytes_max = known.rules.message_bytes_max;
    if data.get().len() > usize::try_from(bytes_max).unwrap_or(usize::MAX) {
        let message = format!("data: at most {bytes_max} bytes in this channel");
        return Err(StreamError::TooLarge { message }.into());
    }
    if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES_MAX) {
        let message = format!("key: expected at most {KEY_BYTES_MAX} bytes");
        return Err(StreamError::Publication { message }.into());
    }
    let tags = tags.as_ref().map(to_raw_value).transpose();
    let tags = tags.map_err(Error::internal)?;
    if is_fleeting && key.is_some() {
        let message = "key: nothing is known again that is not kept".to_owned();
        return Err(StreamError::Publication { message }.into());
    }
    if known.rules.ephemeral || is_fleeting {
        let told = told::publish(cx, &channel, data, tags, None).await;
        told.map_err(refused)?;
        return Ok(Published::default());
    }
    let new = store::log::New {
        channel: &channel,
        data: data.get(),
        info: None,
        tags: tags.as_ref().map(|tags| tags.get()),
        key: key.as_deref(),
    };
    let (offset, epoch) = store::log::append(&cx.db(), new).await.map_err(refused)?;
    plugin.hub.bell.wake();
    Ok(Published {
        offset: Some(offset),
        epoch: Some(epoch),
    })
}
