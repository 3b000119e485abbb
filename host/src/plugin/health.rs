//! How a running plugin does: its panics, and whether they are too many.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntCounter;

/// So many panics within [`WINDOW`] make a plugin degraded.
const PANICS_MAX: usize = 5;

/// How far back panics count.
const WINDOW: Duration = Duration::from_secs(60);

/// Panics of one running plugin, and the failures of its tasks.
pub struct Health {
    panics: IntCounter,
    recent: Mutex<VecDeque<Instant>>,
    failure: Mutex<Option<String>>,
}

impl Health {
    /// Nothing has gone wrong. `panics` counts over all versions of the plugin.
    pub fn new(panics: IntCounter) -> Self {
        Self {
            panics,
            recent: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// It panicked. Caught by its own guard, told by its panic hook.
    pub fn panicked(&self) {
        self.panics.inc();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == PANICS_MAX {
            recent.pop_front();
        }
        recent.push_back(Instant::now());
    }

    /// Notes why a task fails, or that it works again.
    pub fn task(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Why it is degraded, if it is.
    pub fn degraded(&self) -> Option<String> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == PANICS_MAX
            && recent.front().is_some_and(|first| first.elapsed() < WINDOW)
        {
            return Some(format!(
                "{PANICS_MAX} panics or more within {} s",
                WINDOW.as_secs()
            ));
        }
        drop(recent);
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_keeps_panicking_is_degraded_and_one_panic_is_not_enough() {
        let health = Health::new(IntCounter::new("panics", "panics").expect("a good name"));
        health.panicked();
        assert_eq!(health.degraded(), None);
        (1..PANICS_MAX).for_each(|_| health.panicked());
        assert!(health.degraded().is_some_and(|why| why.contains("panics")));
    }
}
