//! Sessions that ended before their tokens did.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use uuid::Uuid;

/// Revoked sessions, each kept until the last token of the session has expired anyway.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    until: RwLock<HashMap<Uuid, SystemTime>>,
    /// Size of `until`: the usual answer "nothing is revoked" then needs no lock.
    count: AtomicUsize,
}

impl Revocations {
    pub(super) fn add(&self, session_id: Uuid, until: SystemTime, now: SystemTime) {
        let mut sessions = self.until.write().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, until| *until > now);
        let entry = sessions.entry(session_id).or_insert(until);
        // A second, shorter revocation must not bring a session back.
        *entry = (*entry).max(until);
        self.count.store(sessions.len(), Ordering::Release);
    }

    pub(super) fn contains(&self, session_id: Uuid, now: SystemTime) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let sessions = self.until.read().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&session_id).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_stays_revoked_until_the_longest_date_said() {
        let (revocations, now, session_id) = (
            Revocations::default(),
            SystemTime::UNIX_EPOCH,
            Uuid::from_u128(1),
        );
        revocations.add(session_id, now + Duration::from_secs(60), now);
        revocations.add(session_id, now + Duration::from_secs(5), now);
        assert!(revocations.contains(session_id, now + Duration::from_secs(59)));
        assert!(!revocations.contains(session_id, now + Duration::from_secs(60)));
    }

    #[test]
    fn what_ran_out_is_forgotten() {
        let (revocations, now) = (Revocations::default(), SystemTime::UNIX_EPOCH);
        revocations.add(Uuid::from_u128(1), now + Duration::from_secs(1), now);
        revocations.add(
            Uuid::from_u128(2),
            now + Duration::from_secs(9),
            now + Duration::from_secs(2),
        );
        assert_eq!(revocations.count.load(Ordering::Acquire), 1);
    }
}
