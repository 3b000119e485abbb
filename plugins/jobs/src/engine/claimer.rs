//! The claimer: keeps the backlog as full as this host can work off in a moment, and no fuller.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nself_plugin_api::{
    capability::db::{Notification, Notifications},
    futures_util::{
        FutureExt, StreamExt,
        future::{self, Either},
    },
    jiff::Timestamp,
    prelude::{Cx, Queries, Result},
    tracing::{debug, warn},
    uuid::Uuid,
    wake::Wake,
};

use super::{lease::Lease, queue::Queue, runner::note};
use crate::{
    Jobs,
    store::{
        self,
        claim::Holder,
        finish::{Ending, State},
    },
};

/// Most jobs of one claim: larger batches cost the same for each job and are lost together.
const BATCH_MAX: usize = 1_000;
/// Most jobs that wait here.
const BACKLOG_MAX: usize = 2_000;
/// How far the backlog reaches at the speed of the last moments.
const REACH: Duration = Duration::from_millis(50);
/// Pause after the database could not be asked.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// How long nothing begins beside a suspect: most of those that kill do it at once, and are known for it then.
const ALONE: Duration = Duration::from_secs(1);
/// What Postgres says of a lock that it did not get in time.
const LOCKED: &str = "55P03";
/// How long a lease is asked for of which the answer was lost: longer than any statement may run.
const DOUBT: Duration = Duration::from_secs(60);

/// What the rest of the engine tells the claimer.
#[derive(Default)]
pub(super) struct Claims {
    wake: Wake,
    asked: Mutex<Asked>,
    /// A backlog that is shorter is filled.
    threshold: AtomicUsize,
    /// Jobs that have ended since the start.
    ended: AtomicU64,
    /// How far the database's clock is ahead, in microseconds.
    clock_ahead: AtomicI64,
    sleeping: Mutex<Vec<i16>>,
    /// A suspect runs, and nothing is to begin beside it.
    is_alone: AtomicBool,
    /// Leases that may be there: the connection broke before the answer.
    unknown: Mutex<Vec<(Instant, Holder)>>,
}

#[derive(Default)]
struct Asked {
    everywhere: bool,
    queues: BTreeSet<i16>,
    suspects: BTreeSet<i16>,
    freed: BTreeSet<i16>,
}

impl Claims {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All queues are looked at.
    pub(super) fn look_everywhere(&self) {
        self.asked().everywhere = true;
        self.wake.wake();
    }

    /// The database says that there is something in those queues.
    pub(super) fn look(&self, queues: &[i16]) {
        if queues.is_empty() {
            return;
        }
        let mut asked = self.asked();
        asked.queues.extend(queues);
        asked.suspects.extend(queues);
        drop(asked);
        self.wake.wake();
    }

    /// Jobs of a queue have ended, which may be what its limits waited for.
    pub(super) fn freed(&self, queue: i16) {
        self.asked().freed.insert(queue);
        self.wake.wake();
    }

    /// A suspect has ended: the next one may run.
    pub(super) fn suspect_ended(&self, queue: i16) {
        self.is_alone.store(false, Ordering::Relaxed);
        self.asked().suspects.insert(queue);
        self.freed(queue);
    }

    /// A job has begun or ended.
    pub(super) fn moved(&self, backlog: usize) {
        if backlog < self.threshold.load(Ordering::Relaxed) {
            self.wake.wake();
        }
    }

    pub(super) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// The database's clock, seen when this host's showed `own`.
    pub(super) fn set_clock(&self, now: Timestamp, own: Timestamp) {
        let ahead = now.as_microsecond() - own.as_microsecond();
        self.clock_ahead.store(ahead, Ordering::Relaxed);
    }

    /// The database's time in microseconds, as far as it is known here; `own` is the time of this host's clock.
    pub(super) fn now(&self, own: Timestamp) -> i64 {
        own.as_microsecond() + self.clock_ahead.load(Ordering::Relaxed)
    }

