//! The courier: work beside the requests that takes mails which are due and delivers several at a time.
//!
//! It is woken by whoever puts a mail into the queue here, by another replica that has its hands full, and by the time of the
//! next mail that is due. The task `sweep` looks after it: a lost wake-up costs a few seconds, and a courier that has died is
//! replaced.

mod wake;

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};

use nself_plugin_api::{
    capability::db::Notifications,
    futures_util::{
        Stream, StreamExt,
        future::{self, FutureExt},
        stream::FuturesUnordered,
    },
    prelude::*,
    tracing::{debug, warn},
};

use self::wake::Wake;
use crate::{Mail, delivery, store};

/// Longest time without a look at the queue.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Pause after the database could not be asked.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// What the rest of the plugin knows of the courier.
#[derive(Default)]
pub(crate) struct Courier {
    wake: Wake,
    finished: Wake,
    is_running: AtomicBool,
    under_way: AtomicUsize,
}

/// Sends the courier off, unless it is under way. Does nothing while the plugin ends.
pub(crate) fn start(cx: &Cx<Mail>) -> Result<()> {
    let courier = &cx.plugin().courier;
    if courier.is_running.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let round = cx.clone();
    cx.tasks().spawn("courier", async move {
        let _running = Running(round.clone());
        run(&round).await
    })?;
    Ok(())
}

/// Held while the courier runs, however it ends.
struct Running(Cx<Mail>);

impl Drop for Running {
    fn drop(&mut self) {
        let courier = &self.0.plugin().courier;
        courier.is_running.store(false, Ordering::SeqCst);
        courier.finished.wake();
    }
}

/// Tells that a mail is due: the courier here, and when it has its hands full also those of other replicas.
pub(crate) async fn wake(cx: &Cx<Mail>) {
    let courier = &cx.plugin().courier;
    courier.wake.wake();
    if courier.under_way.load(Ordering::SeqCst) >= places(cx)
        && let Err(error) = store::messages::notify(&cx.db()).await
    {
        debug!(error = %error, "other replicas were not told of a mail");
    }
}

/// Wakes only the courier here.
pub(crate) fn wake_here(cx: &Cx<Mail>) {
    cx.plugin().courier.wake.wake();
}

/// Waits until the courier has finished what it had begun when the plugin was asked to end, at most until `deadline`. What
/// it could not finish is taken again when the lease ends.
pub(crate) async fn finished(cx: &Cx<Mail>, deadline: Duration) -> Result<()> {
    let courier = &cx.plugin().courier;
    let clock = cx.clock();
    let ended = async {
        while courier.is_running.load(Ordering::SeqCst) {
            courier.finished.wait().await;
        }
    };
    let late = clock.sleep(deadline.mul_f32(0.9));
    future::select(pin!(ended), pin!(late)).await;
    Ok(())
}

fn places(cx: &Cx<Mail>) -> usize {
    usize::try_from(cx.plugin().settings.config.deliveries_at_once).unwrap_or(1)
}

async fn run(cx: &Cx<Mail>) -> Result<()> {
    let courier = &cx.plugin().courier;
    let mut heard: Option<Notifications> = None;
    let mut under_way = FuturesUnordered::new();
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining().fuse());
    if draining.as_mut().now_or_never().is_some() {
        return Ok(());
    }
    loop {
        if heard.is_none() {
            heard = cx.db().listen(store::messages::CHANNEL).await.ok();
        }
        let pause = match take(cx, places(cx) - under_way.len()).await {
            Ok(Taken { mails, pause }) => {
                for claimed in mails {
                    under_way.push(delivery::deliver(cx.clone(), claimed));
                }
                pause
            }
            Err(error) => {
                debug!(error = %error, "the queue cannot be read");
                TROUBLE_PAUSE
            }
        };
        courier.under_way.store(under_way.len(), Ordering::SeqCst);
        let clock = cx.clock();
        let mut pause = pin!(clock.sleep(pause));
        let is_ending = future::poll_fn(|task| {
            if draining.poll_unpin(task).is_ready() {
                return Poll::Ready(true);
            }
            let woken = courier.wake.poll(task).is_ready();
            let delivered = match under_way.poll_next_unpin(task) {
                Poll::Ready(Some(outcome)) => {
                    note(outcome);
                    true
                }
                _ => false,
            };
            let told = hear(&mut heard, task);
            if woken || delivered || told || pause.as_mut().poll(task).is_ready() {
                Poll::Ready(false)
            } else {
                Poll::Pending
            }
        })
        .await;
        if is_ending {
            break;
        }
    }
    while let Some(outcome) = under_way.next().await {
        note(outcome);
    }
    Ok(())
}

/// Mails that were taken, and how long nothing else is due.
struct Taken {
    mails: Vec<store::messages::Claimed>,
    pause: Duration,
}

async fn take(cx: &Cx<Mail>, places: usize) -> Result<Taken> {
    let nothing = |pause| Taken {
        mails: Vec::new(),
        pause,
    };
    if places == 0 {
        return Ok(nothing(LOOK_EVERY));
    }
    let now = cx.clock().now()?;
    let lease = cx.plugin().settings.lease();
    let mails = store::messages::claim(&cx.db(), now, lease, places).await?;
    if mails.len() == places {
        // The next look is when a place is free.
        let pause = LOOK_EVERY;
        return Ok(Taken { mails, pause });
    }
    let next = store::messages::next_due(&cx.db()).await?;
    let until = next.map_or(LOOK_EVERY, |due| {
        let until = due.duration_since(cx.clock().now().unwrap_or(now));
        // What is due and was not taken is another replica's at this moment.
        Duration::try_from(until)
            .unwrap_or_default()
            .max(Duration::from_millis(100))
    });
    let pause = until.min(LOOK_EVERY);
    Ok(Taken { mails, pause })
}

/// Whether another replica has told of a mail. A channel that has ended is opened again at the next look.
fn hear(heard: &mut Option<Notifications>, task: &mut std::task::Context<'_>) -> bool {
    let Some(channel) = heard else {
        return false;
    };
    match std::pin::Pin::new(channel).poll_next(task) {
        Poll::Ready(Some(Ok(_))) => true,
        Poll::Ready(_) => {
            *heard = None;
            false
        }
        Poll::Pending => false,
    }
}

fn note(outcome: Result<()>) {
    if let Err(error) = outcome {
        warn!(error = %error, cause = error.cause(), "a delivery was broken off; it is taken again when its lease ends");
    }
}
