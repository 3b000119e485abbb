//! `/mail/messages`, `/mail/status`, `/mail/test`: the queue, for operators.

use nself_plugin_api::{prelude::*, uuid::Uuid};
use serde::{Deserialize, Serialize};

use crate::{
    Mail,
    config::Delivery,
    error::MailError,
    letter::{Letter, Receipt},
    queue, send,
    store::messages::{self, Filter, Listed},
};

/// How mails are delivered, and how long the queue is.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Status {
    /// Where mails go.
    pub delivery: Delivery,
    /// Mails that wait or are being sent.
    pub waiting: i64,
    /// How long the oldest of them waits, seconds.
    pub oldest_seconds: f64,
    /// Mails that were given up and are still listed.
    pub failed: i64,
    /// Where the catcher takes mails by SMTP.
    pub catcher_smtp_port: Option<u16>,
}

/// A test mail.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    /// Who gets it.
    #[schema(format = "email")]
    pub to: String,
    /// In which language.
    pub language: Option<String>,
}

pub(crate) async fn status(cx: Cx<Mail>) -> Result<Data<Status>> {
    let plugin = cx.plugin();
    let depth = messages::depth(&cx.db(), cx.clock().now()?).await?;
    Ok(Data(Status {
        delivery: plugin.settings.delivery,
        waiting: depth.waiting,
        oldest_seconds: depth.oldest_seconds,
        failed: depth.failed,
        catcher_smtp_port: plugin.catcher.port(),
    }))
}

pub(crate) async fn list(cx: Cx<Mail>, Query(filter): Query<Filter>) -> Result<Data<Vec<Listed>>> {
    Ok(Data(messages::page(&cx.db(), &filter).await?))
}

pub(crate) async fn retry(cx: Cx<Mail>, Path(id): Path<Uuid>) -> Result<NoContent> {
    let found = messages::retry(&cx.db(), id, cx.clock().now()?).await?;
    let state = found.ok_or(MailError::Unknown { id })?;
    if !matches!(state.as_str(), "failed" | "queued") {
        return Err(MailError::NotRetryable { state }.into());
    }
    queue::wake(&cx).await;
    Ok(NoContent)
}

pub(crate) async fn test(cx: Cx<Mail>, Json(test): Json<Test>) -> Result<Created<Receipt>> {
    let letter = Letter {
        to: test.to,
        template: Some("mail/test".to_owned()),
        language: test.language,
        ..Letter::default()
    };
    Ok(Created(send::send(&cx, letter).await?))
}