    pub(super) fn until(&self, at: Timestamp, own: Timestamp) -> Duration {
        let now = self.now(own);
        // One millisecond later, so that it is due by the database's clock as well.
        Duration::from_micros(u64::try_from(at.as_microsecond() - now).unwrap_or(0))
            + Duration::from_millis(1)
    }

    /// Whether this host has found nothing in a queue and waits to be woken.
    pub(super) fn is_asleep(&self, queue: i16) -> bool {
        self.sleeping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&queue)
    }

    /// The answer to a claim did not arrive: the lease may have been written, now or in a moment.
    pub(super) fn doubt(&self, holder: Holder) {
        self.unknown().push((Instant::now(), holder));
    }

    /// Gives back what was claimed without anybody here knowing of it. A statement may outlive its connection, so each lease
    /// is asked for until no statement can be under way any more.
    pub(super) async fn give_back_unknown(&self, db: &impl Queries, host: Uuid) -> Result<()> {
        let leases: Vec<Uuid> = self
            .unknown()
            .iter()
            .filter(|(_, holder)| holder.host == host)
            .map(|(_, holder)| holder.lease)
            .collect();
        if leases.is_empty() {
            return Ok(());
        }
        let amount = store::hosts::unclaim(db, host, &leases).await?;
        if amount > 0 {
            debug!(
                amount,
                "jobs were claimed and the answer was lost: given back"
            );
        }
        self.unknown().retain(|(since, _)| since.elapsed() < DOUBT);
        Ok(())
    }

    fn unknown(&self) -> MutexGuard<'_, Vec<(Instant, Holder)>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues for which this host is marked as asleep.
    pub(super) fn sleeping(&self) -> Vec<i16> {
        self.sleeping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Claims until the plugin drains.
pub(super) async fn run(cx: Cx<Jobs>) -> Result<()> {
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    let mut claimer = Claimer {
        queues: BTreeMap::new(),
        others: BTreeSet::new(),
        heard: None,
        alone_until: Instant::now(),
        speed: Speed::new(),
    };
    loop {
        if draining.as_mut().now_or_never().is_some() || cx.plugin().engine.is_draining() {
            break;
        }
        let pause = match claimer.round(&cx).await {
            Ok(pause) => pause,
            Err(error) => {
                debug!(error = %error, "jobs cannot be claimed");
                Some(TROUBLE_PAUSE)
            }
        };
        let something = claimer.something(&cx, pause);
        if let Either::Left(_) = future::select(draining.as_mut(), pin!(something)).await {
            break;
        }
    }
    give_back(&cx);
    Ok(())
}

/// Nothing begins any more: what was claimed and has not begun is given back at once, as if it had not been claimed.
pub(super) fn give_back(cx: &Cx<Jobs>) {
    for (job, lease) in cx.plugin().engine.backlog.close() {
        let unbegun = Ending {
            state: State::Snoozed,
            delay: Some(0.0),
            ..Ending::completed(job.id)
        };
        note(cx, &lease, unbegun, None);
    }
}

struct Claimer {
    queues: BTreeMap<i16, Queue>,
    /// Queues that workers fetch from.
    others: BTreeSet<i16>,
    heard: Option<Notifications>,
    alone_until: Instant,
    speed: Speed,
}

impl Claimer {
    /// Looks at the queues that may have something, as far as there is room; how long nothing else is due.
    async fn round(&mut self, cx: &Cx<Jobs>) -> Result<Option<Duration>> {
        let engine = &cx.plugin().engine;
        self.listen(cx).await?;
        self.take_requests(cx).await?;
        let Some(host) = engine.host().filter(|_| engine.kinds.are_known()) else {
            // Who finds out rings.
            return Ok(None);
        };
        let wanted = self.wanted(cx);
        let now = Instant::now();
        if engine.claims.is_alone.load(Ordering::Relaxed) && now < self.alone_until {
            return Ok(Some(self.alone_until - now));
        }
        let due: Vec<i16> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.next().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in &due {
            let room = wanted.saturating_sub(engine.backlog.len());
            if room == 0 {
                break;
            }
            // Each gets its share, and what the ones before it left.
            let share = room.div_ceil(due.len()).min(BATCH_MAX);
            self.claim(cx, host, *id, share).await?;
            if engine.claims.is_alone.load(Ordering::Relaxed) {
                break;
            }
        }
        self.publish(cx);
        if wanted <= engine.backlog.len() {
            // There is enough: a job that begins or ends rings.
            return Ok(None);
        }
        let now = Instant::now();
        let next = self.queues.values().filter_map(Queue::next).min();
        Ok(next.map(|at| at.saturating_duration_since(now)))
    }

    async fn claim(&mut self, cx: &Cx<Jobs>, host: Uuid, id: i16, wanted: usize) -> Result<()> {
        let (engine, db) = (&cx.plugin().engine, cx.db());
        let Some(queue) = self.queues.get_mut(&id) else {
            return Ok(());
        };
        let name = (id, Arc::clone(&queue.name));
        queue.begin(Instant::now());
        if std::mem::take(&mut queue.has_suspects) {
            let holder = Holder::new(host);
            let claimed = store::claim::claim_suspect(&db, id, holder).await;
            if let Some((lease, jobs)) = claimed.inspect_err(|_| {
                queue.has_suspects = true;
                queue.wake(Instant::now() + TROUBLE_PAUSE);
                engine.claims.doubt(holder);
            })? {
                let lease = Arc::new(Lease::suspect(lease, name.clone(), &jobs));
                engine.claims.is_alone.store(true, Ordering::Relaxed);
                self.alone_until = Instant::now() + ALONE;
                queue.wake(self.alone_until);
                engine.backlog.push(&lease, jobs);
                return Ok(());
            }
        }
        let holder = Holder::new(host);
        let claimed = store::claim::claim(&db, id, holder, wanted, &mut queue.place).await;
        let claim = match claimed {
            Ok(claim) => claim,
            Err(error) if error.sqlstate().as_deref() == Some(LOCKED) => {
                queue.go_around(Instant::now());
                return Ok(());
            }
            Err(error) => {
                queue.wake(Instant::now() + TROUBLE_PAUSE);
                engine.claims.doubt(holder);
                return Err(error);
            }
        };
        let own = cx.clock().now()?;
        let due_in = claim.next_at.map(|at| engine.claims.until(at, own));
        let amount = claim.taken.as_ref().map_or(0, |(_, jobs)| jobs.len());
        queue.end(Instant::now(), claim.status, amount, due_in);
        if let Some((lease, jobs)) = claim.taken {
            if engine.host() == Some(host) {
                engine
                    .backlog
                    .push(&Arc::new(Lease::new(lease, name, &jobs)), jobs);
            } else {
                warn!(
                    "jobs were claimed for a host that was taken for dead meanwhile; they are given back"
                );
            }
        }
        Ok(())
    }

    /// How long the backlog should be now.
    fn wanted(&mut self, cx: &Cx<Jobs>) -> usize {
        let engine = &cx.plugin().engine;
        let free = engine.places.saturating_sub(engine.running());
        let ahead = self
            .speed
            .jobs_in(REACH, engine.claims.ended.load(Ordering::Relaxed));
        let wanted = (free + ahead).min(BACKLOG_MAX);
        engine
            .claims
            .threshold
            .store(wanted.div_ceil(2).max(1), Ordering::Relaxed);
        wanted
    }

    async fn listen(&mut self, cx: &Cx<Jobs>) -> Result<()> {
        if self.heard.is_none() {
            self.heard = Some(cx.db().listen(store::hosts::CHANNEL).await?);
            cx.plugin().engine.claims.asked().everywhere = true;
        }
        Ok(())
    }

    async fn take_requests(&mut self, cx: &Cx<Jobs>) -> Result<()> {
        let now = Instant::now();
        let asked = std::mem::take(&mut *cx.plugin().engine.claims.asked());
        if asked.everywhere {
            let listed = match store::kinds::queues(&cx.db()).await {
                Ok(listed) => listed,
                Err(error) => {
                    cx.plugin().engine.claims.asked().everywhere = true;
                    return Err(error);
                }
            };
            let (listed, others): (Vec<_>, Vec<_>) = listed.into_iter().partition(|queue| queue.2);
            self.others = others.into_iter().map(|(id, ..)| id).collect();
            self.queues
                .retain(|id, _| listed.iter().any(|(listed, ..)| listed == id));
            for (id, name, _) in listed {
                self.queues
                    .entry(id)
                    .or_insert_with(|| Queue::new(name, now))
                    .tell(now);
            }
        }
        for id in asked.queues {
            // One that is new, or that hosts work on now.
            match self.queues.get_mut(&id) {
                Some(queue) => queue.tell(now),
                None => cx.plugin().engine.claims.look_everywhere(),
            }
        }
        for id in asked.suspects {
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.has_suspects = true;
            }
        }
        for id in asked.freed {
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.wake(now);
            }
        }
        Ok(())
    }

    fn publish(&self, cx: &Cx<Jobs>) {
        let asleep = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.is_asleep())
            .map(|(id, _)| *id)
            .collect();
        let sleeping = &cx.plugin().engine.claims.sleeping;
        *sleeping.lock().unwrap_or_else(PoisonError::into_inner) = asleep;
    }

    /// Waits for a reason to look.
    async fn something(&mut self, cx: &Cx<Jobs>, pause: Option<Duration>) {
        let (engine, clock) = (&cx.plugin().engine, cx.clock());
        if pause.is_some_and(|pause| pause.is_zero()) {
            return;
        }
        let rung = pin!(engine.claims.wake.wait());
        let late = pin!(async {
            match pause {
                Some(pause) => _ = clock.sleep(pause).await,
                None => future::pending().await,
            }
        });
        let heard = pin!(hear(cx, &mut self.heard, &mut self.queues, &self.others));
        future::select(future::select(rung, late), heard).await;
    }
}

