//! The courier: work beside the requests that takes mails which are due and delivers several at a time.
//!
//! It is woken by whoever puts a mail into the queue here, by another replica that has its hands full, by a transaction that
//! asked for a mail, and by the time of the next mail that is due. The task `sweep` looks after it: a lost wake-up costs a few seconds, and a courier that has died is
//! replaced.

use std::{
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use nself_plugin_api::{
    capability::db::Notifications,
    futures_util::{
        StreamExt,
        future::{self, Either, FutureExt},
        stream::FuturesUnordered,
    },
    prelude::{Cx, Result},
    route::BoxFuture,
    tracing::{debug, warn},
    wake::Wake,
};

use crate::{Mail, delivery, post, store};

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
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    if draining.as_mut().now_or_never().is_some() {
        return Ok(());
    }
    let mut round = Round::default();
    loop {
        let pause = round.take(cx).await;
        let clock = cx.clock();
        let pause = pin!(clock.sleep(pause));
        let something = pin!(round.something(cx, pause));
        if let Either::Left(_) = future::select(draining.as_mut(), something).await {
            break;
        }
    }
    while let Some(outcome) = round.under_way.next().await {
        note(outcome);
    }
    Ok(())
}

/// The deliveries of the courier, and its ear for other replicas.
#[derive(Default)]
struct Round {
    under_way: FuturesUnordered<BoxFuture<Result<()>>>,
    heard: Option<Notifications>,
}

impl Round {
    /// Begins as many deliveries as there are places for; how long nothing else is due.
    async fn take(&mut self, cx: &Cx<Mail>) -> Duration {
        if self.heard.is_none() {
            self.heard = cx.db().listen(store::messages::CHANNEL).await.ok();
        }
        let (taken, has_place_again) = self.look(cx).await;
        let pause = match taken {
            Ok(Taken { mails, pause }) => {
                for claimed in mails {
                    let delivery = delivery::deliver(cx.clone(), claimed);
                    self.under_way.push(Box::pin(delivery));
                }
                if has_place_again {
                    Duration::ZERO
                } else {
                    pause
                }
            }
            Err(error) => {
                debug!(error = %error, "the queue cannot be read");
                TROUBLE_PAUSE
            }
        };
        let under_way = &cx.plugin().courier.under_way;
        under_way.store(self.under_way.len(), Ordering::SeqCst);
        pause
    }

    /// Writes what was asked for, and takes what is due. The deliveries are driven meanwhile: they have connections that this
    /// may be waiting for. Whether one has ended.
    async fn look(&mut self, cx: &Cx<Mail>) -> (Result<Taken>, bool) {
        let free = places(cx) - self.under_way.len();
        let mut looking = pin!(async move {
            post::write(cx).await?;
            take(cx, free).await
        });
        let mut is_delivered = false;
        let taken = future::poll_fn(|task| {
            while let Poll::Ready(Some(outcome)) = self.under_way.poll_next_unpin(task) {
                note(outcome);
                is_delivered = true;
            }
            looking.as_mut().poll(task)
        })
        .await;
        (taken, is_delivered)
    }

    /// Waits for a reason to look at the queue, and drives the deliveries meanwhile.
    async fn something(&mut self, cx: &Cx<Mail>, mut pause: Pin<&mut impl Future>) {
        future::poll_fn(|task| {
            let is_woken = cx.plugin().courier.wake.poll(task).is_ready();
            let is_told = self.hear(task);
            let is_late = pause.as_mut().poll(task).is_ready();
            let mut is_delivered = false;
            while let Poll::Ready(Some(outcome)) = self.under_way.poll_next_unpin(task) {
                note(outcome);
                is_delivered = true;
            }
            if is_woken || is_told || is_late || is_delivered {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether another replica has told of a mail. A channel that has ended is opened again at the next look.
    fn hear(&mut self, task: &mut Context<'_>) -> bool {
        let Some(channel) = &mut self.heard else {
            return false;
        };
        match channel.poll_next_unpin(task) {
            Poll::Ready(Some(Ok(_))) => true,
            Poll::Ready(_) => {
                self.heard = None;
                false
            }
            Poll::Pending => false,
        }
    }
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

fn note(outcome: Result<()>) {
    if let Err(error) = outcome {
        warn!(error = %error, cause = error.cause(), "a delivery was broken off; it is taken again when its lease ends");
    }
}
