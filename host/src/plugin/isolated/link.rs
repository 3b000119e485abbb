//! One end of the way between host and plugin: the objects that it keeps for the other side, the calls that it waits for, and
//! those that it works on.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::{self, Poll, Waker},
};

use dashmap::DashMap;
use futures_util::{FutureExt, future::BoxFuture};
use nself_plugin_api::abi::{
    error::Error,
    wire::{Call, Garbled, Link, Object, Parcel, Reader, Reply, Wire, Writer},
};
use tokio::{runtime::Handle, sync::oneshot, task::AbortHandle};

use super::{
    ROOT,
    context::{self, Context, OnCall},
    message::{Head, Kind, Message},
};

/// Calls of the other side that are worked on at a time.
const SERVED_MAX: usize = 16_384;
/// Objects that the other side has at a time.
const KEPT_MAX: usize = 65_536;

/// Takes messages to the other side, in their order.
pub(super) trait Out: Send + Sync {
    /// Sends one. What cannot be sent is lost: the other side is gone, and its end is seen where it is read.
    fn send(&self, message: Vec<u8>);
}

/// How calls of the other side are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// Where they are read, so that they begin in their order: the host's capabilities never block.
    InOrder,
    /// On threads of their own: what is called may wait for an answer that comes the same way.
    Apart,
}

/// One end.
pub(super) struct Connection {
    this: Weak<Self>,
    runtime: Handle,
    serving: Serving,
    out: Box<dyn Out>,
    next: AtomicU64,
    kept: DashMap<u64, Arc<dyn Object>>,
    waiting: DashMap<u64, Waiting>,
    served: DashMap<u64, AbortHandle>,
    /// Why it ended.
    ended: OnceLock<String>,
}

type Answered = Result<Reader, Error>;

/// A call of this side's.
struct Waiting {
    place: Place,
    context: Context,
}

/// Where its answer goes.
enum Place {
    Future(oneshot::Sender<Answered>),
    Thread(mpsc::SyncSender<Answered>),
}

