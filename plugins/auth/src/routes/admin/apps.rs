//! `/auth/admin/apps`: the apps of the house, and who may do what in them.

use nself_plugin_api::{
    capability::db::Transaction,
    prelude::*,
    serde_json::{Value, json},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{actor, limit};
use crate::{
    Auth,
    routes::{Done, Private, done},
    store::{
        apps::{self, App, Grant},
        audit::{self, New},
    },
};

pub(crate) async fn list(cx: Cx<Auth>) -> Result<Private<Data<Vec<App>>>> {
    Ok(Private(Data(apps::list(&cx.db()).await?)))
}

/// An app, as people see it.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// Its name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
}

/// Adds an app, or gives one another name.
pub(crate) async fn put(
    cx: Cx<Auth>,
    principal: Principal,
    Path(slug): Path<String>,
    Json(app): Json<Description>,
) -> Result<Private<Data<Done>>> {
    let transaction = cx.db().begin().await?;
    apps::put(&transaction, &slug, &app.name)
        .await
        .map_err(refused)?;
    note(
        &transaction,
        &principal,
        "auth.app_changed",
        &slug,
        &json!({"name": app.name}),
    )
    .await?;
    transaction.commit().await?;
    Ok(done("app_changed"))
}

pub(crate) async fn remove(
    cx: Cx<Auth>,
    principal: Principal,
    Path(slug): Path<String>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    if !apps::remove(&transaction, &slug, now).await? {
        return Err(Error::not_found("APP_NOT_FOUND", "there is no such app"));
    }
    note(
        &transaction,
        &principal,
        "auth.app_removed",
        &slug,
        &json!({}),
    )
    .await?;
    transaction.commit().await?;
    Ok(done("app_removed"))
}

/// Which roles.
#[derive(Deserialize, Schema)]
pub(crate) struct Search {
    /// Rows, at most 1000.
    pub limit: Option<i64>,
    /// The last person of the page before.
    pub before: Option<Uuid>,
}

pub(crate) async fn grants(
    cx: Cx<Auth>,
    Path(slug): Path<String>,
    Query(search): Query<Search>,
) -> Result<Private<Data<Vec<Grant>>>> {
    let grants = apps::grants(&cx.db(), &slug, search.before, limit(search.limit)).await?;
    Ok(Private(Data(grants)))
}

/// The role is in the tokens that the person gets from now on.
pub(crate) async fn grant(
    cx: Cx<Auth>,
    principal: Principal,
    Path((slug, user_id, role)): Path<(String, Uuid, String)>,
) -> Result<Private<Data<Done>>> {
    let transaction = cx.db().begin().await?;
    let is_there = apps::grant(&transaction, &slug, user_id, &role)
        .await
        .map_err(refused)?;
    if !is_there {
        return Err(no_role());
    }
    let details = json!({"app": slug, "role": role});
    note(
        &transaction,
        &principal,
        "auth.app_role_given",
        &user_id.to_string(),
        &details,
    )
    .await?;
    transaction.commit().await?;
    Ok(done("role_given"))
}

/// The tokens that tell of the role are refused at once.
pub(crate) async fn withdraw(
    cx: Cx<Auth>,
    principal: Principal,
    Path((slug, user_id, role)): Path<(String, Uuid, String)>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    if !apps::withdraw(&transaction, &slug, user_id, &role, now).await? {
        return Err(no_role());
    }
    let details = json!({"app": slug, "role": role});
    note(
        &transaction,
        &principal,
        "auth.app_role_taken",
        &user_id.to_string(),
        &details,
    )
    .await?;
    transaction.commit().await?;
    Ok(done("role_taken"))
}

fn no_role() -> Error {
    Error::not_found("APP_NOT_FOUND", "there is no such app, account or role")
}

/// What the database says of a slug or a role that cannot be one.
fn refused(error: Error) -> Error {
    match error.constraint().as_deref() {
        Some("apps_slug_check") => Error::invalid(
            "APP_INVALID",
            "slug: expected lower-case words joined by -, at most 63 characters",
        ),
        Some("apps_name_check") => {
            Error::invalid("APP_INVALID", "name: expected 1 to 200 characters")
        }
        Some("user_app_roles_role_check") => Error::invalid(
            "APP_INVALID",
            "role: expected lower-case letters, digits and _, and neither admin nor anonymous",
        ),
        _ => error,
    }
}

async fn note(
    transaction: &Transaction,
    principal: &Principal,
    action: &'static str,
    target: &str,
    details: &Value,
) -> Result<()> {
    let entry = New {
        actor: &actor(principal),
        action,
        target,
        details,
        family_id: None,
    };
    audit::append(transaction, &entry).await
}
