//! The completer: writes down how jobs ended, many in one commit. While one commit waits for the disk, the next one gathers.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nself_plugin_api::{
    futures_util::future,
    prelude::{Cx, Result},
    tracing::{debug, warn},
    uuid::Uuid,
    wake::Wake,
};

use super::lease::Lease;
use crate::{
    Jobs,
    store::{self, finish::Ending},
};

/// How long what has ended waits for the rest of its batch.
const PATIENCE: Duration = Duration::from_millis(20);
/// Pauses between tries to reach the database.
const TROUBLE_PAUSE: Duration = Duration::from_millis(200);
/// Most jobs of one statement.
const SETTLED_MAX: usize = 1_000;

/// Leases in which jobs have ended.
#[derive(Default)]
pub(super) struct Endings {
    listed: Mutex<Vec<Arc<Lease>>>,
    wake: Wake,
    is_busy: AtomicBool,
    is_closed: AtomicBool,
}

impl Endings {
    fn listed(&self) -> MutexGuard<'_, Vec<Arc<Lease>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs of that lease have ended.
    pub(super) fn list(&self, lease: Arc<Lease>) {
        self.listed().push(lease);
        self.wake.wake();
    }

    /// Whether something is not written down yet.
    pub(super) fn are_pending(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst) || !self.listed().is_empty()
    }

    /// Nothing more is written down.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.wake.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }
}

/// Completes until the plugin has ended.
pub(super) async fn run(cx: Cx<Jobs>) -> Result<()> {
    let engine = &cx.plugin().engine;
    let mut partial: Vec<(Instant, Arc<Lease>)> = Vec::new();
    while !engine.endings.is_closed() {
        let clock = cx.clock();
        let rung = pin!(engine.endings.wake.wait());
        match partial.first() {
            Some((since, _)) => {
                let rest = PATIENCE.saturating_sub(since.elapsed());
                future::select(rung, pin!(clock.sleep(rest))).await;
            }
            None => rung.await,
        }
        engine.endings.is_busy.store(true, Ordering::SeqCst);
        let listed = std::mem::take(&mut *engine.endings.listed());
        let now = Instant::now();
        partial.extend(listed.into_iter().map(|lease| (now, lease)));
        let is_ripe = |since: &Instant, lease: &Lease| {
            lease.is_over() || since.elapsed() >= PATIENCE || engine.is_draining()
        };
        let (ripe, unripe) = partial
            .into_iter()
            .partition(|(since, lease)| is_ripe(since, lease));
        partial = unripe;
        write(&cx, Round::of(ripe)).await;
        engine
            .endings
            .is_busy
            .store(!partial.is_empty(), Ordering::SeqCst);
        if engine.is_draining() {
            engine.ended.wake();
        }
    }
    Ok(())
}

/// What one round writes down.
#[derive(Default)]
struct Round {
    /// Whole leases of which rows are kept, and of which none are.
    kept: Vec<Arc<Lease>>,
    forgotten: Vec<Arc<Lease>>,
    /// Single jobs, and the queues in which they may have been what a limit waited for.
    settled: Vec<(Uuid, Ending)>,
    queues: Vec<i16>,
    /// Those in which a suspect has ended.
    suspects: Vec<i16>,
}

impl Round {
    fn of(leases: Vec<(Instant, Arc<Lease>)>) -> Self {
        let mut round = Self::default();
        for (_, lease) in leases {
            let is_over = lease.is_over();
            let mut ended = lease.ended();
            ended.is_listed = false;
            if round.queues.last() != Some(&lease.queue) {
                round.queues.push(lease.queue);
            }
            if lease.is_suspect {
                round.suspects.push(lease.queue);
            }
            if is_over && lease.is_plain() {
                drop(ended);
                let is_kept = lease.ended().is_kept.unwrap_or(true);
                if is_kept {
                    &mut round.kept
                } else {
                    &mut round.forgotten
                }
                .push(lease);
                continue;
            }
            let completed = std::mem::take(&mut ended.completed);
            let endings = std::mem::take(&mut ended.endings);
            drop(ended);
            let all = completed.into_iter().map(Ending::completed).chain(endings);
            round.settled.extend(all.map(|ending| (lease.id, ending)));
        }
        round
    }
}

