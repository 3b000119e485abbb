//! The key that signs playback addresses.

use nself_plugin_api::{Schema, prelude::*};
use serde::Deserialize;

use super::Private;
use crate::{
    Stream,
    media::{self, Turned},
};

/// How the key is turned.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    /// Whether addresses by the other keys play nothing any more: for a key that somebody else has.
    #[serde(default)]
    pub at_once: bool,
}

pub(crate) async fn turn(
    cx: Cx<Stream>,
    principal: Principal,
    Json(turn): Json<Turn>,
) -> Result<Private<Data<Turned>>> {
    let turned = media::turn(&cx, turn.at_once, &principal.subject).await?;
    Ok(Private(Data(turned)))
}
