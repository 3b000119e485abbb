//! `/auth/families/{id}/children` and `/auth/children`: accounts that a guardian makes, and how a child signs in.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Private;
use crate::{
    Auth, account,
    caller::Caller,
    family::{FamilyRole, Member, RemovedChild, Status},
    hooks::{self, Origin, Registration, Way},
    one_time::{self, Purpose, Subject},
    policy::Power,
    problem,
    proof::{SignedIn, after_first_factor},
    store::{
        accounts, children,
        families::{self, Deed, Joining},
    },
    throttle::{self, Action},
};

/// A child.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Child {
    /// As others see them.
    #[schema(min_length = 1, max_length = 200)]
    pub display_name: String,
    /// BCP 47 language tag; the request's own without it.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: Option<String>,
}

pub(crate) async fn create(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(child): Json<Child>,
) -> Result<Private<Created<Member>>> {
    let display_name = account::display_name(&child.display_name)?;
    let locale = child.locale.unwrap_or_else(|| caller.language.clone());
    let locale = account::locale(&locale)?;
    let registration = Registration {
        way: Way::Child,
        email: None,
        display_name: &display_name,
        locale,
        provider: None,
        user_id: None,
        is_invited: true,
        from: Origin::caller(&caller),
    };
    hooks::before_register(&cx, &registration).await?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    me.must(&cx, Power::GuardChildren)?;
    families::has_room(&tx, id).await?;
    let child = families::insert_child(&tx, &display_name, locale, me.user_id).await?;
    let joining = Joining {
        family_id: id,
        user_id: child,
        role: FamilyRole::Child,
        invited_by: Some(me.user_id),
        actor: me.user_id,
        more: json!({"guardian_id": me.user_id}),
    };
    let member_id = families::join(&tx, &joining).await?;
    let member = families::member(&tx, id, member_id).await?;
    families::commit(tx).await?;
    Ok(Private(Created(member)))
}

/// Children's accounts that were taken out of the family: the guardian's own, all for who manages the family.
pub(crate) async fn removed(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Vec<RemovedChild>>>> {
    let me = families::enter(&cx.db(), principal.user()?, id).await?;
    me.must(&cx, Power::GuardChildren)?;
    let mut children = children::removed(&cx.db(), id).await?;
    if !me.may(&cx, Power::ManageMembers) {
        children.retain(|child| child.guardian_id == Some(me.user_id));
    }
    Ok(Private(Data(children)))
}

/// Takes a child's account that was removed back into the family, in the role that it had.
pub(crate) async fn take_back(
    cx: Cx<Auth>,
    principal: Principal,
    Path((id, member_id)): Path<(Uuid, Uuid)>,
) -> Result<Private<Data<Member>>> {
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    me.must(&cx, Power::GuardChildren)?;
    let removed = children::removed(&tx, id).await?;
    let child = removed
        .into_iter()
        .find(|child| child.id == member_id)
        .ok_or_else(|| problem::no_member(member_id))?;
    if child.guardian_id != Some(me.user_id) {
        me.must(&cx, Power::ManageMembers)?;
    }
    families::has_room(&tx, id).await?;
    let joining = Joining {
        family_id: id,
        user_id: child.user_id,
        role: child.role,
        invited_by: None,
        actor: me.user_id,
        more: json!({"guardian_id": child.guardian_id, "is_back": true}),
    };
    families::join(&tx, &joining).await?;
    let member = families::member(&tx, id, child.id).await?;
    families::commit(tx).await?;
    Ok(Private(Data(member)))
}

/// How a child signs in: both go to the child's machine.
#[derive(Serialize, Schema)]
pub(crate) struct SignInCode {
    /// Names the sign-in.
    pub flow_id: Uuid,
    /// Eight digits, good once.
    pub code: String,
    /// Seconds that it is good for.
    pub expires_in: i64,
}

/// Made by the child's guardian, or by who manages the family.
pub(crate) async fn make_code(
    cx: Cx<Auth>,
    principal: Principal,
    Path((id, member_id)): Path<(Uuid, Uuid)>,
) -> Result<Private<Created<SignInCode>>> {
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    let member = families::member(&tx, id, member_id).await?;
    me.must(&cx, Power::GuardChildren)?;
    if !member.is_child_account() || member.status != Status::Active {
        return Err(problem::no_member(member_id));
    }
    if member.guardian_id != Some(me.user_id) {
        me.must(&cx, Power::ManageMembers)?;
    }
    let deed = Deed {
        action: "family.child_sign_in_code_made",
        family_id: id,
        target: member.id,
        details: json!({"member_id": member.id, "user_id": member.user_id}),
        actor: me.user_id,
    };
    families::audit(&tx, &deed).await?;
    let target = member.user_id.to_string();
    let subject = Subject {
        purpose: Purpose::ChildSignIn,
        target: &target,
        user_id: Some(member.user_id),
        payload: json!({"family_id": id}),
    };
    let lifetime = Purpose::ChildSignIn.lifetime();
    let made = one_time::code(&cx, &tx, subject).await?;
    let (flow_id, code) = made.ok_or_else(|| problem::too_many_tries(lifetime.unsigned_abs()))?;
    tx.commit().await?;
    Ok(Private(Created(SignInCode {
        flow_id,
        code,
        expires_in: lifetime.as_secs(),
    })))
}

/// What the guardian has shown.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    /// Names the sign-in.
    pub flow_id: Uuid,
    /// Eight digits; spaces do not matter.
    #[schema(max_length = 32)]
    pub code: String,
}

pub(crate) async fn sign_in(
    cx: Cx<Auth>,
    caller: Caller,
    Json(code): Json<Code>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let tx = cx.db().begin().await?;
    let purpose = Purpose::ChildSignIn;
    let (tx, used) = one_time::use_code(&cx, tx, purpose, code.flow_id, &code.code).await?;
    tx.commit().await?;
    let user_id = used.user_id.ok_or_else(problem::bad_code)?;
    let family_id: Uuid =
        nself_plugin_api::serde_json::from_value(used.payload["family_id"].clone())
            .map_err(Error::internal)?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .filter(|account| account.user.is_child())
        .ok_or_else(problem::bad_code)?;
    // Removed or suspended since the code was made: there is nothing left to sign in to.
    let standing = families::enter(&cx.db(), user_id, family_id).await;
    let standing = standing.map_err(|error| match error.status() {
        404 => problem::bad_code(),
        _ => error,
    })?;
    let family = Some(standing.family_id);
    let signed_in = after_first_factor(&cx, &account, "otp", family, &caller).await?;
    Ok(Private(signed_in))
}
