//! One wheel for all deadlines of connections: a hand goes round, and looks at those that it passes. What is further away than one
//! round is looked at in between, and costs as much as a place in a list.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::connection::Connection;

/// How far the hand goes at a time: nobody is early, and nobody later than this.
const TICK: Duration = Duration::from_millis(50);
/// Places of the wheel: a round is 25.6 s.
const PLACES: u64 = 512;

/// Ticks since the wheel was made.
pub(super) type Tick = u64;

/// The wheel.
pub(super) struct Wheel {
    began: Instant,
    places: Mutex<Places>,
    bell: Notify,
    has_ended: AtomicBool,
}

struct Places {
    at: Vec<Vec<Weak<Connection>>>,
    /// The last tick whose place was looked at.
    hand: Tick,
    /// Entries in all places.
    entries: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            places: Mutex::new(Places {
                at: (0..PLACES).map(|_| Vec::new()).collect(),
                hand: 0,
                entries: 0,
            }),
            bell: Notify::new(),
            has_ended: AtomicBool::new(false),
        }
    }
}

impl Wheel {
    /// Milliseconds since the wheel was made.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at `connection` when `due_ms` has passed, or in a round if that is earlier; the tick of it.
    pub(super) fn look_at(&self, connection: &Arc<Connection>, due_ms: u64) -> Tick {
        let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(1);
        let mut places = self.places();
        if places.entries == 0 {
            places.hand = self.now_ms() / tick_ms;
        }
        let wanted = due_ms.div_ceil(tick_ms);
        let tick = wanted.clamp(places.hand + 1, places.hand + PLACES - 1);
        let place = usize::try_from(tick % PLACES).unwrap_or_default();
        places.at[place].push(Arc::downgrade(connection));
        places.entries += 1;
        let is_first = places.entries == 1;
        drop(places);
        if is_first {
            self.bell.notify_one();
        }
        tick
    }

    /// Lets [`run`](Self::run) end.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Goes round until the hub is gone.
    pub(super) async fn run(self: Arc<Self>) {
        while !self.has_ended.load(Ordering::Acquire) {
            let next = {
                let places = self.places();
                (places.entries > 0).then(|| places.hand + 1)
            };
            match next {
                None => self.bell.notified().await,
                Some(tick) => {
                    sleep_until(self.began + TICK * u32::try_from(tick).unwrap_or(u32::MAX)).await;
                    self.pass(tick);
                }
            }
        }
    }

    fn pass(&self, tick: Tick) {
        let passed = {
            let mut places = self.places();
            // It was empty meanwhile, and the hand has been put elsewhere.
            if places.hand + 1 != tick {
                return;
            }
            places.hand = tick;
            let place = usize::try_from(tick % PLACES).unwrap_or_default();
            let passed = mem::take(&mut places.at[place]);
            places.entries -= passed.len();
            passed
        };
        for connection in passed.iter().filter_map(Weak::upgrade) {
            connection.look_at_the_clock(tick);
        }
    }
}
