//! Names plugins that hold a thread of the event loop: handlers shall wait, or leave the thread, and never block it.
//!
//! A poll costs two stores and two loads of memory that no other thread writes: before a plugin's code is polled its
//! thread notes a number for this poll, and afterwards what it had noted before. A thread of the host's own looks at the notes
//! now and then; a number that stands there for too long is a poll that has not come back. So no clock is read for
//! a poll (twice 50 ns where this takes 4), and a plugin that never comes back is named as well.
//!
//! The same notes tell whose the call was when the process crashes: [`here`] reads that of its own thread, from a signal handler.

use std::{
    cell::Cell,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use tracing::warn;

use super::manifest::Manifest;
use crate::loader::crash::{Here as Called, ImageNumber};

/// A poll that has not come back for so long is told. It is seen at the first look after that.
pub const BLOCKED: Duration = Duration::from_millis(100);

/// Looks further apart than this say nothing: it is the machine that stood still, not a plugin.
const LATE: Duration = Duration::from_millis(250);

/// A note of a poll is its number, and in the lowest bits its subject.
const SUBJECT_BITS: u32 = 24;

/// Nothing of a plugin is polled.
const IDLE: u64 = 0;

/// Everything that was ever watched; it grows with every start of a plugin, as the mapped code does. Read without a lock.
static SUBJECTS: boxcar::Vec<Subject> = boxcar::Vec::new();

/// The threads that have polled something of a plugin.
static THREADS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

/// Whose polls are watched.
#[derive(Clone)]
pub struct Owner {
    /// The plugin.
    pub plugin: Arc<str>,
    /// Its file.
    pub image: ImageNumber,
    /// Counts polls that held a thread for too long.
    pub blocked: IntCounter,
}

/// What a plugin is polled for, for people.
struct Subject {
    owner: Owner,
    work: Box<str>,
    /// It holds a thread that is there to be held.
    may_block: bool,
}

/// Notes the polls of one route, task, or whatever else a plugin works for.
#[derive(Debug, Clone, Copy)]
pub struct Watch(u32);

impl Watch {
    /// Watches `work` of a plugin.
    pub fn new(owner: &Owner, work: &str) -> Self {
        Self::noted(owner, work, false)
    }

    /// Notes `work` of a plugin that may hold its thread.
    pub fn of_blocking(owner: &Owner, work: &str) -> Self {
        Self::noted(owner, work, true)
    }

    fn noted(owner: &Owner, work: &str, may_block: bool) -> Self {
        let at = SUBJECTS.push(Subject {
            owner: owner.clone(),
            work: work.into(),
            may_block,
        });
        let number = u32::try_from(at + 1).unwrap_or_default();
        // Beyond that nothing is watched, rather than the wrong plugin blamed.
        Self(if number >> SUBJECT_BITS == 0 {
            number
        } else {
            0
        })
    }

    /// Polls something of the plugin.
    pub fn poll<R>(self, poll: impl FnOnce() -> R) -> R {
        let _noted = Noted::new(self);
        poll()
    }

    /// A future of the plugin.
    pub fn future<F: Future + Unpin>(self, future: F) -> Watched<F> {
        Watched {
            watch: self,
            future,
        }
    }
}

/// One for everything that a manifest declares, by its number there.
pub struct Watches {
    routes: Vec<Watch>,
    tasks: Vec<Watch>,
    subscriptions: Vec<Watch>,
    schedules: Vec<Watch>,
    jobs: Vec<Watch>,
    capabilities: Vec<Watch>,
    stop: Watch,
}

impl Watches {
    /// For the plugin of this manifest.
    pub fn new(manifest: &Manifest, owner: &Owner) -> Self {
        let watch = |work: String| Watch::new(owner, &work);
        let Manifest {
            routes,
            tasks,
            subscriptions,
            schedules,
            jobs,
            provides,
            ..
        } = manifest;
        Self {
            routes: routes
                .iter()
                .map(|route| watch(format!("{} {}", route.method, route.path)))
                .collect(),
            tasks: tasks
                .iter()
                .map(|task| watch(format!("task {}", task.name)))
                .collect(),
            subscriptions: subscriptions
                .iter()
                .map(|subscription| watch(format!("subscription {}", subscription.name)))
                .collect(),
            schedules: schedules
                .iter()
                .map(|schedule| watch(format!("schedule {}", schedule.name)))
                .collect(),
            jobs: jobs
                .iter()
                .map(|job| watch(format!("job {}", job.kind)))
                .collect(),
            capabilities: provides
                .iter()
                .map(|id| watch(format!("capability {id}")))
                .collect(),
            stop: Watch::of_blocking(owner, "stop"),
        }
    }

    /// Of a route.
    pub fn route(&self, number: u32) -> Watch {
        of(&self.routes, number as usize)
    }

    /// Of a task.
    pub fn task(&self, number: u32) -> Watch {
        of(&self.tasks, number as usize)
    }

    /// Of a subscription.
    pub fn subscription(&self, number: u32) -> Watch {
        of(&self.subscriptions, number as usize)
    }

    /// Of a schedule.
    pub fn schedule(&self, number: u32) -> Watch {
        of(&self.schedules, number as usize)
    }

    /// Of a kind of job.
    pub fn job(&self, number: u32) -> Watch {
        of(&self.jobs, number as usize)
    }

    /// Of a provided capability.
    pub fn capability(&self, number: usize) -> Watch {
        of(&self.capabilities, number)
    }

    /// Of its end.
    pub fn stop(&self) -> Watch {
        self.stop
    }
}

/// What nobody declared blames nobody.
fn of(watches: &[Watch], number: usize) -> Watch {
    watches.get(number).copied().unwrap_or(Watch(0))
}

/// A future whose polls are noted.
#[must_use = "futures do nothing unless they are polled"]
pub struct Watched<F> {
    watch: Watch,
    future: F,
}

impl<F: Future + Unpin> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let watch = self.watch;
        watch.poll(|| Pin::new(&mut self.future).poll(context))
    }
}

