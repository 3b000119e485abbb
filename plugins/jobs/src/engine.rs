//! The engine of one host: it claims jobs of the queues that hosts work on, runs them, and writes down how they ended.
//!
//! ```text
//! claimer ── claims batches ──► backlog ──► runners ──► leases ──► completer ── one commit for many jobs ──► Postgres
//!    ▲                                                                 │
//!    └── woken by NOTIFY, by a due time, by the presence's look, and ◄─┘ by places that have become free
//! ```
//!
//! Four kinds of loops, each a piece of work beside the requests that [`start`] looks after: the presence says that this
//! host lives, the claimer fills the backlog, runners empty it, the completer ends what they have run. Nothing here is
//! needed for correctness across hosts: that is the schema's. A loop that dies costs time and no job.

pub(crate) mod backlog;
mod claimer;
mod completer;
mod kinds;
mod lease;
mod place;
mod presence;
mod pulls;
mod queue;
mod runner;
mod running;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nself_plugin_api::{
    futures_util::{FutureExt, future},
    jiff::Timestamp,
    prelude::{Cx, Result},
    route::BoxFuture,
    tracing::warn,
    uuid::Uuid,
    wake::Wake,
};

use self::{backlog::Backlog, completer::Endings, running::Running};
pub(crate) use self::{
    completer::is_refused,
    kinds::{Kinds, reread as reread_kinds},
    lease::{Job, Lease},
    place::{Looked, Place},
    pulls::{PullQueue, Pulls},
    queue::{BUSY_PAUSE, probe},
};
use crate::{Jobs, store::claim::Holder};

/// Loops that run jobs: a handler that blocks its thread holds up one of them.
const RUNNERS: usize = 4;

/// What the loops share.
pub(crate) struct Engine {
    /// This host, once it has said that it lives; another one after it was taken for dead.
    host: RwLock<Option<Uuid>>,
    /// Jobs that may run at a time.
    pub(crate) places: usize,
    pub(crate) kinds: Kinds,
    pub(crate) backlog: Backlog,
    pub(crate) pulls: Pulls,
    running: Running,
    endings: Endings,
    claims: claimer::Claims,
    /// Loops that are under way, by name.
    loops: Mutex<HashMap<&'static str, usize>>,
    ended: Wake,
    is_draining: AtomicBool,
    /// Endings that were refused because the lease had been taken away.
    pub(crate) stale: AtomicUsize,
}

