//! `/auth/families/{id}/invitations` and `/auth/invitations`: asking somebody in, and coming in.

use nself_plugin_api::{
    capability::db::Transaction, jiff::Timestamp, prelude::*, serde_json::json,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Done, LinkToken, Private, done};
use crate::{
    Auth, account,
    caller::Caller,
    family::{Family, FamilyRole, Standing},
    invitation::{self, DAYS, OPEN_MAX, TOKEN_BYTES},
    mac::Purpose,
    notify::{self, Mail},
    policy::Power,
    problem, secret,
    store::{
        accounts,
        families::{self, Deed},
        invitations,
    },
    throttle::{self, Action, Tried},
};

/// An open invitation, as those see it who manage the family.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Shown {
    /// Names it when it is to be revoked.
    pub id: Uuid,
    /// What who accepts becomes.
    pub role: FamilyRole,
    /// The address that it is bound to.
    pub email: Option<String>,
    /// Who made it.
    pub invited_by: Uuid,
    /// How often it was accepted.
    pub uses: i32,
    /// How often it may be.
    pub uses_max: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is open.
    pub expires_at: Timestamp,
}

pub(crate) async fn list(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Vec<Shown>>>> {
    let now = cx.clock().now()?;
    let me = families::enter(&cx.db(), principal.user()?, id).await?;
    me.must(&cx, Power::ManageMembers)?;
    Ok(Private(Data(invitations::list(&cx.db(), id, now).await?)))
}

/// Whom to ask in.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// What they become: below the caller's own role.
    pub role: FamilyRole,
    /// Where to mail it; only who proves this address can accept. Without it the answer has a link.
    #[schema(max_length = 320)]
    pub email: Option<String>,
    /// How many can accept the link.
    #[schema(minimum = 1, maximum = 100)]
    pub uses_max: Option<i32>,
    /// Days that it is open.
    #[schema(minimum = 1, maximum = 30)]
    pub days: Option<u32>,
}

/// A new invitation.
#[derive(Serialize, Schema)]
pub(crate) struct Made {
    /// The invitation.
    pub invitation: Shown,
    /// The token of a link, told this once. That of a mail is told to the mailbox alone.
    pub token: Option<String>,
    /// The link.
    pub link: Option<String>,
}

pub(crate) async fn create(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(asked): Json<Asked>,
) -> Result<Private<Created<Made>>> {
    let email = asked.email.as_deref().map(account::email).transpose()?;
    let uses_max = asked.uses_max.unwrap_or(1);
    let days = asked.days.unwrap_or(DAYS);
    let is_sound = (1..=100).contains(&uses_max) && (1..=30).contains(&days);
    if !is_sound || (email.is_some() && uses_max != 1) {
        return Err(problem::bad_invitation());
    }
    if email.is_some() {
        // A mail goes to whoever is named, with words of the inviter's choice: nobody sends many of them.
        let inviter = Tried::account(principal.user()?, false);
        throttle::account(&cx, Action::Invitation, &inviter, &caller).await?;
    }
    let now = cx.clock().now()?;
    let secret = secret::make(&cx, Purpose::Invitation, TOKEN_BYTES)?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    me.must(&cx, Power::ManageMembers)?;
    me.over(asked.role)?;
    if asked.role == FamilyRole::Owner {
        // A family is handed over to a member whom one sees, not to whoever has a link.
        return Err(problem::role_too_low());
    }
    if invitations::list(&tx, id, now).await?.len() >= OPEN_MAX {
        return Err(problem::family_limit("open invitations of one family"));
    }
    let new = invitations::New {
        role: asked.role,
        email: email.as_deref(),
        mac: &secret.mac,
        uses_max,
        now,
        expires_at: now + invitation::lifetime(days),
    };
    let shown = invitations::insert(&tx, &me, &new).await?;
    let deed = Deed {
        action: "family.invitation_created",
        family_id: id,
        target: shown.id,
        details: json!({"role": shown.role.name(), "is_mailed": email.is_some(), "uses_max": uses_max}),
        actor: me.user_id,
    };
    families::audit(&tx, &deed).await?;
    let link = notify::page(&cx, "/auth/invitations/accept", &secret.text);
    if let Some(email) = &email {
        mail(&cx, &tx, &me, email, &link, days).await?;
    }
    tx.commit().await?;
    let told = email.is_none().then_some((secret.text, link));
    let (token, link) = told.unzip();
    Ok(Private(Created(Made {
        invitation: shown,
        token,
        link,
    })))
}

