//! The task `sweep`: sees that courier and catcher are at work, wakes the courier, ends connections that nobody uses, forgets what
//! was finished long ago, and measures the queue.

use std::time::Duration;

use nself_plugin_api::{jiff::Timestamp, prelude::*, tracing::info};

use crate::{Mail, catcher, queue, store};

/// Mails forgotten in one run.
const STEP: i64 = 1_000;

pub(crate) async fn run(cx: Cx<Mail>) -> Result<()> {
    queue::start(&cx)?;
    queue::wake_here(&cx);
    catcher::listen(&cx).await?;
    if let Some(smtp) = &cx.plugin().smtp {
        smtp.rest().await;
    }
    let now = cx.clock().now()?;
    let keep = Duration::from_secs(
        24 * 60 * 60 * u64::from(cx.plugin().settings.config.keep_finished_days),
    );
    let before = now.saturating_sub(keep).unwrap_or(Timestamp::MIN);
    let forgotten = store::messages::prune(&cx.db(), before, STEP).await?;
    if forgotten > 0 {
        info!(forgotten, "finished mails are forgotten");
    }
    let depth = store::messages::depth(&cx.db(), now).await?;
    let metrics = &cx.plugin().metrics;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a queue is shorter than 2^52 mails"
    )]
    metrics.queue_depth.record(depth.waiting as f64);
    metrics.queue_oldest_seconds.record(depth.oldest_seconds);
    Ok(())
}
