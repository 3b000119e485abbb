//! An open socket: what waits for it, the topics that it is in, and when it has to end.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Wake, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use nself_plugin_api::abi::capability::hub::Frame;
use tokio::sync::Notify;

use super::{
    Counts, Policy,
    deflate::Deflater,
    frame::{self, PING},
    io::Writing,
    outbound::{Outbound, Pushed},
    shard::Shard,
    topic::Topic,
    wheel::{Tick, Wheel},
};

/// For a client to take its close and to answer it.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// For a client that did not keep up to take its close: what it has not read yet is in front of it.
const SLOW_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that may wait when somebody who waits for room may go on.
const ROOM: usize = 64 * 1024;

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: Box<str>,
}

impl Close {
    pub(crate) fn new(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// What holds for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Bytes that may wait.
    pub(crate) bytes_max: usize,
    /// How it is closed where more would.
    pub(crate) slow: Close,
    /// How it is closed when its plugin stops, in its turn; nothing where nobody has said so.
    pub(crate) restart: Option<Close>,
}

/// Of sockets that their plugin writes to by itself.
fn plain() -> Arc<Rules> {
    static PLAIN: std::sync::LazyLock<Arc<Rules>> = std::sync::LazyLock::new(|| {
        Arc::new(Rules {
            bytes_max: 1 << 20,
            slow: Close::new(1008, "too slow"),
            restart: None,
        })
    });
    Arc::clone(&PLAIN)
}

/// An open socket.
pub(crate) struct Connection {
    number: u64,
    plugin: Arc<str>,
    out: Mutex<Outbound<Writing>>,
    topics: Mutex<Topics>,
    clock: Mutex<Clock>,
    /// Its shard has it on its list.
    is_due: AtomicBool,
    /// Somebody waits for what it says.
    is_listened_to: AtomicBool,
    /// It takes nothing at the moment, and its clock says until when that may be.
    is_stuck: AtomicBool,
    /// It was asked whether it is there, and has not said so.
    is_silent: AtomicBool,
    /// When something came from it, and when it was asked, by the wheel's clock.
    heard_ms: AtomicU64,
    asked_ms: AtomicU64,
    ping_ms: u64,
    write_timeout_ms: u64,
    /// Compresses what it is sent, where its client can take that.
    deflater: Option<Arc<Deflater>>,
    /// Rung when something has been written, for who waits for room.
    room: Notify,
    /// Woken when it is gone: who serves it.
    server: AtomicWaker,
    /// Woken when it is silent or gone: who listens to it, of whom there is one at a time.
    listener: AtomicWaker,
    shard: Arc<Shard>,
    wheel: Arc<Wheel>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Topics {
    entered: Vec<Weak<Topic>>,
    has_ended: bool,
}

/// What the wheel looks at it for.
#[derive(Default)]
struct Clock {
    /// In a box: few connections have one.
    deadline: Option<Box<(u64, Close)>>,
    /// When a close that it does not take is over.
    cut_ms: Option<u64>,
    /// When it has taken nothing for too long.
    stuck_ms: Option<u64>,
    /// Where on the wheel it is, and for when.
    scheduled: Option<(Tick, u64)>,
}

/// What it is made of.
pub(super) struct Parts {
    pub(super) number: u64,
    pub(super) plugin: Arc<str>,
    pub(super) writing: Writing,
    pub(super) shard: Arc<Shard>,
    pub(super) wheel: Arc<Wheel>,
    pub(super) counts: Arc<Counts>,
    pub(super) ping: Duration,
    pub(super) write_timeout: Duration,
    pub(super) deflater: Option<Arc<Deflater>>,
}

/// Why nothing more comes from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It does not answer.
    Silent,
    /// It cannot be written to, or was given up.
    Gone,
}

/// While this lives, somebody wants to know when something has been written.
struct Awaited<'a>(&'a Connection);

impl<'a> Awaited<'a> {
    fn new(connection: &'a Connection) -> Self {
        connection.out().awaited += 1;
        Self(connection)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.out().awaited -= 1;
    }
}

