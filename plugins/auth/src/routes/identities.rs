//! `/auth/identities`: the places that one signs in with.

use nself_plugin_api::{prelude::*, serde_json, serde_json::json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Done, Private, done,
    providers::{Aim, Ticket},
};
use crate::{
    Auth,
    caller::Caller,
    one_time::{self, Purpose, Subject},
    problem,
    store::{
        accounts,
        identities::{self, Identity, Unlinked},
    },
    throttle::{self, Action},
};

pub(crate) async fn list(
    cx: Cx<Auth>,
    principal: Principal,
) -> Result<Private<Data<Vec<Identity>>>> {
    let identities = identities::list(&cx.db(), principal.user()?).await?;
    Ok(Private(Data(identities)))
}

/// Whose ways to sign in are about to change, if they may: a child's are its guardians' matter.
pub(super) async fn may_change(cx: &Cx<Auth>, principal: &Principal) -> Result<Uuid> {
    let user_id = principal.user()?;
    if !principal.elevated {
        return Err(problem::step_up());
    }
    let account = accounts::find_by_id(&cx.db(), user_id).await?;
    match account.map(|account| account.user.kind) {
        None => Err(problem::session_ended()),
        Some(kind) if kind == "child" => Err(Error::forbidden(
            "CHILD_ACCOUNT",
            "the account of a child cannot do that, and cannot have that done to it: its guardians decide",
        )),
        Some(_) => Ok(user_id),
    }
}

pub(crate) async fn unlink(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let user_id = may_change(&cx, &principal).await?;
    let transaction = cx.db().begin().await?;
    let usable: Vec<&str> = cx.plugin().providers.all().map(|one| &*one.slug).collect();
    match identities::remove(&transaction, user_id, id, &usable).await? {
        Unlinked::Done => {}
        Unlinked::Unknown => {
            return Err(Error::not_found(
                "IDENTITY_NOT_FOUND",
                "there is no such link of yours",
            ));
        }
        Unlinked::Last => {
            return Err(Error::conflict(
                "LAST_SIGN_IN_METHOD",
                "nobody could sign in to this account any more: set a password, prove an address or link another \
                 place first",
            ));
        }
    }
    let details = json!({"identity": id});
    accounts::audit(&transaction, "auth.identity_unlinked", user_id, &details).await?;
    transaction.commit().await?;
    Ok(done("unlinked"))
}

/// How the linking is to end.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Linking {
    /// Where the browser goes at the end, with a code or an error.
    #[schema(max_length = 2000)]
    pub redirect_to: String,
    /// S256 of a secret of the app's own; the secret is shown when the code is exchanged.
    #[schema(max_length = 43)]
    pub code_challenge: String,
    /// Given back unread.
    #[schema(max_length = 500)]
    pub state: Option<String>,
}

/// Where the linking goes on.
#[derive(Serialize, Schema)]
pub(crate) struct LinkingStart {
    /// To be opened in the browser within five minutes.
    pub url: String,
}

/// Begins to link a place. The browser carries no token, so it carries a ticket; who is signed in shows that again when the
/// code is exchanged, because anybody can be talked into opening an address.
pub(crate) async fn link(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(slug): Path<String>,
    Json(linking): Json<Linking>,
) -> Result<Private<Data<LinkingStart>>> {
    let user_id = may_change(&cx, &principal).await?;
    throttle::address(&cx, Action::Code, &caller).await?;
    let provider = cx.plugin().providers.find(&slug)?;
    let (redirect_to, challenge) = (&linking.redirect_to, &linking.code_challenge);
    let ticket = Ticket {
        provider: provider.slug.clone(),
        aim: Aim::new(&cx, redirect_to, challenge, linking.state.as_deref())?,
    };
    let target = Uuid::now_v7().to_string();
    let subject = Subject {
        purpose: Purpose::ProviderLink,
        target: &target,
        user_id: Some(user_id),
        payload: serde_json::to_value(&ticket).map_err(Error::internal)?,
    };
    let ticket = one_time::link(&cx, &cx.db(), subject)
        .await?
        .ok_or_else(problem::bad_code)?;
    let root = cx.plugin().config.public_url.trim_end_matches('/');
    let url = format!("{root}/auth/oauth/{}/start?link={ticket}", provider.slug);
    Ok(Private(Data(LinkingStart { url })))
}