/// Writes a round down, however long the database is away: the jobs are this host's until somebody takes them from it.
async fn write(cx: &Cx<Jobs>, round: Round) {
    let engine = &cx.plugin().engine;
    let Some(host) = engine.host() else {
        engine.note_stale(round.kept.len() + round.forgotten.len() + round.settled.len());
        return;
    };
    future::join3(
        complete(cx, host, &round.kept, true),
        complete(cx, host, &round.forgotten, false),
        settle(cx, host, &round.settled),
    )
    .await;
    for queue in round.queues {
        engine.claims.freed(queue);
    }
    for queue in round.suspects {
        engine.claims.suspect_ended(queue);
    }
}

async fn complete(cx: &Cx<Jobs>, host: Uuid, leases: &[Arc<Lease>], is_kept: bool) {
    if leases.is_empty() {
        return;
    }
    let ids: Vec<Uuid> = leases.iter().map(|lease| lease.id).collect();
    let held = until_done(cx, || async {
        store::finish::complete(&cx.db(), host, &ids, is_kept).await
    })
    .await;
    if let Some(held) = held {
        cx.plugin()
            .engine
            .note_stale(ids.len().saturating_sub(held.len()));
    }
}

async fn settle(cx: &Cx<Jobs>, host: Uuid, endings: &[(Uuid, Ending)]) {
    for chunk in endings.chunks(SETTLED_MAX) {
        let settled = until_done(cx, || async {
            match store::finish::settle(&cx.db(), Some(host), chunk).await {
                Err(error) if is_refused(&error) => one_by_one(cx, host, chunk).await,
                other => other,
            }
        })
        .await;
        if let Some(settled) = settled {
            let asked = chunk.iter().map(|(_, ending)| ending.job);
            cx.plugin().observed.settled(asked, &settled);
            cx.plugin()
                .engine
                .note_stale(chunk.len().saturating_sub(settled.len()));
        }
    }
}

/// Whether Postgres will refuse the statement again: a result that it cannot store, a chain that does not read.
pub(crate) fn is_refused(error: &nself_plugin_api::Error) -> bool {
    let class = error.sqlstate().unwrap_or_default();
    ["22", "23", "42", "54", "P0"]
        .iter()
        .any(|refused| class.starts_with(refused))
}

/// After a statement for many was refused: each job on its own, and the one that is to blame fails.
async fn one_by_one(
    cx: &Cx<Jobs>,
    host: Uuid,
    endings: &[(Uuid, Ending)],
) -> Result<Vec<(i64, String)>> {
    let mut all = Vec::new();
    for (lease, ending) in endings {
        let one = [(*lease, ending.clone())];
        match store::finish::settle(&cx.db(), Some(host), &one).await {
            Ok(settled) => all.extend(settled),
            Err(error) if is_refused(&error) => {
                warn!(job = ending.job, error = %error, cause = error.cause(), "the ending of a job cannot be stored");
                let broken = Ending::refused(ending.job);
                all.extend(store::finish::settle(&cx.db(), Some(host), &[(*lease, broken)]).await?);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

async fn until_done<T, F: Future<Output = Result<T>>>(
    cx: &Cx<Jobs>,
    mut work: impl FnMut() -> F,
) -> Option<T> {
    while !cx.plugin().engine.endings.is_closed() {
        match work().await {
            Ok(value) => return Some(value),
            Err(error) => {
                debug!(error = %error, cause = error.cause(), "how jobs ended cannot be written down now");
            }
        }
        let clock = cx.clock();
        // An error here is the plugin's end, which the loop sees.
        let _ = clock.sleep(TROUBLE_PAUSE).await;
    }
    None
}
