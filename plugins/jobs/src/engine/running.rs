//! Jobs that wait for something: those that can be cancelled, and those that run for so long that they get leases of their
//! own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nself_plugin_api::{prelude::Cx, tracing::debug, uuid::Uuid, wake::Wake};

use super::{lease::Lease, runner::note};
use crate::{
    Jobs,
    store::{self, finish::Ending},
};

/// A job that runs for longer than that gets a lease of its own.
const LONG: Duration = Duration::from_secs(2);

/// The jobs, by their ids.
#[derive(Default)]
pub(super) struct Running {
    jobs: Mutex<HashMap<i64, Going>>,
    cancels: Wake,
}

/// One of them.
struct Going {
    lease: Arc<Lease>,
    /// It shares its lease with others.
    is_shared: bool,
    is_kept: Option<bool>,
    since: Instant,
    stop: Arc<Stop>,
    moving: Move,
}

/// Whether a job is getting a lease of its own.
enum Move {
    /// It is not.
    Staying,
    /// It is; how it ended meanwhile is kept until that is known.
    Moving(Option<Ending>),
}

/// Tells a job that it ends.
#[derive(Default)]
pub(super) struct Stop {
    pub wake: Wake,
    /// Somebody else has it now: nothing is said about its end.
    pub is_abandoned: AtomicBool,
}

impl Running {
    fn jobs(&self) -> MutexGuard<'_, HashMap<i64, Going>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, job: i64, lease: Arc<Lease>, is_kept: Option<bool>) -> Arc<Stop> {
        let stop = Arc::new(Stop::default());
        let going = Going {
            lease,
            is_shared: true,
            is_kept,
            since: Instant::now(),
            stop: Arc::clone(&stop),
            moving: Move::Staying,
        };
        self.jobs().insert(job, going);
        stop
    }

    /// A job has ended; without an ending it is somebody else's. `stop` tells its attempts apart: one that was taken from this
    /// host may have been claimed by it again.
    pub(super) fn end(&self, cx: &Cx<Jobs>, job: i64, stop: &Arc<Stop>, ending: Option<Ending>) {
        let mut jobs = self.jobs();
        if !jobs
            .get(&job)
            .is_some_and(|going| Arc::ptr_eq(&going.stop, stop))
        {
            drop(jobs);
            return cx.plugin().engine.note_stale(usize::from(ending.is_some()));
        }
        if let (
            Some(Going {
                moving: Move::Moving(kept),
                ..
            }),
            Some(ending),
        ) = (jobs.get_mut(&job), &ending)
        {
            *kept = Some(ending.clone());
            return;
        }
        let going = jobs.remove(&job);
        drop(jobs);
        if let (Some(going), Some(ending)) = (going, ending) {
            note(cx, &going.lease, ending, going.is_kept);
        }
    }

    /// Ends jobs that somebody wants to end.
    pub(super) fn cancel(&self, ids: &[i64]) {
        if ids.is_empty() {
            return;
        }
        let jobs = self.jobs();
        for going in ids.iter().filter_map(|id| jobs.get(id)) {
            going.stop.wake.wake();
        }
    }

    /// Somebody has said that a job of this host is to end.
    pub(super) fn ask_cancels(&self) {
        self.cancels.wake();
    }

    pub(super) async fn cancel_asked(&self) {
        self.cancels.wait().await;
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs().is_empty()
    }

    /// Ends everything without a word: the leases are gone.
    pub(super) fn abandon(&self) {
        for going in self.jobs().values() {
            going.stop.is_abandoned.store(true, Ordering::SeqCst);
            going.stop.wake.wake();
        }
    }

    /// Gives jobs that have run for long leases of their own, so that what ended beside them is not held up.
    pub(super) async fn split_long(&self, cx: &Cx<Jobs>, host: Uuid) {
        for (lease, ids) in self.begin_moving() {
            let split = store::claim::split(&cx.db(), host, lease, &ids).await;
            let own = split.inspect_err(|error| {
                debug!(error = %error, "a long job stays in the lease of its batch for now");
            });
            // When it is not known whether there are new leases, it is asked again: how the jobs end is kept until then.
            if let Ok(own) = own {
                self.end_moving(cx, &ids, &own.into_iter().collect());
            }
        }
    }

    fn begin_moving(&self) -> HashMap<Uuid, Vec<i64>> {
        let mut moving: HashMap<Uuid, Vec<i64>> = HashMap::new();
        for (id, going) in self.jobs().iter_mut() {
            if going.is_shared && going.since.elapsed() >= LONG {
                if let Move::Staying = going.moving {
                    going.moving = Move::Moving(None);
                }
                moving.entry(going.lease.id).or_default().push(*id);
            }
        }
        moving
    }

    fn end_moving(&self, cx: &Cx<Jobs>, ids: &[i64], own: &HashMap<i64, Uuid>) {
        for id in ids {
            let mut jobs = self.jobs();
            let Some(going) = jobs.get_mut(id) else {
                continue;
            };
            // A lease of one job is not split: it is its own already.
            going.is_shared = false;
            if let Some(lease) = own.get(id) {
                let own = Arc::new(Lease::single(*lease, &going.lease));
                std::mem::replace(&mut going.lease, own).leave();
            }
            if let Move::Moving(Some(ending)) = std::mem::replace(&mut going.moving, Move::Staying)
                && let Some(going) = jobs.remove(id)
            {
                drop(jobs);
                note(cx, &going.lease, ending, going.is_kept);
            }
        }
    }
}
