//! How a running plugin does: its panics, and whether they are too many.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
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
    /// By task.
    failures: Mutex<BTreeMap<String, String>>,
}

impl Health {
    /// Nothing has gone wrong. `panics` counts over all versions of the plugin.
    pub fn new(panics: IntCounter) -> Self {
        Self {
            panics,
            recent: Mutex::default(),
            failures: Mutex::default(),
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

    /// Notes why a task fails.
    pub fn task_fails(&self, task: &str, why: String) {
        self.failures().insert(task.to_owned(), why);
    }

    /// Notes that a task works again.
    pub fn task_works(&self, task: &str) {
        self.failures().remove(task);
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
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
        let failures = self.failures();
        let all: Vec<&str> = failures.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
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

    #[test]
    fn a_task_that_works_again_does_not_hide_another_that_fails() {
        let health = Health::new(IntCounter::new("panics", "panics").expect("a good name"));
        health.task_fails("files", "task files failed 3 times".to_owned());
        health.task_fails("prune", "task prune failed 3 times".to_owned());
        let both = "task files failed 3 times; task prune failed 3 times";
        assert_eq!(health.degraded().as_deref(), Some(both));
        health.task_works("prune");
        assert_eq!(
            health.degraded().as_deref(),
            Some("task files failed 3 times")
        );
        health.task_works("files");
        assert_eq!(health.degraded(), None);
    }
}
