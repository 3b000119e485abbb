//! Compression of what clients are sent (RFC 7692), for those that can take it so. Each message is compressed by itself, and once for all
//! connections that it goes to: nothing is kept for a connection between two messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::{Compress, Compression, FlushCompress};
use nself_plugin_api::abi::capability::hub::Frame;

use super::{
    Counts,
    connection::Connection,
    frame,
    inflate::{PACKED, TAIL},
};

/// Shorter messages go as they are: compressing them costs more than it saves.
const BYTES_MIN: usize = 128;
/// How hard it is tried: others wait meanwhile.
const LEVEL: Compression = Compression::new(3);
/// Room that has to be there, so that the end of a message is written once.
const ROOM: usize = 64;
/// Compressors that are kept for the next message, of some 300 KB each.
const IDLE_MAX: usize = 2;

/// How far back a client remembers what it was sent. Two are enough: a smaller one does for whoever wants one in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// 32 KiB.
    Full,
    /// 512 bytes.
    Small,
}

impl Window {
    const ALL: [Self; 2] = [Self::Full, Self::Small];

    /// The logarithm of its size.
    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Full => 15,
            Self::Small => 9,
        }
    }
}

/// Compresses for all connections with one window.
pub(super) struct Deflater {
    window: Window,
    idle: Mutex<Vec<Compress>>,
    counts: Arc<Counts>,
}

impl Deflater {
    pub(super) fn new(window: Window, counts: &Arc<Counts>) -> Self {
        Self {
            window,
            idle: Mutex::default(),
            counts: Arc::clone(counts),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Compress>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame of the same message in less; the frame itself where that is not to be had.
    pub(super) fn pack(&self, frame: &Frame) -> Frame {
        let message = frame::message(frame.as_slice());
        let Some((opcode, payload)) = message.filter(|(_, payload)| payload.len() >= BYTES_MIN)
        else {
            return frame.clone();
        };
        let kept = self.idle().pop();
        let mut compress = kept
            .unwrap_or_else(|| Compress::new_with_window_bits(LEVEL, false, self.window.bits()));
        let packed = compressed(&mut compress, payload);
        compress.reset();
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(compress);
        }
        drop(idle);
        let Some(packed) = packed else {
            return frame.clone();
        };
        self.counts.deflated.inc();
        frame::counted(PACKED | opcode, &packed, &self.counts)
    }
}

/// What that becomes, if it is less.
fn compressed(compress: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(payload.len() / 2 + ROOM);
    loop {
        let taken = usize::try_from(compress.total_in()).ok()?;
        let rest = payload.get(taken..)?;
        compress
            .compress_vec(rest, &mut packed, FlushCompress::Sync)
            .ok()?;
        let is_whole = compress.total_in() == payload.len() as u64;
        if is_whole && packed.len() < packed.capacity() {
            break;
        }
        if packed.len() >= payload.len() {
            return None;
        }
        packed.reserve(packed.len().max(ROOM));
    }
    let end = packed.len().checked_sub(TAIL.len())?;
    debug_assert_eq!(packed[end..], TAIL, "that is how a flush ends");
    packed.truncate(end);
    (packed.len() < payload.len()).then_some(packed)
}

/// One message as the connections take it that it goes to.
pub(super) struct Versions<'a> {
    plain: &'a Frame,
    packed: [Option<Frame>; Window::ALL.len()],
}

impl<'a> Versions<'a> {
    pub(super) fn new(plain: &'a Frame) -> Self {
        Self {
            plain,
            packed: [const { None }; Window::ALL.len()],
        }
    }

    pub(super) fn of(&mut self, connection: &Connection) -> Frame {
        let Some(deflater) = connection.deflater() else {
            return self.plain.clone();
        };
        let packed = &mut self.packed[deflater.window as usize];
        packed
            .get_or_insert_with(|| deflater.pack(self.plain))
            .clone()
    }
}

/// The compressors of a hub.
pub(super) struct Deflaters([Arc<Deflater>; Window::ALL.len()]);

impl Deflaters {
    pub(super) fn new(counts: &Arc<Counts>) -> Self {
        Self(Window::ALL.map(|window| Arc::new(Deflater::new(window, counts))))
    }

    pub(super) fn of(&self, window: Window) -> Arc<Deflater> {
        Arc::clone(&self.0[window as usize])
    }
}
