//! `/auth/password`.

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use super::{Accepted, Done, Mailbox, Private, done};
use crate::{
    Auth,
    caller::Caller,
    landing::Landing,
    new_password::{self, Right},
    throttle::{self, Action},
};

pub(crate) async fn forgot(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
    throttle::address(&cx, Action::Code, &caller).await?;
    new_password::mail_link(&cx, &email, Landing::Page).await?;
    Ok(Accepted("reset_mail_sent"))
}

/// A new password, by a link.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    /// As it stands in the link.
    #[schema(max_length = 200)]
    pub token: String,
    /// The new password.
    #[schema(max_length = 512)]
    pub password: String,
}

pub(crate) async fn reset(
    cx: Cx<Auth>,
    caller: Caller,
    Json(reset): Json<Reset>,
) -> Result<Private<Data<Done>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    new_password::by_link(&cx, &reset.token, &reset.password, &caller).await?;
    Ok(done("password_changed"))
}

/// A new password, by the old one.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// The old one; an account that has none needs a fresh proof of another kind.
    #[schema(max_length = 512)]
    pub current_password: Option<String>,
    /// The new one.
    #[schema(max_length = 512)]
    pub password: String,
}

pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(change): Json<Change>,
) -> Result<Private<Data<Done>>> {
    let right = Right::Current(change.current_password.as_deref());
    new_password::change(&cx, &principal, right, &change.password, &caller).await?;
    Ok(done("password_changed"))
}
