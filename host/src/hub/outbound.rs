//! What waits for a connection, and the policies that bound it.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use nself_plugin_api::abi::capability::hub::Frame;
use tokio::io::{AsyncWrite, ReadBuf};

use super::{
    connection::{Close, Rules},
    frame,
    queue::{Queue, Waiting},
};

/// Bytes of several frames that go out in one call. To copy small frames costs less than to tell the kernel of each.
const GATHERED: usize = 16 * 1024;
/// Answers of the codec that may wait for a client which takes none of them: a client that pings and does not read.
const ANSWERS_MAX: u32 = 256;

/// What becomes of a topic's frames for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The connection is given up.
    Recover,
    /// While it does not keep up, the newest replaces those before it.
    Latest,
    /// The oldest go.
    DropOldest,
}

/// What has become of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits, and so many others wait no more.
    Taken { dropped: u64 },
    /// There was no room for it.
    Dropped,
    /// There was no room for it, so the connection is closing from now on.
    Slow,
    /// The connection is closing, or has ended.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A close is the last that waits, or was the last that was written.
    Closing,
    Gone,
}

/// What takes bytes.
pub(super) trait Sink: AsyncWrite + Unpin {
    /// Takes what it can at once. Nobody has to be there who is woken when it takes more, and usually nobody needs to be.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Whether it has taken something that has not gone out yet: flushing it goes on with that.
    fn holds_back(&self) -> bool {
        false
    }
}

/// The writing side of a connection.
pub(super) struct Outbound<W> {
    writing: Option<W>,
    waiting: Queue,
    /// Bytes of the first frame that have been written: it has to be finished, whatever comes.
    begun: usize,
    /// Bytes that wait.
    bytes: usize,
    /// What takes them keeps some of them to itself.
    is_held_back: bool,
    /// The client takes nothing at the moment.
    is_blocked: bool,
    answers: u32,
    /// How many want to know when something has been written.
    pub(super) awaited: u32,
    state: State,
    pub(super) rules: Arc<Rules>,
}