impl Engine {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            host: RwLock::default(),
            places,
            kinds: Kinds::default(),
            backlog: Backlog::new(places),
            pulls: Pulls::default(),
            running: Running::default(),
            endings: Endings::default(),
            claims: claimer::Claims::default(),
            loops: Mutex::default(),
            ended: Wake::default(),
            is_draining: AtomicBool::new(false),
            stale: AtomicUsize::new(0),
        }
    }

    /// This host's id, while it is known to live.
    pub(crate) fn host(&self) -> Option<Uuid> {
        *self.host.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_host(&self, host: Option<Uuid>) {
        *self.host.write().unwrap_or_else(PoisonError::into_inner) = host;
    }

    /// Jobs that run now.
    pub(crate) fn running(&self) -> usize {
        self.backlog.running()
    }

    /// Whether a new job of that kind would be the next one to begin here: there is room for as many, and nothing waits
    /// before them.
    pub(crate) fn may_begin(&self, kind: &str, amount: usize) -> bool {
        let is_next =
            |kind: Arc<kinds::Kind>| kind.is_worked() && self.claims.is_asleep(kind.queue);
        self.backlog.len() == 0
            && self.running() + amount <= self.places
            && self.kinds.get(kind).is_some_and(is_next)
    }

    /// The database's time.
    pub(crate) fn now(&self, cx: &Cx<Jobs>) -> Timestamp {
        let own = cx.clock().now().unwrap_or_default();
        Timestamp::from_microsecond(self.claims.now(own)).unwrap_or_default()
    }

    /// Looks at all queues again.
    pub(crate) fn look(&self) {
        self.claims.look_everywhere();
    }

    /// Notes that a lease may be there of which nobody here knows.
    pub(crate) fn doubt(&self, holder: Holder) {
        self.claims.doubt(holder);
    }

    /// The database says that there is something in those queues.
    fn look_at(&self, queues: &[i16]) {
        let of_hosts = queues.iter().copied().filter(|id| !self.pulls.wake(*id));
        self.claims.look(&of_hosts.collect::<Vec<_>>());
    }

    /// Queues for which this host is marked as asleep.
    fn sleeping(&self) -> Vec<i16> {
        let mut sleeping = self.claims.sleeping();
        sleeping.extend(self.pulls.sleeping());
        sleeping
    }

    /// How long it is until a time of the database's clock; `own` is what this host's clock shows.
    pub(crate) fn until(&self, at: Timestamp, own: Timestamp) -> Duration {
        self.claims.until(at, own)
    }

    /// Takes jobs that were enqueued and leased to this host in one go.
    pub(crate) fn take(&self, lease: Lease, jobs: Vec<Job>) {
        self.backlog.push(&Arc::new(lease), jobs);
    }

    /// Endings that were refused: somebody had taken the jobs away.
    fn note_stale(&self, amount: usize) {
        if amount > 0 {
            self.stale.fetch_add(amount, Ordering::Relaxed);
            warn!(
                amount,
                "jobs ended here that had been given to others; what came of them here is dropped"
            );
        }
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Whether something is claimed, run or written down now.
    fn is_at_work(&self) -> bool {
        let is_claiming = self.loops().get("claimer").is_some_and(|loops| *loops > 0);
        is_claiming || self.running() > 0 || !self.running.is_empty() || self.endings.are_pending()
    }

    fn loops(&self) -> MutexGuard<'_, HashMap<&'static str, usize>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the loops that are not under way. Does nothing while the plugin ends.
pub(crate) fn start(cx: &Cx<Jobs>) -> Result<()> {
    if cx.plugin().engine.is_draining() {
        return Ok(());
    }
    keep(cx, "presence", 1, |cx| presence::run(cx).boxed())?;
    keep(cx, "kinds", 1, |cx| kinds::follow(cx).boxed())?;
    keep(cx, "claimer", 1, |cx| claimer::run(cx).boxed())?;
    keep(cx, "completer", 1, |cx| completer::run(cx).boxed())?;
    keep(cx, "runner", RUNNERS, |cx| runner::run(cx).boxed())
}

fn keep(
    cx: &Cx<Jobs>,
    name: &'static str,
    amount: usize,
    work: fn(Cx<Jobs>) -> BoxFuture<Result<()>>,
) -> Result<()> {
    let missing = {
        let mut loops = cx.plugin().engine.loops();
        let under_way = loops.entry(name).or_default();
        let missing = amount.saturating_sub(*under_way);
        *under_way = amount.max(*under_way);
        missing
    };
    for _ in 0..missing {
        let counted = UnderWay(cx.clone(), name);
        let work = work(cx.clone());
        cx.tasks().spawn(name, async move {
            let _counted = counted;
            work.await
        })?;
    }
    Ok(())
}

/// Counts a loop while it runs, however it ends.
struct UnderWay(Cx<Jobs>, &'static str);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let engine = &self.0.plugin().engine;
        if let Some(under_way) = engine.loops().get_mut(self.1) {
            *under_way -= 1;
        }
        engine.ended.wake();
    }
}

/// Ends: what runs may finish until shortly before the deadline, what it ended is written down, the rest is given back as if
/// it had not begun.
pub(crate) async fn stop(cx: &Cx<Jobs>, deadline: Duration) -> Result<()> {
    let engine = &cx.plugin().engine;
    engine.is_draining.store(true, Ordering::SeqCst);
    claimer::give_back(cx);
    engine.claims.look_everywhere();
    let clock = cx.clock();
    let finished = async {
        while engine.is_at_work() {
            engine.ended.wait().await;
        }
    };
    future::select(pin!(finished), pin!(clock.sleep(deadline.mul_f32(0.8)))).await;
    engine.running.abandon();
    engine.endings.close();
    if let Some(host) = engine.host()
        && let Err(error) = crate::store::hosts::hand_back(&cx.db(), host).await
    {
        warn!(error = %error, "jobs of this host are given back when it is missed");
    }
    engine.set_host(None);
    Ok(())
}
