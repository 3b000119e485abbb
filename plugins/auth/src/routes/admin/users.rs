//! `/auth/admin/users`.

use nself_plugin_api::{
    capability::db::Transaction,
    prelude::*,
    serde_json::{Value, json},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{actor, limit, no_user, said};
use crate::{
    Auth, account,
    caller::Caller,
    erasure,
    hooks::{self, Origin, Registration, Way},
    landing::Landing,
    new_password,
    password::{self, Context},
    routes::{Done, Private, done},
    store::{
        accounts::{self, Membership},
        admin::{self, Factors, Filter, Listed},
        audit::{self, New},
        sessions::{self, End},
    },
};

/// Which accounts.
#[derive(Deserialize, Schema)]
pub(crate) struct Search {
    /// Part of an address or a name.
    #[schema(max_length = 200)]
    pub query: Option<String>,
    /// `active`, `suspended` or `deleted`.
    pub status: Option<String>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
    /// The last id of the page before.
    pub before: Option<Uuid>,
}

pub(crate) async fn list(
    cx: Cx<Auth>,
    Query(search): Query<Search>,
) -> Result<Private<Data<Vec<Listed>>>> {
    let filter = Filter {
        text: said(search.query.as_deref()),
        status: said(search.status.as_deref()),
        before: search.before,
        id: None,
        limit: limit(search.limit),
    };
    Ok(Private(Data(admin::users(&cx.db(), &filter).await?)))
}

/// An account, and how it can be used.
#[derive(Serialize, Schema)]
pub(crate) struct Shown {
    /// The account.
    pub user: Listed,
    /// How somebody can sign in.
    pub factors: Factors,
    /// The families.
    pub families: Vec<Membership>,
}

pub(crate) async fn show(cx: Cx<Auth>, Path(id): Path<Uuid>) -> Result<Private<Data<Shown>>> {
    Ok(Private(Data(shown(&cx, id).await?)))
}

async fn shown(cx: &Cx<Auth>, id: Uuid) -> Result<Shown> {
    let filter = Filter {
        id: Some(id),
        limit: 1,
        ..Filter::default()
    };
    let found = admin::users(&cx.db(), &filter).await?;
    let user = found.into_iter().next().ok_or_else(no_user)?;
    Ok(Shown {
        user,
        factors: admin::factors(&cx.db(), id, cx.clock().now()?).await?,
        families: accounts::memberships(&cx.db(), id).await?,
    })
}

/// An account that an operator makes.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Creation {
    /// Where mail reaches the person.
    #[schema(max_length = 320)]
    pub email: String,
    /// Without it the person gets a mail with a link that sets one.
    #[schema(max_length = 512)]
    pub password: Option<String>,
    /// As others will see them.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub display_name: String,
    /// BCP 47 language tag.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: Option<String>,
    /// Whether the operator knows that the address is the person's. Without it: yes where there is a password, because
    /// nobody could sign in with it otherwise; no where the mailed link is the proof.
    pub is_email_verified: Option<bool>,
}

pub(crate) async fn create(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(creation): Json<Creation>,
) -> Result<Private<Created<Shown>>> {
    let email = account::email(&creation.email)?;
    let display_name = account::display_name(&creation.display_name)?;
    let locale = creation
        .locale
        .as_deref()
        .map(account::locale)
        .transpose()?;
    let registration = Registration {
        way: Way::Operator,
        email: Some(&email),
        display_name: &display_name,
        locale: locale.unwrap_or("en"),
        provider: None,
        user_id: None,
        is_invited: true,
        from: Origin::caller(&caller),
    };
    hooks::before_register(&cx, &registration).await?;
    let hash = match &creation.password {
        Some(password) => Some(hash(&cx, password, &email, &display_name).await?),
        None => None,
    };
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let user = accounts::insert(
        &transaction,
        Some(&email),
        &display_name,
        locale.unwrap_or("en"),
    );
    let user = user.await?.ok_or_else(|| {
        Error::conflict(
            "EMAIL_TAKEN",
            "email: there is an account with this address",
        )
    })?;
    if let Some(hash) = &hash {
        accounts::set_password(&transaction, user.id, hash, now).await?;
    }
    if creation.is_email_verified.unwrap_or(hash.is_some()) {
        accounts::verify_email(&transaction, user.id, &email, now).await?;
    }
    accounts::announce(&transaction, &user).await?;
    let details = json!({"has_password": hash.is_some()});
    note(
        &transaction,
        &principal,
        "auth.account_made",
        user.id,
        &details,
    )
    .await?;
    if hash.is_none() {
        new_password::mail_link_in(&cx, &transaction, &email, Landing::Page).await?;
    }
    transaction.commit().await?;
    Ok(Private(Created(shown(&cx, user.id).await?)))
}

