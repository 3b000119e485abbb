//! One loaded version of a plugin as the HTTP side sees it: how much it carries, and whether it is on its way out.
//!
//! An upgrade builds a table with the new generation, swaps it in, drains the old one and waits for
//! [`Generation::drained`]. A request that found the old table in that moment looks again and finds the new one.

mod admission;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::watch;

use admission::Admission;

/// What [`admission`] is made of here.
mod sync {
    pub(super) use std::sync::atomic::{AtomicUsize, Ordering};

    pub(super) use tokio::sync::Notify;
}

/// Counts what a generation carries and ends it.
#[derive(Debug)]
pub struct Generation {
    plugin: Arc<str>,
    /// Requests that are being answered, and their maximum.
    requests: Slots,
    /// Event streams and sockets, which may last for days, and their maximum.
    streams: Slots,
    /// Everything that keeps this generation alive, whether or not it takes a slot.
    admission: Admission,
    course: watch::Sender<Course>,
    /// Resolves when streams and sockets shall end: of those there are thousands, so they wait for it together.
    ending: Shared<BoxFuture<'static, ()>>,
}

/// Where a generation is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Course {
    /// It serves.
    Serving,
    /// Event streams and sockets shall end.
    Ending,
    /// Whatever still runs is dropped.
    Cut,
}

#[derive(Debug)]
struct Slots {
    taken: AtomicUsize,
    max: usize,
}

/// Why a generation takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is on its way out.
    Draining,
    /// It carries as much as it may.
    Full,
}

impl Generation {
    /// A generation of `plugin` that answers at most `requests_max` requests and `streams_max` event streams and
    /// sockets at once.
    pub fn new(plugin: impl Into<Arc<str>>, requests_max: usize, streams_max: usize) -> Arc<Self> {
        let course = watch::Sender::new(Course::Serving);
        Arc::new(Self {
            plugin: plugin.into(),
            ending: reached(course.subscribe(), Course::Ending).boxed().shared(),
            requests: Slots {
                taken: AtomicUsize::new(0),
                max: requests_max,
            },
            streams: Slots {
                taken: AtomicUsize::new(0),
                max: streams_max,
            },
            admission: Admission::new(),
            course,
        })
    }

    /// The plugin's id.
    pub fn plugin(&self) -> &Arc<str> {
        &self.plugin
    }

    /// Takes a slot; `long` for event streams and sockets.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why there is none.
    pub fn enter(self: &Arc<Self>, long: bool) -> Result<InFlight, Refusal> {
        let mut in_flight = self.join()?;
        let slots = if long { &self.streams } else { &self.requests };
        in_flight.slot = Some(long);
        if slots.taken.fetch_add(1, SeqCst) >= slots.max {
            return Err(Refusal::Full);
        }
        Ok(in_flight)
    }

    /// Is waited for as a request is, and takes no slot: for work whose number is bounded where it comes from.
    ///
    /// # Errors
    ///
    /// [`Refusal::Draining`].
    pub fn join(self: &Arc<Self>) -> Result<InFlight, Refusal> {
        if !self.admission.enter() {
            return Err(Refusal::Draining);
        }
        Ok(InFlight {
            generation: Arc::clone(self),
            slot: None,
        })
    }

    /// Lets nothing more in, and asks event streams and sockets to end.
    pub fn drain(&self) {
        self.admission.close();
        self.end_streams();
    }

    /// Whether [`Self::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.admission.is_closed()
    }

    /// Asks event streams and sockets to end, and goes on answering requests: the first step of a shutdown.
    pub fn end_streams(&self) {
        self.advance(Course::Ending);
    }

    /// Drops what still runs: the time to finish is over.
    pub fn cut(&self) {
        self.advance(Course::Cut);
    }

    fn advance(&self, to: Course) {
        self.course.send_if_modified(|course| {
            let further = to > *course;
            *course = to.max(*course);
            further
        });
    }

    /// Requests, event streams and sockets that are being served now: those that have a slot.
    pub fn served(&self) -> usize {
        self.requests.taken.load(SeqCst) + self.streams.taken.load(SeqCst)
    }

    /// What keeps it alive now: a request counts once for its handler and once for its answer.
    pub fn in_flight(&self) -> usize {
        self.admission.count()
    }

    /// Waits until it carries nothing.
    pub async fn drained(&self) {
        self.admission.emptied().await;
    }
}

/// Keeps a generation alive. A clone does, too, but takes no slot of its own.
#[derive(Debug)]
pub struct InFlight {
    generation: Arc<Generation>,
    /// Whether a slot is taken, and then which kind: `true` is long.
    slot: Option<bool>,
}

impl InFlight {
    /// The generation that is kept.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Resolves when this generation is asked to end its streams and sockets.
    pub async fn ending(&self) {
        self.generation.ending.clone().await;
    }

    /// Resolves when what still runs of this generation is to be dropped.
    pub async fn cut(&self) {
        reached(self.generation.course.subscribe(), Course::Cut).await;
    }
}

async fn reached(mut course: watch::Receiver<Course>, wanted: Course) {
    // The sender lives in the generation, which whoever waits keeps, so there is always an answer.
    let _ = course.wait_for(|course| *course >= wanted).await;
}

impl Clone for InFlight {
    fn clone(&self) -> Self {
        self.generation.admission.accompany();
        Self {
            generation: Arc::clone(&self.generation),
            slot: None,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let generation = &*self.generation;
        match self.slot {
            Some(true) => _ = generation.streams.taken.fetch_sub(1, SeqCst),
            Some(false) => _ = generation.requests.taken.fetch_sub(1, SeqCst),
            None => {}
        }
        generation.admission.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn drained_waits_for_the_last_clone_and_not_longer() {
        let generation = Generation::new("notes", 8, 8);
        let first = generation.enter(false).expect("there is room");
        let second = first.clone();
        generation.drain();
        assert_eq!(
            generation.enter(false).expect_err("draining"),
            Refusal::Draining
        );
        drop(first);
        assert!(generation.drained().now_or_never().is_none());
        drop(second);
        generation.drained().await;
    }

    #[tokio::test]
    async fn work_that_joins_takes_no_slot_and_is_waited_for() {
        let generation = Generation::new("notes", 1, 1);
        let work = generation.join().expect("it serves");
        let request = generation.enter(false).expect("there is room");
        assert_eq!((generation.served(), generation.in_flight()), (1, 2));
        generation.drain();
        drop(request);
        assert_eq!(generation.join().expect_err("draining"), Refusal::Draining);
        assert!(generation.drained().now_or_never().is_none());
        drop(work);
        generation.drained().await;
    }

    #[test]
    fn a_clone_takes_no_slot_and_a_refused_request_leaves_none_behind() {
        let generation = Generation::new("notes", 1, 1);
        let request = generation.enter(false).expect("there is room");
        let _clone = request.clone();
        assert_eq!(generation.enter(false).expect_err("full"), Refusal::Full);
        assert_eq!(generation.served(), 1);
        assert!(
            generation.enter(true).is_ok(),
            "streams have slots of their own"
        );
        drop(request);
        assert!(generation.enter(false).is_ok());
    }
}
