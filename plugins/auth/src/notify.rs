//! Mails of this plugin, by the capability `mail.send/1`.
//!
//! They are asked for in the transaction of their cause, by the SQL function that comes with the capability: whatever happens
//! in between, there are both or neither. What is written there takes a fraction of a millisecond and waits for no mail
//! server. Where an answer must not tell whether there was somebody to write to, a mail to nobody is asked for instead.

use nself_plugin_api::{
    prelude::*,
    serde_json::{Value, json},
};

use crate::{Auth, account::User, caller::Caller, store::mails};

/// A mail to be written.
pub(crate) struct Mail<'a> {
    pub(crate) to: &'a str,
    pub(crate) template: &'static str,
    pub(crate) language: &'a str,
    pub(crate) variables: Value,
}

/// Sends a mail when the transaction commits.
pub(crate) async fn post(db: &impl Queries, mail: &Mail<'_>) -> Result<()> {
    let Mail {
        to,
        template,
        language,
        variables,
    } = mail;
    let letter = json!({
        "to": to, "template": template, "language": language, "variables": variables,
    });
    mails::post(db, &letter).await
}

/// Costs what a mail costs, and sends none.
pub(crate) async fn post_to_nobody(db: &impl Queries) -> Result<()> {
    mails::post(db, &json!({"to": null})).await
}

/// An address in a mail that leads to a page of this plugin. Built from the configuration alone: a request's headers could
/// lead to somebody else's page.
pub(crate) fn page(cx: &Cx<Auth>, path: &str, token: &str) -> String {
    let root = cx.plugin().config.public_url.trim_end_matches('/');
    format!("{root}{path}?token={token}")
}

/// Tells a person what happens to their account, when the transaction commits that does it.
pub(crate) async fn of_change(
    cx: &Cx<Auth>,
    db: &impl Queries,
    user: &User,
    template: &'static str,
    caller: &Caller,
) -> Result<()> {
    let variables = json!({
        "name": user.display_name,
        "ip": caller.ip.map(|ip| ip.to_string()),
        "when": cx.clock().now()?.to_string(),
    });
    tell(db, user, template, variables).await
}

/// Tells a person that a refresh token of theirs was used twice.
pub(crate) async fn of_reuse(cx: &Cx<Auth>, db: &impl Queries, user: &User) -> Result<()> {
    let when = cx.clock().now()?.to_string();
    let variables = json!({"name": user.display_name, "when": when});
    tell(db, user, "auth/session-reuse", variables).await
}

async fn tell(
    db: &impl Queries,
    user: &User,
    template: &'static str,
    variables: Value,
) -> Result<()> {
    let Some(to) = &user.email else {
        return Ok(());
    };
    let mail = Mail {
        to,
        template,
        language: &user.locale,
        variables,
    };
    post(db, &mail).await
}
