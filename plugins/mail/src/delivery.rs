//! One attempt to deliver one mail, and what follows from its outcome.

mod backoff;
mod compose;
pub(crate) mod smtp;

use std::time::{Duration, UNIX_EPOCH};

use nself_plugin_api::{
    jiff::Timestamp,
    prelude::*,
    tracing::{info, warn},
};

use crate::{
    Mail, address,
    catcher::{self, Envelope},
    store::{
        messages::{self, Claimed, Ending},
        suppressions,
    },
};

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is delivered.
    Delivered,
    /// Not now.
    Later { reason: String },
    /// Never; `no_mailbox` when that is the address's fault.
    Refused { reason: String, no_mailbox: bool },
}

/// Delivers a mail that this worker has taken, and writes down what came of it.
///
/// # Errors
///
/// Those of the database; the mail is taken again when its lease ends.
pub(crate) async fn deliver(cx: Cx<Mail>, claimed: Claimed) -> Result<()> {
    let outcome = if claimed.is_suppressed {
        None
    } else {
        Some(attempt(&cx, &claimed).await?)
    };
    let now = cx.clock().now()?;
    let ending = match &outcome {
        None => Ending::Suppressed,
        Some(Outcome::Delivered) => Ending::Sent,
        Some(Outcome::Refused { reason, .. }) => Ending::Failed {
            error: reason.clone(),
        },
        Some(Outcome::Later { reason }) => again(&cx, &claimed, reason, now)?,
    };
    let tx = cx.db().begin().await?;
    if let Some(Outcome::Refused {
        reason,
        no_mailbox: true,
    }) = &outcome
    {
        suppressions::add(&tx, &claimed.address, "bounce", Some(reason), now).await?;
    }
    let was_ours = messages::finish(&tx, &claimed, &ending, now).await?;
    tx.commit().await?;
    if was_ours {
        report(&cx, &claimed, &ending);
    } else {
        warn!(mail = %claimed.id, attempt = claimed.attempt, "another worker took over this mail before its delivery ended");
    }
    Ok(())
}

async fn attempt(cx: &Cx<Mail>, claimed: &Claimed) -> Result<Outcome> {
    let now = cx.clock().now()?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let message = match compose::compose(claimed, UNIX_EPOCH + Duration::from_secs(seconds)) {
        Ok(message) => message,
        Err(reason) => {
            return Ok(Outcome::Refused {
                reason,
                no_mailbox: false,
            });
        }
    };
    if let Some(smtp) = &cx.plugin().smtp {
        return Ok(smtp.send(cx, &message).await);
    }
    let envelope = message.envelope();
    let from = envelope.from().map(ToString::to_string);
    let envelope = Envelope {
        helo: "mail.send/1".to_owned(),
        from: from.unwrap_or_default(),
        to: envelope.to().iter().map(ToString::to_string).collect(),
    };
    catcher::keep(cx, &envelope, &message.formatted()).await?;
    Ok(Outcome::Delivered)
}

/// When the next attempt is, unless this was the last.
fn again(cx: &Cx<Mail>, claimed: &Claimed, reason: &str, now: Timestamp) -> Result<Ending> {
    let config = &cx.plugin().settings.config;
    let attempts = u32::try_from(claimed.attempt).unwrap_or_default();
    let age_max = Duration::from_secs(60 * 60 * u64::from(config.age_max_hours));
    let pause = backoff::pause(attempts, config, random(cx)?);
    let at = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
    let too_old = at
        > claimed
            .queued_at
            .saturating_add(age_max)
            .unwrap_or(Timestamp::MAX);
    if attempts >= config.attempts_max || too_old {
        let error = format!("given up after {attempts} attempts: {reason}");
        return Ok(Ending::Failed { error });
    }
    Ok(Ending::Again {
        at,
        error: reason.to_owned(),
    })
}

fn random(cx: &Cx<Mail>) -> Result<u8> {
    Ok(cx.crypto().random(1)?.first().copied().unwrap_or_default())
}

fn report(cx: &Cx<Mail>, claimed: &Claimed, ending: &Ending) {
    let metrics = &cx.plugin().metrics;
    let to = address::masked(&claimed.address);
    let (mail, attempt) = (claimed.id, claimed.attempt);
    match ending {
        Ending::Sent => {
            metrics.sent.record(1.0);
            info!(%mail, to, attempt, "mail sent");
        }
        Ending::Again { at, .. } => {
            metrics.retried.record(1.0);
            warn!(%mail, to, attempt, %at, "mail was not taken and is tried again");
        }
        Ending::Failed { .. } => {
            metrics.failed.record(1.0);
            warn!(%mail, to, attempt, "mail has failed");
        }
        Ending::Suppressed => {
            metrics.suppressed.record(1.0);
            info!(%mail, to, "mail not sent: the address is on the suppression list");
        }
    }
}