/// Waits for a notification and does what it says.
async fn hear(
    cx: &Cx<Jobs>,
    heard: &mut Option<Notifications>,
    queues: &mut BTreeMap<i16, Queue>,
    others: &BTreeSet<i16>,
) {
    let engine = &cx.plugin().engine;
    let Some(channel) = heard else {
        return future::pending().await;
    };
    match channel.next().await {
        Some(Ok(Notification::Payload(text))) => match text.split_once(' ') {
            Some(("queue", id)) => {
                let id = id.parse().unwrap_or_default();
                match queues.get_mut(&id) {
                    Some(queue) => queue.tell(Instant::now()),
                    None if engine.pulls.wake(id) || others.contains(&id) => {}
                    None => engine.claims.asked().everywhere = true,
                }
            }
            Some(("cancel", host)) if engine.host().is_some_and(|own| own.to_string() == host) => {
                engine.running.ask_cancels();
            }
            _ if text == "kinds" => engine.kinds.look(),
            _ if text == "everywhere" => engine.claims.asked().everywhere = true,
            _ => {}
        },
        Some(Ok(Notification::Reconnected)) => engine.claims.asked().everywhere = true,
        Some(Err(_)) | None => *heard = None,
    }
}

/// How many jobs end in a while, at the speed of the last moments.
struct Speed {
    since: Instant,
    ended: u64,
    per_second: u64,
}

impl Speed {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            ended: 0,
            per_second: 0,
        }
    }

    fn jobs_in(&mut self, span: Duration, ended: u64) -> usize {
        let passed = self.since.elapsed();
        if passed >= Duration::from_millis(5) {
            let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
            let now = (ended - self.ended).saturating_mul(1_000_000) / micros;
            // Faster at once, slower by halves: a pause is no slowness.
            self.per_second = now.max(u64::midpoint(self.per_second, now));
            self.since = Instant::now();
            self.ended = ended;
        }
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let jobs = self.per_second.saturating_mul(millis) / 1_000;
        usize::try_from(jobs).unwrap_or(BACKLOG_MAX)
    }
}
