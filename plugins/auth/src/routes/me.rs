//! `/auth/me`.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Private;
use crate::{
    Auth,
    account::{self, User},
    problem,
    store::accounts::{self, Description, Membership},
};

/// Who is signed in.
#[derive(Serialize, Schema)]
pub(crate) struct Me {
    /// The person.
    pub user: User,
    /// The session that asks.
    pub session_id: Option<Uuid>,
    /// The active family of the token.
    pub family_id: Option<Uuid>,
    /// The role in it.
    pub role: Option<&'static str>,
    /// All families of the person.
    pub families: Vec<Membership>,
}

pub(crate) async fn show(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Me>>> {
    let user_id = principal.user()?;
    let (user, families) = accounts::find_with_families(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    Ok(Private(Data(Me {
        user,
        session_id: principal.session_id,
        family_id: principal.family_id,
        role: principal.role.map(Role::name),
        families,
    })))
}

/// What to change; what is left out stays.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// As others see the person.
    #[schema(max_length = 200)]
    pub display_name: Option<String>,
    /// A picture; empty for none.
    #[schema(max_length = 2000)]
    pub avatar_url: Option<String>,
    /// BCP 47 language tag.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: Option<String>,
    /// IANA time zone.
    #[schema(min_length = 1, max_length = 64)]
    pub timezone: Option<String>,
}

pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    Json(change): Json<Change>,
) -> Result<Private<Data<Me>>> {
    let display_name = change
        .display_name
        .as_deref()
        .map(account::display_name)
        .transpose()?;
    let avatar_url = change.avatar_url.as_deref().map(picture).transpose()?;
    let locale = change.locale.as_deref().map(account::locale).transpose()?;
    let timezone = change
        .timezone
        .as_deref()
        .map(account::timezone)
        .transpose()?;
    let user_id = principal.user()?;
    let description = Description {
        display_name: display_name.as_deref(),
        avatar_url,
        locale,
        timezone,
    };
    let transaction = cx.db().begin().await?;
    let changed = accounts::describe(&transaction, user_id, &description).await?;
    if !changed.is_empty() {
        // What it was and is belongs to the person, who may have it deleted; the log stays.
        let details = json!({"fields": changed});
        accounts::audit(&transaction, "auth.profile_changed", user_id, &details).await?;
    }
    transaction.commit().await?;
    show(cx, principal).await
}

/// A picture's address: only what a browser may load without doing anything else.
fn picture(url: &str) -> Result<&str> {
    let is_web = url.is_empty() || url.starts_with("https://") || url.starts_with("http://");
    if is_web && url.len() <= 2_000 && !url.contains(|c: char| c.is_control() || c.is_whitespace())
    {
        Ok(url)
    } else {
        Err(Error::invalid(
            "AVATAR_URL_INVALID",
            "avatar_url: expected an address that begins with https://, at most 2000 characters",
        ))
    }
}
