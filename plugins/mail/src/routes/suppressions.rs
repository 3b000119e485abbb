//! `/mail/suppressions`: addresses that get no mail, for operators.

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use crate::{
    Mail, address,
    error::MailError,
    store::suppressions::{self, Suppression},
};

/// Addresses on one page.
const PAGE: i64 = 200;

/// Which page.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    /// The last address of the page before.
    pub after: Option<String>,
}

/// Longest detail, in characters.
const DETAIL_MAX: usize = 500;

/// An address that shall get no mail.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSuppression {
    /// The address.
    #[schema(format = "email")]
    pub address: String,
    /// Why, for people.
    #[schema(max_length = 500)]
    pub detail: Option<String>,
}

pub(crate) async fn list(
    cx: Cx<Mail>,
    Query(page): Query<After>,
) -> Result<Data<Vec<Suppression>>> {
    let after = page.after.as_deref();
    Ok(Data(suppressions::page(&cx.db(), after, PAGE).await?))
}

pub(crate) async fn add(
    cx: Cx<Mail>,
    Json(new): Json<NewSuppression>,
) -> Result<Created<Suppression>> {
    let address = address::key(&address::parse("address", &new.address)?);
    let detail = new.detail.map(|detail| detail.replace('\0', ""));
    if detail
        .as_ref()
        .is_some_and(|detail| detail.chars().count() > DETAIL_MAX)
    {
        let message = format!("detail: more than {DETAIL_MAX} characters");
        return Err(Error::invalid("BODY_INVALID", message));
    }
    let now = cx.clock().now()?;
    let added = suppressions::add(&cx.db(), &address, "manual", detail.as_deref(), now).await?;
    Ok(Created(added))
}

pub(crate) async fn remove(cx: Cx<Mail>, Path(address): Path<String>) -> Result<NoContent> {
    let address = address.trim().to_lowercase();
    if !address.contains('\0') && suppressions::remove(&cx.db(), &address).await? {
        Ok(NoContent)
    } else {
        Err(MailError::NotSuppressed.into())
    }
}
