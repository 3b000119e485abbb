//! The loops of one host: one fires what is due, one follows what plugins declare.
//!
//! Nothing here is needed for correctness across hosts: any host may fire, and the table's key and the locks of its rows decide.
//! A loop that dies costs time and no fire.

mod declared;
pub(crate) mod tick;

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nself_plugin_api::{
    capability::db::{Notification, Notifications},
    futures_util::{
        FutureExt, StreamExt,
        future::{self, Either},
    },
    jiff::Timestamp,
    prelude::{Cx, Error, Result},
    route::BoxFuture,
    tracing::{debug, warn},
};

use crate::{Scheduler, store};

/// Longest time without a look: a notification can be lost with its connection.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Pause when what is due is in other hands.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Pause after the database could not be asked.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// Loops that are under way.
#[derive(Default)]
pub(crate) struct Loops(Mutex<HashSet<&'static str>>);

impl Loops {
    fn lock(&self) -> MutexGuard<'_, HashSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the loops that are not under way.
pub(crate) fn start(cx: &Cx<Scheduler>) -> Result<()> {
    keep(cx, "clock", |cx| run(cx).boxed())?;
    keep(cx, "declared", |cx| declared::follow(cx).boxed())
}

fn keep(
    cx: &Cx<Scheduler>,
    name: &'static str,
    work: fn(Cx<Scheduler>) -> BoxFuture<Result<()>>,
) -> Result<()> {
    if !cx.plugin().loops.lock().insert(name) {
        return Ok(());
    }
    let (under_way, work) = (UnderWay(cx.clone(), name), work(cx.clone()));
    cx.tasks().spawn(name, async move {
        let _under_way = under_way;
        work.await
    })?;
    Ok(())
}

/// Stands for a loop while it runs, however it ends.
struct UnderWay(Cx<Scheduler>, &'static str);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.plugin().loops.lock().remove(self.1);
    }
}

/// Fires what is due until the plugin drains.
async fn run(cx: Cx<Scheduler>) -> Result<()> {
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    let mut heard = None;
    loop {
        let pause = match round(&cx, &mut heard).await {
            Ok(pause) => pause,
            Err(error) => {
                debug!(error = %error, cause = error.cause(), "schedules cannot be fired");
                TROUBLE_PAUSE
            }
        };
        let clock = cx.clock();
        let late = pin!(clock.sleep(pause));
        let told = pin!(hear(&mut heard));
        let reason = future::select(late, told);
        if let Either::Left(_) = future::select(draining.as_mut(), reason).await {
            return Ok(());
        }
    }
}

/// Fires all that is due now; how long nothing else is.
async fn round(cx: &Cx<Scheduler>, heard: &mut Option<Notifications>) -> Result<Duration> {
    if heard.is_none() {
        // Before the look: what changes after it is heard.
        *heard = Some(cx.db().listen(store::schedules::CHANNEL).await?);
    }
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    loop {
        let (now, due) = store::tick::peek(&cx.db()).await?;
        let pause = due.map_or(LOOK_EVERY, |due| until(now, due).min(LOOK_EVERY));
        if !pause.is_zero() {
            return Ok(pause);
        }
        if draining.as_mut().now_or_never().is_some() {
            return Ok(LOOK_EVERY);
        }
        let taken = match tick::tick(cx, false).await {
            Ok(taken) => taken,
            Err(error) if !is_of_a_target(&error) => return Err(error),
            Err(error) => {
                // One target that cannot be reached must not hold up the others.
                warn!(error = %error, cause = error.cause(), "schedules are fired one by one: one of them failed");
                tick::tick(cx, true).await?
            }
        };
        if taken == 0 {
            return Ok(BUSY_PAUSE);
        }
    }
}

/// Whether a tick failed for something that it was to do, and not for the state of the database.
fn is_of_a_target(error: &Error) -> bool {
    let state = error.sqlstate();
    state.is_some_and(|state| {
        !matches!(
            state.get(..2),
            Some("08" | "40" | "53" | "55" | "57" | "58" | "XX")
        )
    })
}

/// A millisecond more than is left, so that it is due by the database's clock as well; zero when it is due.
fn until(now: Timestamp, due: Timestamp) -> Duration {
    let left = u64::try_from(due.as_microsecond() - now.as_microsecond()).unwrap_or(0);
    if left == 0 {
        return Duration::ZERO;
    }
    Duration::from_micros(left) + Duration::from_millis(1)
}

async fn hear(heard: &mut Option<Notifications>) {
    let Some(channel) = heard else {
        return future::pending().await;
    };
    match channel.next().await {
        Some(Ok(Notification::Payload(_) | Notification::Reconnected)) => {}
        Some(Err(_)) | None => *heard = None,
    }
}
