//! Writes the mails that other plugins have asked for in transactions of their own (`mail.post`).
//!
//! A letter and the mail that is made of it change places in one transaction, so a courier that dies in between has done
//! nothing. What cannot be a mail has failed: it is listed, and its caller has gone on long ago.

use nself_plugin_api::{
    capability::db::Transaction, jiff::Timestamp, prelude::*, serde_json, tracing::warn,
};

use crate::{
    Mail,
    letter::{Letter, Taken},
    store::{
        letters::{self, Posted},
        messages::{self, Unwritten},
    },
};

/// Letters in one transaction.
const STEP: usize = 50;

/// Writes all letters that wait.
pub(crate) async fn write(cx: &Cx<Mail>) -> Result<()> {
    while letters::are_waiting(&cx.db()).await? {
        let transaction = cx.db().begin().await?;
        let posted = letters::take(&transaction, STEP).await?;
        if posted.is_empty() {
            // Another replica has them.
            return Ok(());
        }
        let now = cx.clock().now()?;
        for posted in posted {
            write_one(cx, &transaction, posted, now).await?;
        }
        transaction.commit().await?;
    }
    Ok(())
}

async fn write_one(
    cx: &Cx<Mail>,
    transaction: &Transaction,
    posted: Posted,
    now: Timestamp,
) -> Result<()> {
    let Posted { id, letter } = posted;
    // To nobody: it was there for its cost alone.
    if letter["to"].is_null() {
        return Ok(());
    }
    let recipient = letter["to"].as_str().unwrap_or_default().to_owned();
    let template = letter["template"].as_str().map(str::to_owned);
    let plugin = cx.plugin();
    let read = serde_json::from_value::<Letter>(letter)
        .map_err(|error| Error::invalid("CAPABILITY_PAYLOAD", format!("letter: {error}")));
    match read.and_then(|letter| letter.prepare(&plugin.settings, &plugin.templates)) {
        Ok(message) => {
            let receipt = messages::insert(transaction, Some(id), &message, now).await?;
            if receipt.status == Taken::Suppressed {
                plugin.metrics.suppressed.record(1.0);
            }
        }
        Err(error) => {
            let cause = error.cause().unwrap_or_default();
            warn!(mail = %id, template, %error, cause, "a mail that was asked for cannot be written");
            plugin.metrics.failed.record(1.0);
            let unwritten = Unwritten {
                id,
                recipient: &recipient,
                sender: &plugin.settings.from.to_string(),
                template: template.as_deref(),
                error: &format!("never written: {}", error.message()),
            };
            messages::insert_unwritten(transaction, &unwritten, now).await?;
        }
    }
    Ok(())
}