/// What one thread does now.
#[derive(Default)]
struct Slot {
    note: AtomicU64,
    /// The note that was told last, so that its thread can tell the end of it.
    told: AtomicU64,
    since: Mutex<Option<Instant>>,
}

/// The calling thread's slot, and how many polls it has noted.
struct Here {
    slot: &'static Slot,
    polls: Cell<u64>,
}

impl Here {
    fn new() -> Self {
        let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let free = threads.iter_mut().find(|thread| !thread.used);
        let slot = if let Some(thread) = free {
            thread.used = true;
            thread.seen = Seen::default();
            thread.slot
        } else {
            // It goes from thread to thread: there are as many as there were threads at a time.
            let slot: &'static Slot = Box::leak(Box::default());
            threads.push(Thread {
                slot,
                seen: Seen::default(),
                used: true,
            });
            slot
        };
        SLOT.set(Some(slot));
        Self {
            slot,
            // A note that the thread before has left as the last one told must not be noted again.
            polls: Cell::new(slot.told.load(Ordering::Relaxed) >> SUBJECT_BITS),
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // In the middle of a poll it is `exit` that ends the thread, and whoever asks will want to know whose.
        if self.slot.note.load(Ordering::Relaxed) != IDLE {
            return;
        }
        SLOT.set(None);
        let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let own = threads
            .iter_mut()
            .find(|thread| std::ptr::eq(thread.slot, self.slot));
        if let Some(thread) = own {
            thread.used = false;
        }
    }
}

thread_local! {
    static HERE: Here = Here::new();
    /// The slot of [`HERE`], readable from a signal handler: it is made with the thread and has nothing to end.
    static SLOT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

/// What the calling thread is polled for now. Async-signal-safe.
pub fn here() -> Option<Called> {
    let slot = SLOT.try_with(Cell::get).ok()??;
    let Subject { owner, work, .. } = subject(slot.note.load(Ordering::Relaxed))?;
    Some(Called {
        image: owner.image,
        work,
    })
}

/// A poll that is noted until this is dropped. Polls nest: a plugin calls another one.
struct Noted {
    note: u64,
    before: u64,
}

impl Noted {
    fn new(watch: Watch) -> Self {
        let noted = HERE.try_with(|here| {
            let polls = here.polls.get().wrapping_add(1);
            here.polls.set(polls);
            let note = polls << SUBJECT_BITS | u64::from(watch.0);
            let before = here.slot.note.load(Ordering::Relaxed);
            here.slot.note.store(note, Ordering::Relaxed);
            Self { note, before }
        });
        // A thread that is at its end polls nothing any more.
        noted.unwrap_or_else(|_| Self {
            note: IDLE,
            before: IDLE,
        })
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = HERE.try_with(|here| {
            here.slot.note.store(self.before, Ordering::Relaxed);
            if here.slot.told.load(Ordering::Acquire) == self.note {
                here.slot.tell_end(self.note);
            }
        });
    }
}

impl Slot {
    #[cold]
    fn tell_end(&self, note: u64) {
        let since = self
            .since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(since), Some(Subject { owner, work, .. })) = (since, subject(note)) {
            warn!(
                plugin = &*owner.plugin,
                work = &**work,
                blocked_ms = ms(since.elapsed()),
                "the blocked thread is free again"
            );
        }
    }
}

fn subject(note: u64) -> Option<&'static Subject> {
    let number = note & ((1 << SUBJECT_BITS) - 1);
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    SUBJECTS.get(at)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One thread, and what was last seen of it; after its end, the next one.
struct Thread {
    slot: &'static Slot,
    seen: Seen,
    used: bool,
}

/// The note that stood in a slot, and since when.
#[derive(Default)]
struct Seen {
    note: u64,
    since: Option<Instant>,
    told: bool,
}

impl Seen {
    /// Since when this note stands, once: at the first look at which that is too long.
    fn look(&mut self, note: u64, now: Instant) -> Option<Instant> {
        let since = self.since.filter(|_| note == self.note && note != IDLE);
        let Some(since) = since else {
            *self = Self {
                note,
                since: Some(now),
                told: false,
            };
            return None;
        };
        if self.told || now.saturating_duration_since(since) < BLOCKED {
            return None;
        }
        self.told = true;
        Some(since)
    }
}

/// Looks at the notes. One per process.
pub struct Watchdog {
    last: Instant,
}

impl Watchdog {
    /// One that has not looked yet.
    pub fn new(now: Instant) -> Self {
        Self { last: now }
    }

