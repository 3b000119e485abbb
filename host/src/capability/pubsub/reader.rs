//! One subscription of a plugin: what waits for it has a bound, and whoever is slower than that is told that it missed something.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Messages that may wait for one reader.
const WAITING_MAX: usize = 1_024;

/// Bytes of them.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a reader is told when it may have missed something.
const MISSED: Bytes = Bytes::new();

/// A queue for one reader: its two ends.
pub(super) fn queue() -> (Reader, Waiting) {
    let (sender, chunks) = mpsc::channel(WAITING_MAX);
    let state = Arc::new(State::default());
    let reader = Reader {
        chunks: sender,
        state: Arc::clone(&state),
    };
    (reader, Waiting { chunks, state })
}

/// A message as it crosses. It is made once, and shared by all who read the channel.
pub(super) fn chunk(channel: &str, message: &[u8]) -> Bytes {
    let length = u16::try_from(channel.len()).expect("names of channels have a limit");
    let mut chunk = BytesMut::with_capacity(2 + channel.len() + message.len());
    chunk.put_u16_le(length);
    chunk.put_slice(channel.as_bytes());
    chunk.put_slice(message);
    chunk.freeze()
}

/// What both ends know.
#[derive(Default)]
struct State {
    /// Bytes that wait.
    bytes: AtomicUsize,
    /// Something was left out, and the reader is not told so yet.
    is_behind: AtomicBool,
}

/// The end that is written to, and never waits.
pub(super) struct Reader {
    chunks: mpsc::Sender<Bytes>,
    state: Arc<State>,
}

impl Reader {
    /// Hands a message over if there is room, and whether the reader is still there.
    pub(super) fn tell(&self, chunk: &Bytes) -> bool {
        let is_behind = || self.state.is_behind.load(Ordering::Acquire);
        if !self.has_room(chunk.len()) {
            self.state.is_behind.store(true, Ordering::Release);
            return !self.is_gone();
        }
        // Told once, before the first message that has room again.
        if is_behind() && !self.tell_missed() {
            return false;
        }
        // Behind it still is when there was no room for the news of it.
        if is_behind() {
            return true;
        }
        self.state.bytes.fetch_add(chunk.len(), Ordering::AcqRel);
        let is_there = self.send(chunk.clone());
        if is_behind() {
            self.state.bytes.fetch_sub(chunk.len(), Ordering::AcqRel);
        }
        is_there
    }

    /// Says that something was missed: before the next message, and at the latest when nothing waits any more. Whether the reader
    /// is still there.
    pub(super) fn tell_missed(&self) -> bool {
        self.state.is_behind.store(false, Ordering::Release);
        self.send(MISSED)
    }

    fn send(&self, chunk: Bytes) -> bool {
        match self.chunks.try_send(chunk) {
            Ok(()) => true,
            Err(unsent) => {
                self.state.is_behind.store(true, Ordering::Release);
                matches!(unsent, TrySendError::Full(_))
            }
        }
    }

    /// Whether its other end was dropped.
    pub(super) fn is_gone(&self) -> bool {
        self.chunks.is_closed()
    }

    fn has_room(&self, more: usize) -> bool {
        self.state.bytes.load(Ordering::Acquire) + more <= WAITING_BYTES_MAX
    }
}

/// The end that is read.
pub(super) struct Waiting {
    chunks: mpsc::Receiver<Bytes>,
    state: Arc<State>,
}

impl Waiting {
    /// The next chunk; nothing when there will be none.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        match self.waiting() {
            Some(chunk) => Some(chunk),
            None => self.chunks.recv().await.inspect(|chunk| self.took(chunk)),
        }
    }

    /// What waits, or that something was left out when nothing does: perhaps no message follows that it could be told before.
    fn waiting(&mut self) -> Option<Bytes> {
        if let Ok(chunk) = self.chunks.try_recv() {
            self.took(&chunk);
            return Some(chunk);
        }
        let is_behind = self.state.is_behind.swap(false, Ordering::AcqRel);
        is_behind.then_some(MISSED)
    }

    fn took(&self, chunk: &Bytes) {
        self.state.bytes.fetch_sub(chunk.len(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waits, without waiting for more.
    fn all(waiting: &mut Waiting) -> Vec<Bytes> {
        std::iter::from_fn(|| waiting.waiting()).collect()
    }

    #[test]
    fn a_reader_that_is_too_slow_keeps_what_fits_and_is_told_that_it_missed_something() {
        let (reader, mut waiting) = queue();
        for number in 0..WAITING_MAX + 10 {
            assert!(reader.tell(&chunk("a", number.to_string().as_bytes())));
        }
        let kept = all(&mut waiting);
        assert_eq!(kept.len(), WAITING_MAX + 1);
        assert_eq!(kept[WAITING_MAX - 1], chunk("a", b"1023"));
        assert_eq!(kept[WAITING_MAX], MISSED, "although nothing follows");
        assert!(reader.tell(&chunk("a", b"later")));
        assert_eq!(all(&mut waiting), [chunk("a", b"later")]);
    }

    #[test]
    fn what_was_missed_is_told_where_it_is_missing() {
        let (reader, mut waiting) = queue();
        for _ in 0..=WAITING_MAX {
            assert!(reader.tell(&chunk("a", b"early")));
        }
        for _ in 0..2 {
            assert_eq!(waiting.waiting(), Some(chunk("a", b"early")));
        }
        assert!(reader.tell(&chunk("a", b"late")));
        let rest = all(&mut waiting);
        assert_eq!(rest[WAITING_MAX - 2..], [MISSED, chunk("a", b"late")]);
    }

    #[test]
    fn what_waits_has_a_bound_in_bytes_too() {
        let (reader, mut waiting) = queue();
        let large = chunk("a", &vec![0; WAITING_BYTES_MAX / 4]);
        for _ in 0..5 {
            assert!(reader.tell(&large));
        }
        let three = vec![large.clone(); 3];
        assert_eq!(
            all(&mut waiting),
            [three, vec![MISSED]].concat(),
            "with its name a fourth is too much"
        );
        assert!(reader.tell(&large));
        assert_eq!(all(&mut waiting), [large]);
    }

    #[test]
    fn a_reader_that_is_gone_is_found_out() {
        let (reader, waiting) = queue();
        drop(waiting);
        assert!(reader.is_gone());
        assert!(!reader.tell(&chunk("a", b"")));
        assert!(!reader.tell_missed());
    }
}
