//! `/auth/anonymous`: beginning without an account, and keeping what came of it.

use nself_plugin_api::{prelude::*, serde_json::Map};
use serde::Deserialize;

use super::{Accepted, Private, done};
use crate::{
    Auth,
    caller::Caller,
    landing::Landing,
    registration::{self, Upgraded},
    session::Tokens,
    throttle::{self, Action},
};

/// Who begins without an account.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Anonymous {
    /// As others will see them.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub display_name: String,
    /// BCP 47 language tag; the request's own without it.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: Option<String>,
}

pub(crate) async fn begin(
    cx: Cx<Auth>,
    caller: Caller,
    Json(anonymous): Json<Anonymous>,
) -> Result<Private<Created<Tokens>>> {
    throttle::address(&cx, Action::SignUp, &caller).await?;
    let (name, locale) = (&anonymous.display_name, anonymous.locale.as_deref());
    let tokens = registration::anonymous(&cx, name, locale, Map::new(), &caller).await?;
    Ok(Private(Created(tokens)))
}

/// What an anonymous account is given.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upgrade {
    /// Where mail reaches them.
    #[schema(max_length = 320)]
    pub email: String,
    /// Eight characters at least; none of those that are tried first.
    #[schema(max_length = 512)]
    pub password: String,
}

impl Respond for Upgraded {
    fn respond(self) -> Result<Response> {
        match self {
            Self::Mailed => Accepted("verification_mail_sent").respond(),
            Self::AtOnce => done("upgraded").respond(),
        }
    }
}

pub(crate) async fn upgrade(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(Upgrade { email, password }): Json<Upgrade>,
) -> Result<Upgraded> {
    throttle::address(&cx, Action::SignUp, &caller).await?;
    let user_id = principal.user()?;
    registration::upgrade(
        &cx,
        user_id,
        &email,
        Some(&password),
        Landing::Page,
        &caller,
    )
    .await
}
