//! Waiting for news of a run: from this process at once, from other hosts by a notification that is sent only where somebody waits.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use nself_plugin_api::{
    capability::db::{Notification, Notifications},
    futures_util::{
        StreamExt,
        future::{self, Either},
    },
    prelude::{Cx, Result},
    uuid::Uuid,
    wake::Wake,
};

use crate::{
    Orchestrator,
    store::watchers::{self, CHANNEL},
};

/// Who waits this long has the other hosts told: most runs have ended by then, and cost nothing more.
const ALONE: Duration = Duration::from_millis(50);
/// How often whoever waits says so, and how long that holds.
const MARKED_EVERY: Duration = Duration::from_secs(5);
const MARKED_FOR_SECONDS: i32 = 15;
/// Longest time without a look.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who waits in this process, by run.
#[derive(Default)]
pub(crate) struct Watching(Mutex<HashMap<Uuid, Vec<Seat>>>);

struct Seat {
    wake: Weak<Wake>,
    wants: News,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Any,
    TheEnd,
}

impl Watching {
    fn seats(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has happened to a run, and is committed.
    pub(crate) fn tell(&self, run: Uuid, has_ended: bool) {
        if let Some(seats) = self.seats().get(&run) {
            let meant = seats
                .iter()
                .filter(|seat| has_ended || seat.wants == News::Any);
            for wake in meant.filter_map(|seat| seat.wake.upgrade()) {
                wake.wake();
            }
        }
    }

    fn sit(&self, run: Uuid, wants: News) -> Arc<Wake> {
        let wake = Arc::new(Wake::default());
        let seat = Seat {
            wake: Arc::downgrade(&wake),
            wants,
        };
        self.seats().entry(run).or_default().push(seat);
        wake
    }

    fn leave(&self, run: Uuid, left: &Arc<Wake>) {
        let mut seats = self.seats();
        if let Some(of_run) = seats.get_mut(&run) {
            of_run.retain(|seat| !std::ptr::eq(seat.wake.as_ptr(), Arc::as_ptr(left)));
            if of_run.is_empty() {
                seats.remove(&run);
            }
        }
    }
}

/// Somebody who waits for news of a run. It begins before the first look, so that nothing is missed after that.
pub(crate) struct Watcher {
    cx: Cx<Orchestrator>,
    run: Uuid,
    wake: Arc<Wake>,
    told: Option<Notifications>,
    marked_at: Option<Duration>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.cx.plugin().watching.leave(self.run, &self.wake);
    }
}

impl Watcher {
    pub(crate) fn of(cx: &Cx<Orchestrator>, run: Uuid, wants: News) -> Self {
        Self {
            cx: cx.clone(),
            run,
            wake: cx.plugin().watching.sit(run, wants),
            told: None,
            marked_at: None,
        }
    }

    /// Waits until something may have happened to the run, for at most `limit`; false when the plugin drains.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub(crate) async fn news(&mut self, limit: Duration) -> Result<bool> {
        if self.told.is_some() {
            self.mark().await?;
        }
        let longest = self.told.as_ref().map_or(ALONE, |_| LOOK_EVERY);
        let is_late = {
            let (tasks, clock) = (self.cx.tasks(), self.cx.clock());
            let told = pin!(hear(self.told.as_mut(), self.run));
            let rung = pin!(self.wake.wait());
            let late = pin!(clock.sleep(limit.min(longest)));
            let draining = pin!(tasks.draining());
            let reason = future::select(future::select(rung, told), late);
            match future::select(draining, reason).await {
                Either::Left(_) => return Ok(false),
                Either::Right((reason, _)) => matches!(reason, Either::Right(_)),
            }
        };
        if is_late && self.told.is_none() && limit > longest {
            self.told = Some(self.cx.db().listen(CHANNEL).await?);
            self.mark().await?;
        }
        Ok(true)
    }

    /// Says to the other hosts that somebody waits here.
    async fn mark(&mut self) -> Result<()> {
        let now = self.cx.clock().monotonic()?;
        if self
            .marked_at
            .is_none_or(|marked| now.saturating_sub(marked) >= MARKED_EVERY)
        {
            let host = self.cx.plugin().host;
            watchers::mark(&self.cx.db(), self.run, host, MARKED_FOR_SECONDS).await?;
            self.marked_at = Some(now);
        }
        Ok(())
    }
}

async fn hear(told: Option<&mut Notifications>, run: Uuid) {
    let Some(told) = told else {
        return future::pending().await;
    };
    let run = run.to_string();
    loop {
        match told.next().await {
            Some(Ok(Notification::Payload(other))) if other != run => {}
            Some(_) => return,
            None => return future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_for_a_run_hears_of_it_and_of_no_other_and_leaves_nothing_behind() {
        let watching = Watching::default();
        let (run, other) = (Uuid::now_v7(), Uuid::now_v7());
        let first = watching.sit(run, News::Any);
        let second = watching.sit(run, News::TheEnd);
        let third = watching.sit(other, News::Any);
        let heard = || [&first, &second, &third].map(|seat| seat.wait().now_or_never().is_some());
        watching.tell(run, false);
        assert_eq!(heard(), [true, false, false]);
        watching.tell(run, true);
        assert_eq!(heard(), [true, true, false]);
        watching.leave(run, &first);
        watching.tell(run, true);
        assert_eq!(heard(), [false, true, false]);
        watching.leave(run, &second);
        watching.leave(other, &third);
        assert!(watching.seats().is_empty());
    }
}
