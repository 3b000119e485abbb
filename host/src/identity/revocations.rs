//! Sessions, or the older tokens of sessions, that ended before their tokens expired.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use uuid::Uuid;

/// What is known about a token beside what it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing against it.
    Good,
    /// Its session has ended.
    Ended,
    /// Its session goes on with newer tokens.
    Outdated,
}

/// What is refused of one session; a time that has passed refuses nothing.
#[derive(Debug, Clone, Copy)]
struct Refused {
    ended_until: SystemTime,
    /// Tokens of a lower epoch are out of date.
    epoch: u32,
    outdated_until: SystemTime,
}

impl Refused {
    const NOTHING: Self = Self {
        ended_until: SystemTime::UNIX_EPOCH,
        epoch: 0,
        outdated_until: SystemTime::UNIX_EPOCH,
    };

    fn is_over(&self, now: SystemTime) -> bool {
        self.ended_until <= now && self.outdated_until <= now
    }
}

/// Refused sessions, each kept until the last of the refused tokens has expired anyway.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    sessions: RwLock<HashMap<Uuid, Refused>>,
    /// Size of `sessions`: the usual answer "nothing is refused" then needs no lock.
    count: AtomicUsize,
    /// How often something was refused.
    changes: AtomicU64,
}

impl Revocations {
    /// Ends a session.
    pub(super) fn end(&self, session_id: Uuid, until: SystemTime, now: SystemTime) {
        // A second, shorter revocation must not bring a session back.
        self.change(session_id, now, |refused| {
            refused.ended_until = refused.ended_until.max(until);
        });
    }

    /// Ends the tokens of a session that are older than `epoch`.
    pub(super) fn refuse_older(
        &self,
        session_id: Uuid,
        epoch: u32,
        until: SystemTime,
        now: SystemTime,
    ) {
        // Both only rise: calls that overtake one another end as they would have in order.
        self.change(session_id, now, |refused| {
            refused.epoch = refused.epoch.max(epoch);
            refused.outdated_until = refused.outdated_until.max(until);
        });
    }

    fn change(&self, session_id: Uuid, now: SystemTime, change: impl FnOnce(&mut Refused)) {
        let mut sessions = self
            .sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, refused| !refused.is_over(now));
        change(sessions.entry(session_id).or_insert(Refused::NOTHING));
        self.count.store(sessions.len(), Ordering::Release);
        // Last: who sees the number looks up what it stands for.
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often something was refused so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What is known about a token of this session and epoch.
    pub(super) fn standing(&self, session_id: Uuid, epoch: u32, now: SystemTime) -> Standing {
        if self.count.load(Ordering::Acquire) == 0 {
            return Standing::Good;
        }
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        match sessions.get(&session_id) {
            Some(refused) if refused.ended_until > now => Standing::Ended,
            Some(refused) if refused.outdated_until > now && epoch < refused.epoch => {
                Standing::Outdated
            }
            _ => Standing::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SESSION: Uuid = Uuid::from_u128(1);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_session_stays_revoked_until_the_longest_date_said() {
        let revocations = Revocations::default();
        revocations.end(SESSION, at(60), at(0));
        revocations.end(SESSION, at(5), at(0));
        assert_eq!(revocations.standing(SESSION, 9, at(59)), Standing::Ended);
        assert_eq!(revocations.standing(SESSION, 9, at(60)), Standing::Good);
    }

    #[test]
    fn what_ran_out_is_forgotten() {
        let revocations = Revocations::default();
        revocations.end(SESSION, at(1), at(0));
        revocations.refuse_older(Uuid::from_u128(2), 1, at(1), at(0));
        revocations.end(Uuid::from_u128(3), at(9), at(2));
        assert_eq!(revocations.count.load(Ordering::Acquire), 1);
    }

    #[test]
    fn only_older_tokens_are_out_of_date() {
        let revocations = Revocations::default();
        revocations.refuse_older(SESSION, 2, at(60), at(0));
        // The change before that one, told late.
        revocations.refuse_older(SESSION, 1, at(30), at(0));
        for (epoch, seconds, standing) in [
            (0, 1, Standing::Outdated),
            (1, 59, Standing::Outdated),
            (1, 60, Standing::Good),
            (2, 1, Standing::Good),
            (3, 1, Standing::Good),
        ] {
            let got = revocations.standing(SESSION, epoch, at(seconds));
            assert_eq!(got, standing, "epoch {epoch} after {seconds} s");
        }
        let another = revocations.standing(Uuid::from_u128(2), 0, at(1));
        assert_eq!(another, Standing::Good);
    }

    #[test]
    fn a_session_that_ended_is_not_merely_out_of_date() {
        let revocations = Revocations::default();
        revocations.end(SESSION, at(60), at(0));
        revocations.refuse_older(SESSION, 1, at(90), at(0));
        assert_eq!(revocations.standing(SESSION, 0, at(1)), Standing::Ended);
        assert_eq!(revocations.standing(SESSION, 0, at(60)), Standing::Outdated);
    }
}