impl Connection {
    /// An end that keeps `root` for the other side, as its only object.
    pub(super) fn new(serving: Serving, out: Box<dyn Out>, root: Arc<dyn Object>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            runtime: Handle::current(),
            serving,
            out,
            next: AtomicU64::new(ROOT + 1),
            kept: DashMap::from_iter([(ROOT, root)]),
            waiting: DashMap::new(),
            served: DashMap::new(),
            ended: OnceLock::new(),
        })
    }

    /// This end, as values and handles hold it.
    pub(super) fn link(&self) -> Arc<dyn Link> {
        self.this.upgrade().expect("it is used, so it is there")
    }

    /// Takes a message of the other side.
    ///
    /// # Errors
    ///
    /// When it makes no sense, or asks for too much at a time: the other side is not to be talked to any more.
    pub(super) fn receive(&self, message: Message) -> Result<(), &'static str> {
        let Message {
            head,
            objects,
            bytes,
        } = message;
        let values = Reader::new(self.link(), bytes, objects);
        match head.kind {
            Kind::Call | Kind::Tell => {
                self.serve(head, values)?;
                if self.served.len() > SERVED_MAX {
                    return Err("it asks for too much at a time");
                }
                if self.kept.len() > KEPT_MAX {
                    return Err("it holds too much at a time");
                }
            }
            Kind::Answer => self.answered(head.call, Ok(values)),
            Kind::Failure => {
                let failure = values.whole().unwrap_or_else(|garbled| garbled);
                self.answered(head.call, Err(failure));
            }
            Kind::Cancel => {
                if let Some((_, task)) = self.served.remove(&head.call) {
                    task.abort();
                }
            }
            Kind::Release => self.discard(self.kept.remove(&head.object)),
        }
        Ok(())
    }

    /// Nothing comes any more: what waits fails, what was kept and worked on for the other side goes.
    pub(super) fn end(&self, why: &str) {
        // The first reason is the true one.
        let _ = self.ended.set(why.to_owned());
        let served: Vec<u64> = self.served.iter().map(|one| *one.key()).collect();
        for call in served {
            if let Some((_, task)) = self.served.remove(&call) {
                task.abort();
            }
        }
        // Whose place is dropped hears of the end.
        let waiting: Vec<u64> = self.waiting.iter().map(|one| *one.key()).collect();
        let waiting: Vec<_> = waiting
            .iter()
            .map(|call| self.waiting.remove(call))
            .collect();
        let kept: Vec<u64> = self.kept.iter().map(|one| *one.key()).collect();
        let kept: Vec<_> = kept.iter().map(|number| self.kept.remove(number)).collect();
        // What goes may give something up in turn, and so is dropped with nothing locked.
        drop((waiting, kept));
    }

    /// What a call comes to once nothing comes any more.
    fn gone(&self) -> Error {
        let why = self.ended.get().map_or("it is gone", String::as_str);
        super::instance::down(why)
    }

    fn serve(&self, head: Head, arguments: Reader) -> Result<(), &'static str> {
        let object = self.kept.get(&head.object).map(|one| Arc::clone(&one));
        let object = object.ok_or("it calls what it does not have")?;
        let behalf = self.waiting.get(&head.behalf);
        let context = behalf.map(|call| call.context.clone()).unwrap_or_default();
        let this = self.this.upgrade().expect("it is used, so it is there");
        let begin = move || -> Result<Reply, Garbled> {
            let mut arguments = arguments;
            let begun = || object.serve(head.method, &mut arguments);
            let reply = context::on_call(head.call, || context.enter(begun))?;
            Ok(match reply {
                Reply::Later(future) => {
                    let (number, future) = (head.call, context.scope(future));
                    Reply::Later(OnCall { number, future }.boxed())
                }
                reply => reply,
            })
        };
        match self.serving {
            Serving::InOrder => this.begun(head, begin()),
            Serving::Apart => {
                this.drive(head.call, async move {
                    match begin()? {
                        Reply::Later(future) => future.await,
                        Reply::Now(parcel) => Ok(parcel),
                        Reply::Nothing => Ok(Parcel::default()),
                    }
                });
                Ok(())
            }
        }
    }

    fn begun(
        self: &Arc<Self>,
        head: Head,
        reply: Result<Reply, Garbled>,
    ) -> Result<(), &'static str> {
        let call = head.call;
        match reply.map_err(|_| "it calls with what cannot be read")? {
            Reply::Nothing if head.kind == Kind::Tell => {}
            Reply::Nothing => self.answer(call, Ok(Parcel::default())),
            Reply::Now(parcel) => self.answer(call, Ok(parcel)),
            Reply::Later(mut future) => {
                // What was begun first is polled first, and what is there at once needs no task.
                let mut context = task::Context::from_waker(Waker::noop());
                match future.poll_unpin(&mut context) {
                    Poll::Ready(result) => self.answer(call, result),
                    Poll::Pending => self.drive(call, future),
                }
            }
        }
        Ok(())
    }

    /// Sees a call of the other side to its end.
    fn drive(
        self: &Arc<Self>,
        call: u64,
        future: impl Future<Output = Result<Parcel, Error>> + Send + 'static,
    ) {
        let this = Arc::clone(self);
        // Held until the task stands in it: a short one would else leave before it has come.
        let place = self.served.entry(call);
        let task = self.runtime.spawn(async move {
            let result = future.await;
            this.served.remove(&call);
            this.answer(call, result);
        });
        place.insert(task.abort_handle());
    }

    fn answer(&self, call: u64, result: Result<Parcel, Error>) {
        let (kind, parcel) = match result {
            Ok(parcel) => (Kind::Answer, parcel),
            Err(failure) => (
                Kind::Failure,
                failure.send(Writer::new(&self.link())).seal(),
            ),
        };
        self.out.send(Head::of(kind, call).encode(&parcel));
    }

    /// An answer that nobody waits for gives up what is in it.
    fn answered(&self, call: u64, answer: Answered) {
        let waiting = self.waiting.remove(&call);
        match waiting.map(|(_, waiting)| waiting.place) {
            Some(Place::Future(place)) => {
                if let Err(answer) = place.send(answer) {
                    self.discard(answer);
                }
            }
            Some(Place::Thread(place)) => drop(place.send(answer)),
            None => self.discard(answer),
        }
    }

    /// Drops something that may say or ask something as it goes. Who reads what is said must not wait for that.
    fn discard(&self, gone: impl Send + 'static) {
        match self.serving {
            Serving::InOrder => drop(gone),
            Serving::Apart => drop(self.runtime.spawn(async move { drop(gone) })),
        }
    }

    /// Sends a call; its number.
    fn send(&self, kind: Kind, call: &Call, place: Option<Place>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = place {
            let context = Context::current();
            self.waiting.insert(number, Waiting { place, context });
            // It may have ended between two looks.
            if self.ended.get().is_some() {
                drop(self.waiting.remove(&number));
                return number;
            }
        }
        let head = Head {
            kind,
            method: call.method,
            call: number,
            behalf: context::call(),
            object: call.object,
        };
        self.out.send(head.encode(&call.arguments));
        number
    }
}

impl Link for Connection {
    fn keep(&self, object: Box<dyn Object>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if self.ended.get().is_none() {
            self.kept.insert(number, Arc::from(object));
        }
        number
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Answered> {
        let (place, answer) = oneshot::channel();
        let number = self.send(Kind::Call, &call, Some(Place::Future(place)));
        let this = self.this.upgrade().expect("it is used, so it is there");
        let pending = Pending { this, number };
        async move {
            let answer = answer.await;
            answer.unwrap_or_else(|_| Err(pending.this.gone()))
        }
        .boxed()
    }

    fn ask(&self, call: Call) -> Answered {
        let (place, answer) = mpsc::sync_channel(1);
        self.send(Kind::Call, &call, Some(Place::Thread(place)));
        answer.recv().unwrap_or_else(|_| Err(self.gone()))
    }

    fn tell(&self, call: Call) {
        self.send(Kind::Tell, &call, None);
    }

    fn release(&self, object: u64) {
        let head = Head {
            object,
            ..Head::of(Kind::Release, 0)
        };
        self.out.send(head.encode(&Parcel::default()));
    }
}

/// Cancels a call that is given up before its answer.
struct Pending {
    this: Arc<Connection>,
    number: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.this.waiting.remove(&self.number).is_some() {
            let head = Head::of(Kind::Cancel, self.number);
            self.this.out.send(head.encode(&Parcel::default()));
        }
    }
}
