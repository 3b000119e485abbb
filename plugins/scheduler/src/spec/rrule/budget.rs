//! How long a search may be: a rule can be written that never matches, and must not stop a host from finding that out.

/// The days or periods that may still be looked at.
#[derive(Debug)]
pub(super) struct Budget(u32);

pub(super) use crate::local::Spent;

impl Budget {
    /// For the next occurrence of a set: more days than the 400 years have after which the calendar repeats.
    pub(super) fn of_search() -> Self {
        Self(400_000)
    }

    /// For reading a set: whether each of its rules ever fires, and all that is counted.
    pub(super) fn of_reading() -> Self {
        Self(1_000_000)
    }

    pub(super) fn spend(&mut self, steps: u32) -> Result<(), Spent> {
        self.0 = self.0.checked_sub(steps).ok_or(Spent)?;
        Ok(())
    }
}
