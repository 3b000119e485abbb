//! The course of events that the log is on. When a backup is put back, or a standby takes over that had not heard of everything, the log
//! goes on differently from what was delivered; whoever listens has to know.

use std::sync::{Mutex, PoisonError};

use nself_plugin_api::{prelude::*, tracing::warn};

use crate::{Stream, store};

/// The course that this host knows of.
#[derive(Default)]
pub(crate) struct Course(Mutex<Option<String>>);

impl Course {
    /// Whether it is another one than before.
    fn is_left_for(&self, now: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = known.as_ref().is_some_and(|known| known != now);
        *known = Some(now.to_owned());
        is_other
    }
}

/// Looks whether the log is still on the course that was delivered here. If not, all who listen to what is kept are told to come again,
/// and learn then that there is nothing to go on from.
pub(crate) async fn check(cx: &Cx<Stream>) {
    let Stream { course, hub, .. } = cx.plugin();
    match store::log::course(&cx.db()).await {
        Ok(now) if course.is_left_for(&now) => {
            warn!(
                "the log is another one than before: a backup was put back, or a standby has taken over"
            );
            let (ids, _) = hub.positions();
            for id in ids {
                hub.lose(id);
            }
        }
        Ok(_) => {}
        Err(error) => {
            warn!(%error, "it is not known whether the log is the one that was delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_course_that_is_known_is_no_other() {
        let course = Course::default();
        let said: Vec<bool> = ["1", "1", "2", "2", "1"]
            .into_iter()
            .map(|now| course.is_left_for(now))
            .collect();
        assert_eq!(said, [false, false, true, false, true]);
    }
}
