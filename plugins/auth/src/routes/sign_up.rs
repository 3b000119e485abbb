//! `POST /auth/register`.

use nself_plugin_api::{prelude::*, serde_json::Map};
use serde::Deserialize;

use super::{Accepted, Private};
use crate::{
    Auth,
    caller::Caller,
    landing::Landing,
    registration::{self, Applicant, Registered},
    throttle::{self, Action},
};

/// Who wants an account.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// Where mail reaches them.
    #[schema(max_length = 320)]
    pub email: String,
    /// Eight characters at least; none of those that are tried first.
    #[schema(max_length = 512)]
    pub password: String,
    /// As others will see them.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub display_name: String,
    /// BCP 47 language tag; the request's own without it.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: Option<String>,
    /// The token of an invitation into a family. It is accepted when the address is proved, and lets its bearer in where
    /// nobody may register without one.
    #[schema(max_length = 100)]
    pub invitation: Option<String>,
}

impl Respond for Registered {
    fn respond(self) -> Result<Response> {
        match self {
            Self::Mailed => Accepted("verification_mail_sent").respond(),
            Self::SignedIn(tokens) => Private(Created(*tokens)).respond(),
        }
    }
}

pub(crate) async fn register(
    cx: Cx<Auth>,
    caller: Caller,
    Json(registration): Json<Registration>,
) -> Result<Registered> {
    throttle::address(&cx, Action::SignUp, &caller).await?;
    let applicant = Applicant {
        email: &registration.email,
        password: Some(&registration.password),
        display_name: &registration.display_name,
        locale: registration.locale.as_deref(),
        profile: Map::new(),
        invitation: registration.invitation.as_deref(),
    };
    registration::register(&cx, applicant, Landing::Page, &caller).await
}
