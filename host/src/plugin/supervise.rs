//! The host's loops for a plugin: its tasks, its subscriptions.

use std::{sync::Arc, time::Duration};

use nself_plugin_api::abi::error::Error;
use tokio::sync::watch;
use tracing::{Instrument, error, info_span, warn};

use super::{
    instance::Running,
    manifest::{Subscription, Task},
};
use crate::{
    capability::task::lease::Leases,
    events::{CloudEvent, EventLog, Subscriber},
};

/// Pause after a task's first failure; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);

/// Longest pause after failures, unless the task's own period is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Starts the loops; the plugin owns them.
pub(super) fn start(running: &Arc<Running>, leases: &Arc<Leases>, events: &Arc<EventLog>) {
    for (number, task) in (0..).zip(&running.manifest().tasks) {
        let span = info_span!("task", plugin = running.id(), task = task.name);
        let work = run_task(
            Arc::clone(running),
            number,
            task.clone(),
            Arc::clone(leases),
        );
        running.adopt(tokio::spawn(work.instrument(span)));
    }
    for (number, subscription) in (0..).zip(&running.manifest().subscriptions) {
        let span = info_span!(
            "subscription",
            plugin = running.id(),
            subscription = subscription.name
        );
        let work = subscribe(
            Arc::clone(running),
            number,
            subscription.clone(),
            Arc::clone(events),
        );
        running.adopt(tokio::spawn(work.instrument(span)));
    }
}

/// Who reads the event log for a subscription of the plugin `id`.
pub(super) fn subscriber(id: &str, subscription: &Subscription) -> Subscriber {
    let types: Vec<&str> = subscription.types.iter().map(String::as_str).collect();
    Subscriber::new(format!("{id}/{}", subscription.name), &types)
}

/// Resolves when the plugin is asked to end.
async fn ending(draining: &mut watch::Receiver<bool>) {
    // An error means that the plugin is gone.
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn run_task(running: Arc<Running>, number: u32, task: Task, leases: Arc<Leases>) {
    let mut draining = running.draining();
    let lease_name = format!("{}:task:{}", running.id(), task.name);
    loop {
        let held = if task.singleton {
            tokio::select! {
                () = ending(&mut draining) => return,
                held = leases.acquire(&lease_name) => Some(held),
            }
        } else {
            None
        };
        let lost = async {
            match &held {
                Some(held) => held.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = repeat(&running, number, &task, &mut draining) => return,
            () = lost => warn!("the task's lease was lost, another replica may run it now"),
        }
    }
}

/// Runs the task on its period until the plugin is asked to end; a run under way is let to its end.
async fn repeat(running: &Running, number: u32, task: &Task, draining: &mut watch::Receiver<bool>) {
    let every = Duration::from_millis(task.every_ms);
    let mut failures = 0_u32;
    loop {
        let run = running.instance().run_task(number);
        let pause = match running.watches().task(number).future(run).await {
            Ok(()) => {
                if failures > 0 {
                    running.health().task_works(&task.name);
                }
                failures = 0;
                every
            }
            Err(failure) => {
                failures += 1;
                report(running, task, &failure, failures);
                backoff(failures).max(if failures > 8 { every } else { Duration::ZERO })
            }
        };
        tokio::select! {
            () = ending(draining) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn report(running: &Running, task: &Task, failure: &Error, failures: u32) {
    let (message, cause) = (failure.message.to_text(), failure.cause.to_text());
    error!(failures, error = message, cause, "task failed");
    if failures >= 3 {
        let why = format!("task {} failed {failures} times: {message}", task.name);
        running.health().task_fails(&task.name, why);
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(BACKOFF_MAX)
}

async fn subscribe(
    running: Arc<Running>,
    number: u32,
    subscription: Subscription,
    events: Arc<EventLog>,
) {
    let subscriber = subscriber(running.id(), &subscription);
    let draining = running.draining();
    let deliver = |event: CloudEvent| {
        let running = Arc::clone(&running);
        async move {
            let content = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
            let cause = event.traceparent.as_deref();
            let taken = running.on_event(number, &event.kind, cause, content.into());
            taken.await.map_err(|failure| failure.to_string())
        }
    };
    if let Err(failure) = events.run(subscriber, deliver, draining).await {
        error!(error = %failure, "the subscription cannot run");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_the_longest() {
        assert_eq!(backoff(1), BACKOFF);
        assert_eq!(backoff(3), BACKOFF * 4);
        assert_eq!(backoff(200), BACKOFF_MAX);
    }
}
