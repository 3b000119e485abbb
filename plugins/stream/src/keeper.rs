//! The task `keep`: what every host looks after twice a second. Clocks of connections, rights that changed, its lease, and that
//! its loops run.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nself_plugin_api::{
    prelude::*,
    tracing::{debug, warn},
};

use crate::{
    Stream, config::Wakeup, courier, course, leaving, media, protocol::Unsubscribe, reader,
    session::Now, standing, store, told,
};

/// Pause between two looks. Rights that were taken away are gone within a second.
pub(crate) const EVERY: Duration = Duration::from_millis(400);
/// Pause between two signs of life; a host is taken for dead after three of them.
const LEASE_EVERY: Duration = Duration::from_secs(3);
/// Rows that are dropped at a time.
const PRUNE_STEP: i64 = 10_000;

/// What it remembers from one look to the next.
#[derive(Default)]
pub(crate) struct Keeper {
    is_listening: AtomicBool,
    is_reading: AtomicBool,
    is_hearing: AtomicBool,
    seen: Mutex<Seen>,
    /// Of hosts that do not listen.
    pub asking: told::Asking,
}

#[derive(Default)]
struct Seen {
    token_changes: u64,
    leased_at: Option<Duration>,
    /// The database could not be asked the last time.
    is_blind: bool,
}

impl Keeper {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks once. What fails is looked at again next time; nothing of it keeps the rest waiting.
pub(crate) async fn keep(cx: Cx<Stream>) -> Result<()> {
    if let Err(error) = start_loops(&cx).await {
        debug!(%error, "a loop cannot be started");
    }
    let sessions = cx.plugin().hub.all_sessions();
    let now = Now {
        monotonic: cx.clock().monotonic()?,
        seconds: cx.clock().now()?.as_second().unsigned_abs(),
    };
    for session in &sessions {
        if session.look_at_the_clock(now, &cx.plugin().config) {
            // Whatever it is that holds its connection up, it takes part in nothing any more.
            leaving::end(&cx, session);
        }
        let ended = session.take_ended(now);
        leaving::unsubscribe(&cx, session, &ended, Unsubscribe::EXPIRED);
    }
    let changes = cx.tokens().changes()?;
    if std::mem::replace(&mut cx.plugin().keeper.seen().token_changes, changes) != changes {
        standing::check_tokens(&cx, &sessions);
    }
    let checked = standing::check_families(&cx, &sessions).await;
    let was_blind = std::mem::replace(&mut cx.plugin().keeper.seen().is_blind, checked.is_err());
    if let Err(error) = checked.or_else(|error| if was_blind { Ok(()) } else { Err(error) }) {
        warn!(%error, "it is not known at the moment who is still in their families");
    }
    let leased_at = cx.plugin().keeper.seen().leased_at;
    let is_due = leased_at.is_none_or(|at| now.monotonic.saturating_sub(at) >= LEASE_EVERY);
    if is_due && !sessions.is_empty() {
        cx.plugin().keeper.seen().leased_at = Some(now.monotonic);
        let clients = sessions.iter().map(|session| session.known_as()).collect();
        let kept = store::presence::keep_node(&cx.db(), cx.plugin().node, clients).await;
        match kept {
            Ok(()) => course::check(&cx).await,
            Err(error) => warn!(%error, "this host's lease is not renewed"),
        }
    }
    Ok(())
}

/// Starts the loops that do not run: at first all of them, later one that ended. What is told from then on is heard.
pub(crate) async fn start_loops(cx: &Cx<Stream>) -> Result<()> {
    if let Some(running) = Running::begin(cx, |keeper| &keeper.is_listening) {
        match cx.plugin().config.wakeup {
            Wakeup::Notify => listen(running).await?,
            Wakeup::Poll => ask_again_and_again(running).await?,
        }
    }
    if let Some(running) = Running::begin(cx, |keeper| &keeper.is_reading) {
        cx.tasks().spawn("read", async move {
            let ended = reader::follow(&running.cx).await;
            debug!(error = ?ended.err(), "nothing is read any more");
            Ok(())
        })?;
    }
    if cx.pubsub().is_on()?
        && let Some(running) = Running::begin(cx, |keeper| &keeper.is_hearing)
    {
        let messages = courier::subscribe(cx).await?;
        cx.tasks().spawn("hear", async move {
            let ended = courier::hear(&running.cx, messages).await;
            debug!(error = ?ended.err(), "nothing is carried any more");
            Ok(())
        })?;
    }
    Ok(())
}

async fn listen(running: Running) -> Result<()> {
    let cx = running.cx.clone();
    let notifications = cx.db().listen(store::told::CHANNEL).await?;
    cx.tasks().spawn("listen", async move {
        let ended = told::listen(&running.cx, notifications).await;
        debug!(error = ?ended.err(), "nothing is heard any more");
        Ok(())
    })?;
    Ok(())
}

async fn ask_again_and_again(running: Running) -> Result<()> {
    let cx = running.cx.clone();
    // From now on, not what was told before.
    let heard = cx.plugin().keeper.asking.hear(&cx, i64::MAX).await?;
    let Some(heard) = heard else {
        return Ok(());
    };
    cx.tasks().spawn("ask", async move {
        let ended = told::look(&running.cx, heard.upto).await;
        debug!(error = ?ended.err(), "nothing is heard any more");
        Ok(())
    })?;
    Ok(())
}

/// Says that a loop runs, until it does not, however it ends.
struct Running {
    cx: Cx<Stream>,
    flag: fn(&Keeper) -> &AtomicBool,
}

impl Running {
    fn begin(cx: &Cx<Stream>, flag: fn(&Keeper) -> &AtomicBool) -> Option<Self> {
        let was_running = flag(&cx.plugin().keeper).swap(true, Ordering::AcqRel);
        (!was_running).then(|| Self {
            cx: cx.clone(),
            flag,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        (self.flag)(&self.cx.plugin().keeper).store(false, Ordering::Release);
    }
}

/// The task `prune`: drops what no namespace keeps, and what was watched long ago, and turns the key of addresses when it is time.
pub(crate) async fn prune(cx: Cx<Stream>) -> Result<()> {
    while store::log::prune(&cx.db(), PRUNE_STEP).await? > 0 {}
    while store::media::prune(&cx.db(), PRUNE_STEP).await? > 0 {}
    media::keep_turning(&cx).await
}