/// While this lives, silence says something about the client.
pub(crate) struct Listening<'a>(&'a Connection);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.is_listened_to.store(false, Ordering::Release);
    }
}

impl Connection {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            number,
            plugin,
            writing,
            shard,
            wheel,
            counts,
            ping,
            write_timeout,
            deflater,
        } = parts;
        counts.connections.inc();
        let connection = Arc::new(Self {
            number,
            plugin,
            out: Mutex::new(Outbound::new(writing, plain())),
            topics: Mutex::default(),
            clock: Mutex::default(),
            is_due: AtomicBool::new(false),
            is_listened_to: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            heard_ms: AtomicU64::new(wheel.now_ms()),
            asked_ms: AtomicU64::new(0),
            ping_ms: millis(ping).max(1),
            write_timeout_ms: millis(write_timeout),
            deflater,
            room: Notify::new(),
            server: AtomicWaker::new(),
            listener: AtomicWaker::new(),
            shard,
            wheel,
            counts,
        });
        connection.schedule();
        connection
    }

    fn out(&self) -> MutexGuard<'_, Outbound<Writing>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// What compresses for its client, where that can take it.
    pub(super) fn deflater(&self) -> Option<&Deflater> {
        self.deflater.as_deref()
    }

    /// The frame as its client takes it.
    fn packed(&self, frame: Frame) -> Frame {
        match &self.deflater {
            Some(deflater) => deflater.pack(&frame),
            None => frame,
        }
    }

    /// Other rules than the host's own.
    pub(crate) fn set_rules(&self, rules: Arc<Rules>) {
        self.out().rules = rules;
    }

    /// How it is closed when its plugin stops, where that has said so.
    pub(crate) fn restart(&self) -> Option<Close> {
        self.out().rules.restart.clone()
    }

    /// Sends within the bounds, and waits for nothing; false when it is closing.
    pub(crate) fn send(self: &Arc<Self>, frame: Frame) -> bool {
        self.push(self.packed(frame), None)
    }

    /// The same with a frame that is as its client takes it, of a topic where one is given.
    pub(super) fn push(self: &Arc<Self>, frame: Frame, from: Option<(u64, Policy)>) -> bool {
        let mut out = self.out();
        let pushed = out.push(frame, from);
        let is_blocked = out.is_blocked();
        drop(out);
        match pushed {
            Pushed::Taken { dropped: 0 } => {}
            Pushed::Taken { dropped } => self.counts.dropped.inc_by(dropped),
            Pushed::Dropped => {
                self.counts.dropped.inc();
                return true;
            }
            Pushed::Slow => {
                self.counts.slow.inc();
                self.limit_close(SLOW_TIMEOUT);
            }
            Pushed::Refused => return false,
        }
        // Otherwise the socket says when there is room.
        if !is_blocked {
            self.ring();
        }
        pushed != Pushed::Slow
    }

    /// Sends when there is room, and has it written as far as the client takes it; false when it is closing.
    pub(crate) async fn send_in_turn(self: &Arc<Self>, frame: Frame) -> bool {
        let frame = self.packed(frame);
        self.until(|out| !out.is_open() || out.bytes() < ROOM).await;
        let is_open = self.out().push_awaited(frame);
        self.write_now().await;
        is_open
    }

    /// Everything has been written, or nothing more will be.
    pub(crate) async fn flushed(self: &Arc<Self>) {
        self.until(Outbound::is_flushed).await;
    }

    /// Says that nothing more is written. What comes can still be read.
    pub(crate) async fn shut(&self) {
        poll_fn(|context| self.out().shut(context)).await;
    }

    async fn until(&self, is_so: impl Fn(&Outbound<Writing>) -> bool) {
        if is_so(&self.out()) {
            return;
        }
        let _awaited = Awaited::new(self);
        loop {
            let mut rung = std::pin::pin!(self.room.notified());
            rung.as_mut().enable(); // before looking, or the room could come in between
            if is_so(&self.out()) {
                return;
            }
            rung.await;
        }
    }

    /// What the codec answers by itself.
    pub(super) fn answer(self: &Arc<Self>, frames: &[u8]) {
        let mut out = self.out();
        out.answer(frames);
        let (is_gone, is_blocked) = (out.is_gone(), out.is_blocked());
        drop(out);
        if is_gone {
            self.tell_lost();
        } else if !is_blocked {
            self.ring();
        }
    }

    /// Closes behind what was sent before. A client that does not take it is given up.
    pub(crate) fn close(self: &Arc<Self>, close: &Close) {
        if self.out().close(close) {
            self.limit_close(CLOSE_TIMEOUT);
            self.ring();
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        !self.out().is_open()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.out().bytes()
    }

    /// Gives it up.
    pub(crate) fn cut(&self) {
        self.out().give_up();
        self.tell_lost();
    }

    fn tell_lost(&self) {
        self.server.wake();
        self.listener.wake();
        self.room.notify_waiters();
    }

    /// Why nothing more comes from it, once that is so. Of several that wait, only the last one is told.
    pub(crate) fn lost(&self) -> impl Future<Output = Lost> {
        // Registered before looking, here and below, or it could be lost in between.
        poll_fn(|context| {
            self.listener.register(context.waker());
            if self.out().is_gone() {
                Poll::Ready(Lost::Gone)
            } else if self.is_silent.load(Ordering::Acquire) {
                Poll::Ready(Lost::Silent)
            } else {
                Poll::Pending
            }
        })
    }

    /// Resolves when it cannot be written to any more, or was given up. Who is silent is ended by who listens. Of several that wait,
    /// only the last one is told.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            self.server.register(context.waker());
            if self.out().is_gone() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }

    /// Somebody waits for what it says.
    pub(crate) fn listen(&self) -> Listening<'_> {
        self.is_listened_to.store(true, Ordering::Release);
        Listening(self)
    }

    /// Something came from it.
    pub(super) fn heard(&self) {
        self.heard_ms.store(self.wheel.now_ms(), Ordering::Release);
    }

    /// Its socket has ended: it is out of everything.
    pub(super) fn end(&self) {
        let entered = {
            let mut topics = self.topics();
            topics.has_ended = true;
            std::mem::take(&mut topics.entered)
        };
        for topic in entered.iter().filter_map(Weak::upgrade) {
            topic.forget(self.number);
        }
        self.cut();
        self.counts.connections.dec();
    }

    /// It is in a topic; false when it has ended.
    pub(super) fn enter(&self, topic: &Arc<Topic>) -> bool {
        let mut topics = self.topics();
        if !topics.has_ended {
            // Topics that are gone leave their places behind.
            topics.entered.retain(|topic| topic.strong_count() > 0);
            let amount = topics.entered.len();
            if amount == topics.entered.capacity() {
                // Most are in one or two, and there are thousands of them.
                topics.entered.reserve_exact(1 + amount / 2);
            }
            topics.entered.push(Arc::downgrade(topic));
        }
        !topics.has_ended
    }

    /// It is in a topic no more.
    pub(super) fn leave(&self, topic: &Arc<Topic>) {
        let left = Arc::downgrade(topic);
        self.topics().entered.retain(|topic| !topic.ptr_eq(&left));
    }

    fn ring(self: &Arc<Self>) {
        // Looking costs less than writing. Who finds it due has appended before the shard, which says that it is not due first, writes.
        if !self.is_due.load(Ordering::Acquire) && !self.is_due.swap(true, Ordering::AcqRel) {
            self.shard.push(Arc::clone(self));
        }
    }

    /// Writes what waits, as far as the client takes it.
    pub(super) fn write(self: &Arc<Self>) {
        // First: what comes from here on is written here, or rings again.
        self.is_due.store(false, Ordering::Release);
        let mut out = self.out();
        let bytes = out.bytes();
        out.write(|| Waker::from(Arc::clone(self)));
        let (is_gone, is_blocked, is_awaited) = (out.is_gone(), out.is_blocked(), out.awaited > 0);
        let has_taken = out.bytes() < bytes;
        drop(out);
        self.limit_blocking(is_blocked, has_taken);
        if is_gone {
            self.tell_lost();
        } else if is_awaited {
            self.room.notify_waiters();
        }
    }

    /// The same at once, for who waits for it.
    async fn write_now(self: &Arc<Self>) {
        // A task that has done much already would be told that the socket takes nothing, which is not so.
        tokio::task::unconstrained(async { self.write() }).await;
    }

    /// Closes it so when the time has passed, instead of when was said before.
    pub(crate) fn set_deadline(self: &Arc<Self>, deadline: Option<(Duration, Close)>) {
        let now = self.wheel.now_ms();
        self.clock().deadline =
            deadline.map(|(after, close)| Box::new((now.saturating_add(millis(after)), close)));
        self.schedule();
    }

    /// Who takes nothing is given up after a while, whatever its queue may hold.
    fn limit_blocking(self: &Arc<Self>, is_blocked: bool, has_taken: bool) {
        if is_blocked && !has_taken && self.is_stuck.load(Ordering::Acquire) {
            return; // Its time runs.
        }
        let was_stuck = self.is_stuck.load(Ordering::Acquire);
        if (was_stuck != is_blocked && self.is_stuck.swap(is_blocked, Ordering::AcqRel))
            || is_blocked
        {
            let stuck = self.wheel.now_ms() + self.write_timeout_ms;
            self.clock().stuck_ms = is_blocked.then_some(stuck);
            self.schedule();
        }
    }

    fn limit_close(self: &Arc<Self>, limit: Duration) {
        let cut = self.wheel.now_ms() + millis(limit);
        self.clock().cut_ms.get_or_insert(cut);
        self.schedule();
    }

    /// The wheel has come to where it was put.
    pub(super) fn look_at_the_clock(self: &Arc<Self>, tick: Tick) {
        let now = self.wheel.now_ms();
        let (is_over, close) = {
            let mut clock = self.clock();
            if clock.scheduled.is_none_or(|(at, _)| at != tick) {
                return; // It was needed earlier, and was looked at then.
            }
            clock.scheduled = None;
            let is_due = |due: &mut Box<(u64, Close)>| due.0 <= now;
            (
                [clock.cut_ms, clock.stuck_ms]
                    .into_iter()
                    .flatten()
                    .any(|end| end <= now),
                clock.deadline.take_if(is_due),
            )
        };
        if self.topics().has_ended {
            return;
        }
        if is_over {
            return self.cut();
        }
        if let Some(close) = close {
            self.close(&close.1);
        }
        self.ask_whether_it_is_there(now);
        self.schedule();
    }

    fn ask_whether_it_is_there(self: &Arc<Self>, now: u64) {
        let heard = self.heard_ms.load(Ordering::Acquire);
        let asked = self.asked_ms.load(Ordering::Acquire);
        if now < self.ping_due() || self.is_closing() {
            return;
        }
        if !self.is_listened_to.load(Ordering::Acquire) {
            // What it says waits to be heard.
            self.asked_ms.store(0, Ordering::Release);
            self.heard_ms.fetch_max(now, Ordering::AcqRel);
        } else if asked > heard {
            self.is_silent.store(true, Ordering::Release);
            self.tell_lost();
        } else {
            self.asked_ms.store(now, Ordering::Release);
            self.out()
                .push_awaited(frame::own(frame::encode(PING, &[])));
            self.ring();
        }
    }

    fn ping_due(&self) -> u64 {
        let heard = self.heard_ms.load(Ordering::Acquire);
        let asked = self.asked_ms.load(Ordering::Acquire);
        heard.max(asked) + self.ping_ms
    }

    /// Puts it on the wheel, if it is not there early enough.
    fn schedule(self: &Arc<Self>) {
        let mut clock = self.clock();
        let deadline = clock.deadline.as_ref().map(|deadline| deadline.0);
        let due = [deadline, clock.cut_ms, clock.stuck_ms]
            .into_iter()
            .flatten()
            .fold(self.ping_due(), u64::min);
        if clock.scheduled.is_none_or(|(_, scheduled)| due < scheduled) {
            clock.scheduled = Some((self.wheel.look_at(self, due), due));
        }
    }
}

/// Its socket takes more.
impl Wake for Connection {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
