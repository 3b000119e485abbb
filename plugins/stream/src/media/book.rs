//! What this host remembers of sessions: whose they are, heartbeats that are not written yet, and which have ended.
//!
//! It is never the last word while there is a database, and the only one while there is none. Nothing here waits.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::Schema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Watcher;

/// Bytes of a session's token.
const TOKEN_BYTES: u32 = 32;

/// Sessions that are remembered at most; more are asked for again.
const KNOWN_MAX: usize = 100_000;

/// What proves that a heartbeat is the player's: told once, kept as its hash.
pub(crate) struct Token {
    pub text: String,
    pub hash: [u8; 32],
}

impl Token {
    /// A new one.
    pub(super) fn make(
        random: impl FnOnce(u32) -> nself_plugin_api::Result<nself_plugin_api::bytes::Bytes>,
    ) -> nself_plugin_api::Result<Self> {
        let text = URL_SAFE_NO_PAD.encode(random(TOKEN_BYTES)?);
        let hash = Self::hash(&text);
        Ok(Self { text, hash })
    }

    /// How one is stored. Guessing 256 random bits is no easier for a fast hash.
    pub(crate) fn hash(text: &str) -> [u8; 32] {
        Sha256::digest(text.as_bytes()).into()
    }
}

/// What a player does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It plays.
    #[default]
    Playing,
    /// Somebody has stopped it for a while.
    Paused,
    /// Nothing plays: the end was reached, or nobody is there.
    Idle,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Playing => "playing",
            Self::Paused => "paused",
            Self::Idle => "idle",
        }
    }
}

/// A session as it was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub session_id: Uuid,
    pub watcher: Watcher,
    pub content_id: Uuid,
    pub token_hash: [u8; 32],
}

/// A heartbeat that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat {
    pub session_id: Uuid,
    pub state: State,
    pub position_ms: Option<i64>,
    /// By the clock that never goes back.
    pub at: Duration,
}

struct Entry {
    known: Known,
    heard_at: Duration,
}

/// Why a session ended, and until when somebody may still have an address of it.
struct End {
    reason: String,
    until: Duration,
}

#[derive(Default)]
struct Pages {
    known: HashMap<Uuid, Entry>,
    beats: HashMap<Uuid, Beat>,
    ended: HashMap<Uuid, End>,
    /// When ends were read the last time.
    read_at: Option<Duration>,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Book(Mutex<Pages>);

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a session that was heard of at that time.
    pub(super) fn learn(&self, known: Known, heard_at: Duration) {
        let mut pages = self.pages();
        if pages.known.len() >= KNOWN_MAX {
            pages.known.clear();
        }
        pages
            .known
            .insert(known.session_id, Entry { known, heard_at });
    }

    /// A session, and when it was heard of the last time.
    pub(super) fn find(&self, session_id: Uuid) -> Option<(Known, Duration)> {
        let pages = self.pages();
        let entry = pages.known.get(&session_id)?;
        Some((entry.known.clone(), entry.heard_at))
    }

    /// Notes a heartbeat. The newest of a session counts.
    pub(super) fn note(&self, beat: Beat) {
        let mut pages = self.pages();
        if let Some(entry) = pages.known.get_mut(&beat.session_id) {
            entry.heard_at = beat.at;
        }
        pages.beats.insert(beat.session_id, beat);
    }

    /// Takes what is to be written.
    pub(super) fn take_beats(&self) -> Vec<Beat> {
        let beats = std::mem::take(&mut self.pages().beats);
        beats.into_values().collect()
    }

    /// Gives back what could not be written, unless there is something newer.
    pub(super) fn put_back(&self, beats: Vec<Beat>) {
        let mut pages = self.pages();
        for beat in beats {
            pages.beats.entry(beat.session_id).or_insert(beat);
        }
    }

    /// A session has ended. Its addresses are refused until they would end by themselves.
    pub(super) fn end(&self, session_id: Uuid, reason: &str, until: Duration) {
        let mut pages = self.pages();
        pages.known.remove(&session_id);
        pages.beats.remove(&session_id);
        let reason = reason.to_owned();
        pages.ended.insert(session_id, End { reason, until });
    }

    /// Why a session has ended, as far as that is known here.
    pub(super) fn end_of(&self, session_id: Uuid) -> Option<String> {
        let pages = self.pages();
        pages.ended.get(&session_id).map(|end| end.reason.clone())
    }

    /// Seconds since ends were read the last time; `None` when they never were.
    pub(super) fn unread_for(&self, now: Duration) -> Option<Duration> {
        let read_at = self.pages().read_at;
        read_at.map(|at| now.saturating_sub(at))
    }

    /// Ends were read at that time. What is of no use any more is forgotten.
    pub(super) fn has_read(&self, now: Duration, forget_after: Duration) {
        let mut pages = self.pages();
        pages.read_at = Some(now);
        pages.ended.retain(|_, end| now < end.until);
        let is_kept = |entry: &Entry| now.saturating_sub(entry.heard_at) < forget_after;
        pages.known.retain(|_, entry| is_kept(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Uuid = Uuid::from_u128(1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn beat(at: u64, state: State) -> Beat {
        Beat {
            session_id: SESSION,
            state,
            position_ms: None,
            at: seconds(at),
        }
    }

    #[test]
    fn what_could_not_be_written_gives_way_to_what_is_newer() {
        let book = Book::default();
        book.note(beat(1, State::Playing));
        let taken = book.take_beats();
        assert_eq!(taken, [beat(1, State::Playing)]);
        book.note(beat(2, State::Paused));
        book.put_back(taken.clone());
        assert_eq!(book.take_beats(), [beat(2, State::Paused)]);
        book.put_back(taken.clone());
        assert_eq!(book.take_beats(), taken);
    }

    #[test]
    fn an_end_is_remembered_as_long_as_an_address_could_be_good() {
        let book = Book::default();
        book.note(beat(1, State::Playing));
        book.end(SESSION, "evicted", seconds(300));
        assert_eq!(book.end_of(SESSION).as_deref(), Some("evicted"));
        assert!(book.take_beats().is_empty());
        book.has_read(seconds(299), seconds(600));
        assert!(book.end_of(SESSION).is_some());
        book.has_read(seconds(300), seconds(600));
        assert!(book.end_of(SESSION).is_none());
        assert_eq!(book.unread_for(seconds(307)), Some(seconds(7)));
    }
}