impl<W: Sink> Outbound<W> {
    pub(super) fn new(writing: W, rules: Arc<Rules>) -> Self {
        Self {
            writing: Some(writing),
            waiting: Queue::default(),
            begun: 0,
            bytes: 0,
            is_held_back: false,
            is_blocked: false,
            answers: 0,
            awaited: 0,
            state: State::Open,
            rules,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether all has gone out.
    pub(super) fn is_flushed(&self) -> bool {
        self.bytes == 0 && !self.is_held_back
    }

    /// Whether the socket will say when there is room: until then nobody needs to try.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Appends within the bounds.
    pub(super) fn push(&mut self, frame: Frame, from: Option<(u64, Policy)>) -> Pushed {
        if self.state != State::Open {
            return Pushed::Refused;
        }
        let (topic, policy) = from.unwrap_or((0, Policy::Recover));
        let bytes = frame.as_slice().len();
        let mut dropped = 0;
        match policy {
            Policy::Latest if self.is_blocked || !self.has_room(bytes) => {
                while self.drop_one(topic) {
                    dropped += 1;
                }
            }
            Policy::Recover | Policy::Latest => {}
            Policy::DropOldest => {
                while !self.has_room(bytes) {
                    if !self.drop_one(topic) {
                        return Pushed::Dropped;
                    }
                    dropped += 1;
                }
            }
        }
        // The newest has room behind the frame that has begun, however small the bound is.
        let is_next = self.waiting.len() == usize::from(self.begun > 0);
        let is_awaited = policy == Policy::Latest && is_next;
        if !is_awaited && !self.has_room(bytes) {
            self.give_up_what_waits();
            let slow = frame::close(self.rules.slow.code, &self.rules.slow.reason);
            self.append(frame::own(slow), 0);
            self.state = State::Closing;
            return Pushed::Slow;
        }
        self.append(frame, topic);
        Pushed::Taken { dropped }
    }

    /// Appends what somebody waits for, who is the bound; false when the connection is closing.
    pub(super) fn push_awaited(&mut self, frame: Frame) -> bool {
        let is_open = self.is_open();
        if is_open {
            self.append(frame, 0);
        }
        is_open
    }

    /// Appends what the codec answers by itself.
    pub(super) fn answer(&mut self, frames: &[u8]) {
        if self.state != State::Open {
            return;
        }
        self.answers += 1;
        if self.answers > ANSWERS_MAX {
            return self.give_up();
        }
        self.append(frame::own(frames.to_vec()), 0);
        if frame::has_close(frames) {
            self.state = State::Closing;
        }
    }

    /// Closes behind what waits; whether this was the first to do so.
    pub(super) fn close(&mut self, close: &Close) -> bool {
        let is_first = self.state == State::Open;
        if is_first {
            self.append(frame::own(frame::close(close.code, &close.reason)), 0);
            self.state = State::Closing;
        }
        is_first
    }

    /// Nothing more is written.
    pub(super) fn give_up(&mut self) {
        self.waiting = Queue::default();
        (self.bytes, self.begun, self.is_held_back) = (0, 0, false);
        self.writing = None;
        self.state = State::Gone;
    }

    /// Ends the stream; that it has ended already is as good.
    pub(super) fn shut(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(writing) = self.writing.as_mut() else {
            return Poll::Ready(());
        };
        Pin::new(writing).poll_shutdown(context).map(drop)
    }

    /// Writes what waits, as far as the client takes it. Where that is not all, the waker is told when it takes more.
    pub(super) fn write(&mut self, waker: impl Fn() -> Waker) {
        while !self.waiting.is_empty() {
            match self.write_some(&waker) {
                Poll::Ready(Ok(written @ 1..)) => self.written(written),
                Poll::Ready(_) => self.give_up(),
                Poll::Pending => {
                    self.is_blocked = true;
                    return;
                }
            }
        }
        self.is_blocked = false;
        self.flush(waker);
    }

    /// Goes on with what was taken and has not gone out.
    fn flush(&mut self, waker: impl Fn() -> Waker) {
        let Some(writing) = self.writing.as_mut().filter(|writing| writing.holds_back()) else {
            self.is_held_back = false;
            return;
        };
        match Pin::new(writing).poll_flush(&mut Context::from_waker(&waker())) {
            Poll::Ready(Ok(())) => self.is_held_back = false,
            Poll::Ready(Err(_)) => self.give_up(),
            Poll::Pending => (self.is_held_back, self.is_blocked) = (true, true),
        }
    }

    /// As many of the frames as fit together, or one that is large or alone as it lies.
    fn write_some(&mut self, waker: impl Fn() -> Waker) -> Poll<io::Result<usize>> {
        let mut frames = self.waiting.iter().map(|waiting| waiting.frame.as_slice());
        let (Some(first), Some(writing)) = (frames.next(), &mut self.writing) else {
            return Poll::Ready(Ok(0));
        };
        let first = &first[self.begun..];
        let mut frames = frames.peekable();
        let is_alone = |next: &&[u8]| first.len() + next.len() > GATHERED;
        if frames.peek().is_none_or(is_alone) {
            return put(writing, first, waker);
        }
        let mut stack = [MaybeUninit::uninit(); GATHERED];
        let mut gathered = ReadBuf::uninit(&mut stack);
        gathered.put_slice(first);
        for frame in frames {
            if frame.len() > gathered.remaining() {
                break;
            }
            gathered.put_slice(frame);
        }
        put(writing, gathered.filled(), waker)
    }

    fn written(&mut self, written: usize) {
        (self.is_blocked, self.answers) = (false, 0);
        self.bytes -= written;
        let mut written = self.begun + written;
        while let Some(first) = self.waiting.first() {
            let Some(rest) = written.checked_sub(first.frame.as_slice().len()) else {
                break;
            };
            written = rest;
            self.waiting.pop();
        }
        self.begun = written;
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.rules.bytes_max
    }

    fn append(&mut self, frame: Frame, topic: u64) {
        self.bytes += frame.as_slice().len();
        self.waiting.push(Waiting { frame, topic });
    }

    /// Drops the oldest frame of a topic that has not been begun; whether there was one.
    fn drop_one(&mut self, topic: u64) -> bool {
        let first = usize::from(self.begun > 0);
        let found = self.waiting.iter().skip(first);
        let found = found
            .enumerate()
            .find(|(_, waiting)| waiting.topic == topic);
        let Some((at, _)) = found else {
            return false;
        };
        if let Some(dropped) = self.waiting.remove(first + at) {
            self.bytes -= dropped.frame.as_slice().len();
        }
        true
    }

    fn give_up_what_waits(&mut self) {
        self.waiting.clear_behind(self.begun > 0);
        let rest = self
            .waiting
            .first()
            .map_or(0, |first| first.frame.as_slice().len());
        self.bytes = rest - self.begun;
    }
}

fn put(
    writing: &mut impl Sink,
    bytes: &[u8],
    waker: impl Fn() -> Waker,
) -> Poll<io::Result<usize>> {
    match writing.try_write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let waker = waker();
            Pin::new(writing).poll_write(&mut Context::from_waker(&waker), bytes)
        }
        written => Poll::Ready(written),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A client that takes so many bytes.
    #[derive(Default)]
    struct Client {
        takes: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Client {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let amount = bytes.len().min(self.takes);
            if amount == 0 {
                return Poll::Pending;
            }
            self.takes -= amount;
            self.taken.extend_from_slice(&bytes[..amount]);
            Poll::Ready(Ok(amount))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Sink for Client {
        fn try_write(&self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn outbound(bytes_max: usize) -> Outbound<Client> {
        outbound_to(Client::default(), bytes_max)
    }

    fn outbound_to<W: Sink>(writing: W, bytes_max: usize) -> Outbound<W> {
        let close = |code| Close {
            code,
            reason: "".into(),
        };
        let rules = Rules {
            bytes_max,
            slow: close(3008),
            restart: None,
        };
        Outbound::new(writing, Arc::new(rules))
    }

    fn text(text: &str) -> Frame {
        frame::own(text.as_bytes().to_vec())
    }

    /// What the client has when it takes `more` bytes.
    fn taken(outbound: &mut Outbound<Client>, more: usize) -> String {
        let client = outbound.writing.as_mut().expect("it has not ended");
        client.takes = more;
        outbound.write(|| Waker::noop().clone());
        let client = outbound.writing.as_mut().expect("it has not ended");
        String::from_utf8_lossy(&std::mem::take(&mut client.taken)).into_owned()
    }

    const TAKEN: Pushed = Pushed::Taken { dropped: 0 };

    fn slow() -> String {
        String::from_utf8_lossy(&frame::close(3008, "")).into_owned()
    }

    #[test]
    fn what_waits_goes_out_in_its_order_and_however_it_is_taken() {
        let mut outbound = outbound(100);
        for word in ["one ", "two ", "three "] {
            assert_eq!(outbound.push(text(word), None), TAKEN);
        }
        assert_eq!(outbound.bytes(), 14);
        assert_eq!(taken(&mut outbound, 6), "one tw");
        assert!(outbound.is_blocked());
        assert_eq!(taken(&mut outbound, 100), "o three ");
        assert!(!outbound.is_blocked());
        assert_eq!(outbound.bytes(), 0);
    }

    #[test]
    fn who_does_not_keep_up_is_closed_behind_the_frame_that_has_begun() {
        let mut outbound = outbound(10);
        assert_eq!(
            outbound.push(text("begun "), Some((1, Policy::Recover))),
            TAKEN
        );
        assert_eq!(taken(&mut outbound, 2), "be");
        assert_eq!(
            outbound.push(text("lost"), Some((1, Policy::Recover))),
            TAKEN
        );
        let more = outbound.push(text("more"), Some((1, Policy::Recover)));
        assert_eq!(more, Pushed::Slow);
        assert_eq!(outbound.push(text("late"), None), Pushed::Refused);
        assert_eq!(taken(&mut outbound, 100), format!("gun {}", slow()));
    }

    #[test]
    fn only_the_newest_waits_for_who_does_not_keep_up() {
        let mut outbound = outbound(100);
        let latest = Some((7, Policy::Latest));
        assert_eq!(outbound.push(text("1 "), latest), TAKEN);
        assert_eq!(outbound.push(text("2 "), latest), TAKEN);
        assert_eq!(taken(&mut outbound, 1), "1");
        assert_eq!(outbound.push(text("answer "), None), TAKEN);
        for (word, dropped) in [("3 ", 1), ("4 ", 1), ("5 ", 1)] {
            assert_eq!(outbound.push(text(word), latest), Pushed::Taken { dropped });
        }
        assert_eq!(taken(&mut outbound, 100), " answer 5 ");
        // Who keeps up misses nothing.
        assert_eq!(outbound.push(text("6 "), latest), TAKEN);
        assert_eq!(outbound.push(text("7 "), latest), TAKEN);
        assert_eq!(taken(&mut outbound, 100), "6 7 ");
    }

    #[test]
    fn the_newest_has_room_behind_what_has_begun() {
        let mut outbound = outbound(10);
        let latest = Some((7, Policy::Latest));
        assert_eq!(outbound.push(text("12345678 "), latest), TAKEN);
        assert_eq!(taken(&mut outbound, 1), "1");
        assert_eq!(outbound.push(text("abcdefgh "), latest), TAKEN);
        let newer = outbound.push(text("ABCDEFGH "), latest);
        assert_eq!(newer, Pushed::Taken { dropped: 1 });
        assert_eq!(taken(&mut outbound, 100), "2345678 ABCDEFGH ");
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room_and_nothing_else_does() {
        let mut outbound = outbound(10);
        let oldest = Some((7, Policy::DropOldest));
        assert_eq!(outbound.push(text("kept"), None), TAKEN);
        assert_eq!(outbound.push(text("1 2"), oldest), TAKEN);
        assert_eq!(outbound.push(text(" 3"), oldest), TAKEN);
        let pushed = outbound.push(text(" 4"), oldest);
        assert_eq!(pushed, Pushed::Taken { dropped: 1 });
        let large = outbound.push(text("0123456789"), oldest);
        assert_eq!(large, Pushed::Dropped);
        assert!(outbound.is_open());
        assert_eq!(taken(&mut outbound, 100), "kept");
    }

    #[test]
    fn who_pings_and_does_not_read_is_given_up() {
        let mut outbound = outbound(100);
        let pong = frame::encode(10, b"");
        for _ in 0..ANSWERS_MAX {
            outbound.answer(&pong);
            outbound.write(|| Waker::noop().clone());
        }
        assert!(outbound.is_open());
        outbound.answer(&pong);
        assert!(outbound.is_gone());
    }

    /// Takes whatever it is given, and lets so many bytes of it go.
    #[derive(Default)]
    struct Sealing {
        lets_go: usize,
        held: usize,
    }

    impl AsyncWrite for Sealing {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().held += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let gone = self.held.min(self.lets_go);
            self.lets_go -= gone;
            self.held -= gone;
            if self.held == 0 {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Sink for Sealing {
        fn try_write(&self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn holds_back(&self) -> bool {
            self.held > 0
        }
    }

    #[test]
    fn what_was_taken_and_held_back_is_gone_on_with_though_nothing_more_waits() {
        let mut outbound = outbound_to(Sealing::default(), 100);
        assert_eq!(outbound.push(text("sealed"), None), TAKEN);
        outbound.write(|| Waker::noop().clone());
        assert_eq!(outbound.bytes(), 0);
        assert!(outbound.is_blocked() && !outbound.is_flushed());
        for (lets_go, is_flushed) in [(5, false), (1, true)] {
            let sealing = outbound.writing.as_mut().expect("it has not ended");
            sealing.lets_go = lets_go;
            outbound.write(|| Waker::noop().clone());
            assert_eq!(outbound.is_flushed(), is_flushed);
            assert_eq!(outbound.is_blocked(), !is_flushed);
        }
    }
}
