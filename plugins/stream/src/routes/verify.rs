//! `/v1/stream/verify`: media origins ask whether they may answer. Whoever brings an address has nothing to gain here that the
//! address does not say already.

use nself_plugin_api::{http::HeaderMap, prelude::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Private;
use crate::{
    Stream,
    error::StreamError,
    media::{self, Grant, Verdict},
};

/// The header in which nginx says what was asked for.
const ORIGINAL_URI: &str = "x-original-uri";

/// An address that somebody wants to play.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Whole, or from its path on.
    #[schema(min_length = 1, max_length = 4096)]
    pub url: String,
}

/// What an address is good for.
#[derive(Serialize, Schema)]
pub(crate) struct Good {
    /// The family that plays it.
    pub family_id: Uuid,
    /// The session.
    pub session_id: Uuid,
    /// What it plays.
    pub content_id: Uuid,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
}

pub(crate) async fn described(
    cx: Cx<Stream>,
    Json(asked): Json<Asked>,
) -> Result<Private<Data<Good>>> {
    let grant = grant(&cx, &asked.url)?;
    Ok(Private(Data(Good {
        family_id: grant.family_id,
        session_id: grant.session_id,
        content_id: grant.content_id,
        expires_at: grant.expires_at,
    })))
}

/// 204 lets nginx answer, 401 and 403 do not.
pub(crate) async fn requested(cx: Cx<Stream>, headers: HeaderMap) -> Result<Private<NoContent>> {
    let asked = headers.get(ORIGINAL_URI);
    let asked = asked.and_then(|value| value.to_str().ok());
    grant(&cx, asked.unwrap_or_default())?;
    Ok(Private(NoContent))
}

fn grant(cx: &Cx<Stream>, address: &str) -> Result<Grant> {
    match media::verify(cx, address)? {
        Verdict::Good(grant) => Ok(grant),
        Verdict::Unsigned => Err(StreamError::Unsigned.into()),
        Verdict::Refused => Err(StreamError::Refused.into()),
    }
}
