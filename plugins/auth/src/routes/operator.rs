//! `/auth/admin`: for who runs the installation.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::{Deserialize, Serialize};

use super::{Private, admin};
use crate::{
    Auth,
    keys::{Key, Turn},
};

/// A signing key, without its private part.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Shown {
    /// As tokens name it.
    pub kid: String,
    /// `ES256`, `EdDSA` or `RS256`.
    pub algorithm: String,
    /// `next`, `active` or `retiring`.
    pub state: &'static str,
    /// Since when verifiers can know it.
    pub published_at: Timestamp,
    /// Since when it signs.
    pub active_at: Option<Timestamp>,
    /// Since when it signs no more.
    pub retired_at: Option<Timestamp>,
}

fn shown(key: &Key) -> Shown {
    Shown {
        kid: key.kid.clone(),
        algorithm: key.algorithm.clone(),
        state: key.state.name(),
        published_at: key.published_at,
        active_at: key.active_at,
        retired_at: key.retired_at,
    }
}

pub(crate) async fn keys(cx: Cx<Auth>) -> Result<Private<Data<Vec<Shown>>>> {
    let ring = cx.plugin().keys.ring();
    Ok(Private(Data(ring.all().iter().map(shown).collect())))
}

/// How fast.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// At once. Whoever holds an older key set, such as Hasura, refuses new tokens until it asks again, in five minutes at
    /// most. Without it the new key is published now and signs a day later, and nobody notices.
    #[serde(default)]
    pub now: bool,
}

pub(crate) async fn rotate(
    cx: Cx<Auth>,
    principal: Principal,
    Json(rotation): Json<Rotation>,
) -> Result<Private<Data<Vec<Shown>>>> {
    let turn = if rotation.now {
        Turn::Now
    } else {
        Turn::Prepare
    };
    let plugin = cx.plugin();
    let actor = admin::actor(&principal);
    plugin.keys.turn(&cx, &plugin.config, turn, &actor).await?;
    keys(cx).await
}