async fn mail(
    cx: &Cx<Auth>,
    tx: &Transaction,
    me: &Standing,
    email: &str,
    link: &str,
    days: u32,
) -> Result<()> {
    if !throttle::may_mail(cx, email).await? {
        return Ok(());
    }
    let inviter = accounts::find_by_id(tx, me.user_id).await?;
    let language = inviter.map_or_else(|| "en".to_owned(), |inviter| inviter.user.locale);
    let mail = Mail {
        to: email,
        template: "auth/invitation",
        language: &language,
        variables: json!({
            "inviter": me.display_name, "family": me.family_name, "link": link,
            "expires_minutes": invitation::lifetime(days).as_mins(),
        }),
    };
    notify::post(tx, &mail).await
}

pub(crate) async fn revoke(
    cx: Cx<Auth>,
    principal: Principal,
    Path((id, invitation_id)): Path<(Uuid, Uuid)>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    me.must(&cx, Power::ManageMembers)?;
    let invitation = invitations::of_family(&tx, id, invitation_id, now).await?;
    let invitation = invitation.ok_or_else(|| problem::no_invitation(invitation_id))?;
    me.over(invitation.role)?;
    invitations::revoke(&tx, invitation.id, now).await?;
    let deed = Deed {
        action: "family.invitation_revoked",
        family_id: id,
        target: invitation.id,
        details: json!({"role": invitation.role.name()}),
        actor: me.user_id,
    };
    families::audit(&tx, &deed).await?;
    tx.commit().await?;
    Ok(done("revoked"))
}

/// What an invitation is about, for who has its token.
#[derive(Serialize, Schema)]
pub(crate) struct Preview {
    /// The family's name.
    pub family_name: String,
    /// Who asks.
    pub inviter_name: String,
    /// What who accepts becomes.
    pub role: FamilyRole,
    /// Whether only who proves one certain address can accept.
    pub is_bound_to_address: bool,
    /// Until when it is open.
    pub expires_at: Timestamp,
}

pub(crate) async fn show(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<Data<Preview>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let invitation = invitation::find(&cx, &cx.db(), &token).await?;
    Ok(Private(Data(Preview {
        family_name: invitation.family_name,
        inviter_name: invitation.inviter_name,
        role: invitation.role,
        is_bound_to_address: invitation.email.is_some(),
        expires_at: invitation.expires_at,
    })))
}

/// Makes the caller a member. Their tokens act in the family after a refresh that chooses it.
pub(crate) async fn accept(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<Created<Family>>> {
    let user_id = principal.user()?;
    throttle::address(&cx, Action::Code, &caller).await?;
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let account = accounts::find_by_id(&tx, user_id)
        .await?
        .filter(|account| account.is_active)
        .ok_or_else(problem::session_ended)?;
    if account.user.is_child() {
        return Err(problem::child_account());
    }
    let invitation = invitation::find(&cx, &tx, &token).await?;
    invitation::join(&cx, &tx, &invitation, &account.user, now).await?;
    let me = families::enter(&tx, user_id, invitation.family_id).await?;
    let family = families::find(&tx, &me).await?;
    families::commit(tx).await?;
    Ok(Private(Created(family)))
}

/// Says no. One that is good for one person is over then; a link for many stays open for the others.
pub(crate) async fn decline(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<Data<Done>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let invitation = invitation::find(&cx, &tx, &token).await?;
    if invitation.uses_max == 1 {
        invitations::revoke(&tx, invitation.id, now).await?;
        let deed = Deed {
            action: "family.invitation_declined",
            family_id: invitation.family_id,
            target: invitation.id,
            details: json!({"role": invitation.role.name()}),
            // Whoever has the token: nobody has to sign in to say no.
            actor: invitation.id,
        };
        families::audit(&tx, &deed).await?;
    }
    tx.commit().await?;
    Ok(done("declined"))
}
