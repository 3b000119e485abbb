//! `/auth/password`.

use nself_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Accepted, Done, Mailbox, Private, done};
use crate::{
    Auth,
    caller::Caller,
    landing::Landing,
    new_password::{self, Right},
    password::{self, Context},
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

/// A password that somebody thinks of, and what else is known of them.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thought {
    /// It is looked at and forgotten. One that is too long is told so, as anything else that is wrong with it.
    pub password: String,
    /// The address of the account, as far as an address goes.
    pub email: Option<String>,
    /// The name that others see, as far as a name goes.
    pub display_name: Option<String>,
}

/// Signs of an address or a name that are looked for in a password.
const CONTEXT_LENGTH_MAX: usize = 320;

/// What to think of it.
#[derive(Serialize, Schema)]
pub(crate) struct Advised {
    /// Whether it can be set. Collections of leaked passwords are asked only when it is.
    pub is_accepted: bool,
    /// Why it cannot, such as `PASSWORD_COMMON`.
    pub code: Option<String>,
    /// How many guesses it takes: 0 and 1 fewer than a million, 2 than a hundred millions, 3 than ten milliards, 4 more.
    /// Below 3 there is advice.
    pub score: u8,
    /// What makes it weak: `short`, `words`, `about_you`, `sequence`, `repeated`, `keys`, `date`.
    pub reasons: Vec<&'static str>,
    /// What to do about it.
    pub suggestions: Vec<&'static str>,
}

/// What somebody only thinks of is not refused, so it is cut.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(CONTEXT_LENGTH_MAX);
    end.map_or(text, |(end, _)| &text[..end])
}

pub(crate) async fn check(
    cx: Cx<Auth>,
    caller: Caller,
    Json(thought): Json<Thought>,
) -> Result<Private<Data<Advised>>> {
    throttle::address(&cx, Action::Advice, &caller).await?;
    let context = Context {
        email: thought.email.as_deref().map(beginning),
        name: thought.display_name.as_deref().map(beginning),
    };
    let length_min = cx.plugin().config.password_length_min;
    let accepted = password::accept(&thought.password, length_min, context);
    let refusal = accepted.err().map(|refused| refused.code().to_owned());
    let advice = password::advise(&thought.password, context);
    Ok(Private(Data(Advised {
        is_accepted: refusal.is_none(),
        code: refusal,
        score: advice.score,
        reasons: advice.reasons,
        suggestions: advice.suggestions,
    })))
}
