//! `/auth/families/{id}/export`, `/auth/families/deleted` and taking a family back: the end of a family, for who owns it.
//! Its beginning is `DELETE /auth/families/{id}`.

use nself_plugin_api::{
    bytes::Bytes,
    futures_util::Stream,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION},
    },
    prelude::*,
};
use uuid::Uuid;

use super::Private;
use crate::{
    Auth,
    family::{Family, FamilyRole, Standing},
    family_end::{self, Exporter},
    policy::Power,
    problem,
    store::{
        families,
        family_end::{self as store, PastFamily},
    },
};

/// The lines of an export, as an answer that comes while they are read.
pub(super) fn lines(lines: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Response {
    Response::stream(StatusCode::OK, lines)
        .content_type("application/x-ndjson")
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(
            CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"family.ndjson\""),
        )
}

/// Also of a family that is deleted, as long as it is kept: nobody has to hurry before they delete one.
pub(crate) async fn export(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Response> {
    let user_id = principal.user()?;
    let tx = cx.db().begin().await?;
    match families::enter(&tx, user_id, id).await {
        Ok(me) => me.must(&cx, Power::ExportFamily)?,
        Err(error) if error.status() == 404 => {
            let me = families::enter_deleted(&tx, user_id, id).await?;
            not_for_others(&cx, &me, Power::ExportFamily)?;
        }
        Err(error) => return Err(error),
    }
    if !principal.elevated {
        return Err(problem::step_up());
    }
    let exporter = Exporter {
        family_id: id,
        user_id: Some(user_id),
        actor: user_id.to_string(),
    };
    Ok(lines(family_end::export(tx, exporter).await?))
}

pub(crate) async fn deleted(
    cx: Cx<Auth>,
    principal: Principal,
) -> Result<Private<Data<Vec<PastFamily>>>> {
    let powers = &cx.plugin().powers;
    let roles: Vec<&str> = FamilyRole::ALL
        .into_iter()
        .filter(|role| powers.give(*role, Power::DeleteFamily))
        .map(FamilyRole::name)
        .collect();
    let deleted = store::deleted_of(&cx.db(), principal.user()?, &roles).await?;
    Ok(Private(Data(deleted)))
}

pub(crate) async fn take_back(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Family>>> {
    let user_id = principal.user()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_deleted(&tx, user_id, id).await?;
    not_for_others(&cx, &me, Power::DeleteFamily)?;
    // It counts again.
    families::may_join_another(&tx, user_id).await?;
    store::take_back(&tx, id, &user_id.to_string()).await?;
    let family = families::find(&tx, &me).await?;
    tx.commit().await?;
    Ok(Private(Data(family)))
}

/// # Errors
///
/// 404 for who may not do this: a deleted family is not there for the others.
fn not_for_others(cx: &Cx<Auth>, me: &Standing, power: Power) -> Result<()> {
    if me.may(cx, power) {
        Ok(())
    } else {
        Err(problem::not_a_member(me.family_id))
    }
}