    /// Looks at what every thread does, and tells which plugin has held one for too long. Called several times
    /// within [`BLOCKED`].
    pub fn look(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.last) > LATE;
        self.last = now;
        let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        for Thread { slot, seen, .. } in &mut *threads {
            if late && !seen.told {
                seen.since = None;
            }
            let note = slot.note.load(Ordering::Relaxed);
            if let Some(since) = seen.look(note, now)
                && let Some(Subject { owner, work, .. }) =
                    subject(note).filter(|subject| !subject.may_block)
            {
                *slot.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(since);
                slot.told.store(note, Ordering::Release);
                owner.blocked.inc();
                warn!(
                    plugin = &*owner.plugin,
                    work = &**work,
                    blocked_ms = ms(now.saturating_duration_since(since)),
                    "a plugin blocks a thread of the event loop: what takes long belongs on `tasks().blocking`"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{ptr, sync::MutexGuard};

    use super::*;

    fn owner(plugin: &str) -> Owner {
        Owner {
            plugin: plugin.into(),
            image: ImageNumber::NONE,
            blocked: IntCounter::new(plugin, "blocked").expect("a good name"),
        }
    }

    /// A watchdog looks at all threads of the process: two tests with clocks of their own would confuse each other.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn a_note_that_stays_is_told_once_and_the_next_poll_begins_anew() {
        let (mut seen, begin) = (Seen::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(seen.look(7, at(0)), None);
        assert_eq!(seen.look(7, at(50)), None);
        assert_eq!(seen.look(7, at(100)), Some(at(0)));
        assert_eq!(seen.look(7, at(150)), None, "told once");
        assert_eq!(seen.look(8, at(300)), None, "another poll");
        assert_eq!(seen.look(8, at(450)), Some(at(300)));
        assert_eq!(seen.look(IDLE, at(500)), None);
        assert_eq!(seen.look(IDLE, at(900)), None, "nothing is polled");
    }

    #[test]
    fn who_blocks_is_counted_and_who_called_it_is_not() {
        let _alone = alone();
        let (outer, inner) = (owner("caller"), owner("called"));
        let caller = Watch::new(&outer, "GET /a");
        let called = Watch::new(&inner, "capability a.b/1");
        let (outer, inner) = (outer.blocked, inner.blocked);
        let begin = Instant::now();
        let mut watchdog = Watchdog::new(begin);
        let mut looks = (1..).map(|number| begin + Duration::from_millis(50 * number));
        let mut look = |watchdog: &mut Watchdog, times| {
            for now in looks.by_ref().take(times) {
                watchdog.look(now);
            }
        };
        caller.poll(|| {
            look(&mut watchdog, 1);
            called.poll(|| look(&mut watchdog, 4));
            look(&mut watchdog, 1);
        });
        assert_eq!((outer.get(), inner.get()), (0, 1));
        look(&mut watchdog, 4);
        assert_eq!((outer.get(), inner.get()), (0, 1), "nothing is polled");
    }

    #[test]
    fn a_machine_that_stood_still_blames_nobody() {
        let _alone = alone();
        let still = owner("still");
        let begin = Instant::now();
        let mut watchdog = Watchdog::new(begin);
        Watch::new(&still, "GET /a").poll(|| {
            watchdog.look(begin + Duration::from_millis(50));
            watchdog.look(begin + Duration::from_secs(60));
        });
        assert_eq!(still.blocked.get(), 0);
    }

    #[test]
    fn what_may_block_is_not_told_and_is_known_while_it_works() {
        let _alone = alone();
        let (loop_owner, off) = (owner("asker"), owner("blocker"));
        let asks = Watch::new(&loop_owner, "GET /a");
        let blocks = Watch::of_blocking(&off, "blocking work");
        let work = || here().map(|called| called.work);
        let begin = Instant::now();
        let mut watchdog = Watchdog::new(begin);
        assert_eq!(work(), None);
        asks.poll(|| {
            assert_eq!(work(), Some("GET /a"));
            blocks.poll(|| {
                assert_eq!(work(), Some("blocking work"));
                for number in 1..5 {
                    watchdog.look(begin + Duration::from_millis(50 * number));
                }
            });
            assert_eq!(work(), Some("GET /a"));
        });
        assert_eq!(work(), None);
        assert_eq!(off.blocked.get(), 0);
    }

    #[test]
    fn a_slot_goes_from_thread_to_thread() {
        let _alone = alone();
        let watch = Watch::new(&owner("many"), "GET /a");
        let noted = move || watch.poll(|| SLOT.get().map(|slot| ptr::from_ref(slot).addr()));
        let in_thread = || std::thread::spawn(noted).join().expect("it ends");
        let before = THREADS.lock().unwrap_or_else(PoisonError::into_inner).len();
        for _ in 0..8 {
            assert!(in_thread().is_some());
        }
        let after = THREADS.lock().unwrap_or_else(PoisonError::into_inner).len();
        // Other tests' threads note their polls meanwhile.
        assert!(after < before + 8, "{before} {after}");
    }
}
