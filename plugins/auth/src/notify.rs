//! Mails of this plugin, by the capability `mail.send/1`.
//!
//! They are sent beside the answer, never before it: an answer that waited for a mail would tell by its time whether there
//! was one to send. The mail plugin keeps what it was given and tries again by itself.

use nself_plugin_api::{
    prelude::*,
    serde_json::{Value, json},
    tracing::warn,
};
use uuid::Uuid;

use crate::{Auth, account::User, caller::Caller, store::accounts};

/// The capability.
const MAIL: &str = "mail.send/1";

/// A mail to be written.
pub(crate) struct Mail<'a> {
    pub(crate) to: &'a str,
    pub(crate) template: &'static str,
    pub(crate) language: &'a str,
    pub(crate) variables: Value,
}

/// Sends a mail beside the answer. What it says is never logged.
pub(crate) fn send(cx: &Cx<Auth>, mail: Mail<'_>) {
    let Mail {
        to,
        template,
        language,
        variables,
    } = mail;
    let mut payload = json!({"to": to, "template": template, "language": language});
    payload["variables"] = variables;
    let beside = cx.clone();
    let sending = async move {
        let sent: Result<Value> = beside.calls().json(MAIL, "send", &payload).await;
        if let Err(error) = sent {
            warn!(template, %error, "a mail was not taken by the mail plugin");
        }
        Ok(())
    };
    if let Err(error) = cx.tasks().spawn("mail", sending) {
        warn!(template, %error, "a mail was not sent");
    }
}

/// An address in a mail that leads to a page of this plugin. Built from the configuration alone: a request's headers could
/// lead to somebody else's page.
pub(crate) fn page(cx: &Cx<Auth>, path: &str, token: &str) -> String {
    let root = cx.plugin().config.public_url.trim_end_matches('/');
    format!("{root}{path}?token={token}")
}

/// Tells a person what happened to their account.
pub(crate) fn of_change(cx: &Cx<Auth>, user: &User, template: &'static str, caller: &Caller) {
    let Some(email) = &user.email else { return };
    let variables = json!({
        "name": user.display_name,
        "ip": caller.ip.map(|ip| ip.to_string()),
        "when": cx.clock().now().ok().map(|now| now.to_string()),
    });
    send(
        cx,
        Mail {
            to: email,
            template,
            language: &user.locale,
            variables,
        },
    );
}

/// Tells a person that a refresh token of theirs was used twice.
pub(crate) fn of_reuse(cx: &Cx<Auth>, user_id: Uuid, session: Uuid) {
    let beside = cx.clone();
    let telling = async move {
        if let Some(account) = accounts::find_by_id(&beside.db(), user_id).await?
            && let Some(email) = &account.user.email
        {
            let now = beside.clock().now()?.to_string();
            let variables = json!({
                "name": account.user.display_name, "when": now, "session": session,
            });
            send(
                &beside,
                Mail {
                    to: email,
                    template: "auth/session-reuse",
                    language: &account.user.locale,
                    variables,
                },
            );
        }
        Ok(())
    };
    if let Err(error) = cx.tasks().spawn("mail", telling) {
        warn!(%error, "a person was not told of a reused refresh token");
    }
}