async fn hash(cx: &Cx<Auth>, password: &str, email: &str, display_name: &str) -> Result<String> {
    let context = Context {
        email: Some(email),
        name: Some(display_name),
    };
    password::hash_new(cx, password, context).await
}

/// What to change; what is left out stays.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// `active` or `suspended`.
    pub status: Option<Status>,
    /// Only `true`: the operator vouches that the address belongs to whom the account belongs to, as it is. Nothing is
    /// taken away from it, unlike when somebody proves an address by a link.
    pub is_email_verified: Option<bool>,
}

/// What an operator can make of an account; deleting is a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// May sign in.
    Active,
    /// May not, and is signed out everywhere.
    Suspended,
}

pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(change): Json<Change>,
) -> Result<Private<Data<Shown>>> {
    if change.is_email_verified == Some(false) {
        return Err(Error::invalid(
            "BODY_INVALID",
            "is_email_verified: expected true; a proof is not taken back, suspend the account instead",
        ));
    }
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let account = accounts::find_by_id(&transaction, id)
        .await?
        .ok_or_else(no_user)?;
    if change.is_email_verified == Some(true)
        && let Some(email) = &account.user.email
        && accounts::verify_email(&transaction, id, email, now).await?
    {
        note(
            &transaction,
            &principal,
            "auth.email_verified",
            id,
            &json!({}),
        )
        .await?;
    }
    match change.status {
        Some(Status::Suspended) if admin::set_status(&transaction, id, "suspended").await? => {
            let ended = sessions::revoke_others(
                &transaction,
                id,
                None,
                End::of("suspended", now).by(&actor(&principal)),
            )
            .await?;
            let details = json!({"sessions": ended});
            note(
                &transaction,
                &principal,
                "auth.account_suspended",
                id,
                &details,
            )
            .await?;
        }
        Some(Status::Active) if admin::set_status(&transaction, id, "active").await? => {
            note(
                &transaction,
                &principal,
                "auth.account_activated",
                id,
                &json!({}),
            )
            .await?;
        }
        Some(_) | None => {}
    }
    transaction.commit().await?;
    Ok(Private(Data(shown(&cx, id).await?)))
}

pub(crate) async fn delete(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let erased = erasure::erase(&cx, id, &actor(&principal), &caller).await?;
    erased.then_some(()).ok_or_else(no_user)?;
    Ok(done("account_deleted"))
}

/// How many sessions were ended.
#[derive(Serialize, Schema)]
pub(crate) struct SignedOut {
    /// So many.
    pub sessions: usize,
}

pub(crate) async fn sign_out(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<SignedOut>>> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let account = accounts::find_by_id(&transaction, id).await?;
    let id = account.ok_or_else(no_user)?.user.id;
    let ended = sessions::revoke_others(
        &transaction,
        id,
        None,
        End::of("operator", now).by(&actor(&principal)),
    )
    .await?;
    let details = json!({"sessions": ended});
    note(
        &transaction,
        &principal,
        "auth.signed_out_everywhere",
        id,
        &details,
    )
    .await?;
    transaction.commit().await?;
    Ok(Private(Data(SignedOut { sessions: ended })))
}

async fn note(
    transaction: &Transaction,
    principal: &Principal,
    action: &'static str,
    user_id: Uuid,
    details: &Value,
) -> Result<()> {
    let entry = New {
        actor: &actor(principal),
        action,
        target: &user_id.to_string(),
        details,
        family_id: None,
    };
    audit::append(transaction, &entry).await
}
