//! Dialogues that rest until the next mail: a handshake and a login cost more than a mail does.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::dialogue::Dialogue;

/// How long a dialogue rests; many servers end it themselves after a few minutes.
const REST_MAX: Duration = Duration::from_secs(60);

/// Dialogues without a mail.
pub(super) struct Pool {
    resting: Mutex<Vec<Resting>>,
    places: usize,
}

struct Resting {
    dialogue: Dialogue,
    since: Instant,
}

impl Pool {
    pub(super) fn new(places: usize) -> Self {
        Self {
            resting: Mutex::default(),
            places,
        }
    }

    /// The one that has rested for the shortest time.
    pub(super) fn take(&self) -> Option<Dialogue> {
        self.lock().pop().map(|resting| resting.dialogue)
    }

    /// Puts one to rest, unless there are enough.
    pub(super) fn put(&self, dialogue: Dialogue) {
        let since = Instant::now();
        let mut resting = self.lock();
        if resting.len() < self.places {
            resting.push(Resting { dialogue, since });
        }
    }

    /// Those that have rested for too long.
    pub(super) fn take_old(&self) -> Vec<Dialogue> {
        let mut resting = self.lock();
        // The oldest lie in front.
        let old = resting.partition_point(|one| one.since.elapsed() > REST_MAX);
        resting.drain(..old).map(|one| one.dialogue).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Resting>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
