//! What the system refuses for want of descriptors or memory. Whoever asks goes on asking, several times a second for as long as there are
//! none, and says so once in a while.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

/// Time between two lines about the same want.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// When it was said last.
#[derive(Debug, Default)]
pub(crate) struct Exhaustion(Option<Instant>);

impl Exhaustion {
    /// Whether it is to be said now; if so, that counts as said.
    pub(crate) fn is_to_be_said(&mut self) -> bool {
        let is_to_be_said = self.0.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if is_to_be_said {
            self.0 = Some(Instant::now());
        }
        is_to_be_said
    }
}

/// Files that this process may have open, as long as there is a limit; each connection is one.
pub(crate) fn files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
