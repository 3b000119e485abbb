//! The boundary, told from both sides in one process: what crosses arrives whole, is freed once, and never unwinds.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use nself_plugin_api::abi::{
    bytes::{Bytes, OptBytes, Str},
    capability::{
        connect::{Connect, ConnectProvider, Outgoing, OutgoingProvider},
        hub::{Connection, Frame, Hub, HubProvider, Topic, TopicProvider},
        kv::{Kv, KvProvider, Take},
    },
    error::{Error, Outcome},
    future::Fut,
    layout,
    stream::Stream,
};

#[test]
fn the_layout_of_what_crosses_is_the_released_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/abi-layout.txt");
    let now = layout::text();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let released = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        now, released,
        "a released table only grows at its end, and then the minor grows (docs/abi.md)"
    );
}

/// Answers keys with what they say; `panic` panics, `pending` never resolves, `hold` counts its drops.
struct Echo {
    dropped: Arc<AtomicUsize>,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl KvProvider for Echo {
    fn get(&self, key: Str<'_>) -> impl Future<Output = Result<OptBytes, Error>> + Send + 'static {
        let (key, counted) = (key.as_str().to_owned(), Counted(Arc::clone(&self.dropped)));
        async move {
            let _counted = counted;
            match key.as_str() {
                "panic" => panic!("no {key}"),
                "pending" => std::future::pending().await,
                "none" => Ok(None.into()),
                _ => Ok(Some(Bytes::from(key)).into()),
            }
        }
    }

    fn set(
        &self,
        _: Str<'_>,
        _: Bytes,
        _: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        panic!("before there is a future");
        #[expect(unreachable_code, reason = "gives the function its type")]
        std::future::ready(Ok(()))
    }

    fn delete(&self, _: Str<'_>) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        std::future::ready(Err(Error {
            status: 409,
            code: Bytes::from_static(b"BUSY"),
            ..Error::default()
        }))
    }

    fn increment(
        &self,
        _: Str<'_>,
        by: i64,
        _: u64,
    ) -> impl Future<Output = Result<i64, Error>> + Send + 'static {
        std::future::ready(Ok(by))
    }

    fn expire(
        &self,
        _: Str<'_>,
        _: u64,
    ) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        std::future::ready(Ok(1))
    }

    fn compare_and_set(
        &self,
        _: Str<'_>,
        _: OptBytes,
        _: OptBytes,
        _: u64,
    ) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        std::future::ready(Ok(1))
    }

    fn take(
        &self,
        _: Str<'_>,
        capacity: u32,
        _: u64,
        cost: u32,
    ) -> impl Future<Output = Result<Take, Error>> + Send + 'static {
        std::future::ready(Ok(Take {
            allowed: 1,
            remaining: capacity - cost,
            retry_ms: 0,
        }))
    }
}

fn echo() -> (Kv, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    (
        Kv::new(Arc::new(Echo {
            dropped: Arc::clone(&dropped),
        })),
        dropped,
    )
}

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn ready<F: Future + Unpin>(mut future: F) -> F::Output {
    match poll(&mut future, Waker::noop()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it should be ready"),
    }
}

#[test]
fn values_and_errors_arrive_whole() {
    let (kv, _) = echo();
    let value: Option<Bytes> = ready(kv.get("milk".into())).unwrap().into();
    assert_eq!(value.unwrap().as_slice(), b"milk");
    let nothing: Option<Bytes> = ready(kv.get("none".into())).unwrap().into();
    assert!(nothing.is_none());
    let error = ready(kv.delete("x".into())).unwrap_err();
    assert_eq!((error.status, error.code.as_slice()), (409, &b"BUSY"[..]));
    assert_eq!(ready(kv.take("x".into(), 5, 1, 2)).unwrap().remaining, 3);
}

#[test]
fn a_panic_before_and_in_the_future_is_an_error_of_its_own_kind() {
    let (kv, dropped) = echo();
    let error = ready(kv.get("panic".into())).unwrap_err();
    assert!(error.is_panic());
    assert_eq!(error.message.as_slice(), b"no panic");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert!(
        ready(kv.set("x".into(), Bytes::new(), 0))
            .unwrap_err()
            .is_panic()
    );
}

#[test]
fn a_cancelled_future_is_dropped_once_and_with_it_what_it_holds() {
    let (kv, dropped) = echo();
    let mut pending = kv.get("pending".into());
    assert!(poll(&mut pending, Waker::noop()).is_pending());
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    drop(pending);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

/// Pending until its waker has been cloned and woken from elsewhere.
#[derive(Default)]
struct Later {
    wakers: Arc<Mutex<Vec<Waker>>>,
    polls: usize,
}

impl Future for Later {
    type Output = Result<usize, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        if self.polls == 4 {
            return Poll::Ready(Ok(self.wakers.lock().unwrap().len()));
        }
        let mut wakers = self.wakers.lock().unwrap();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[test]
fn a_waker_is_shared_for_the_life_of_a_future_and_wakes_from_another_thread() {
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let counter = Arc::new(CountWakes(AtomicUsize::new(0)));
    // A clone: std's first waker and its clones need not have one table, and then they are not the same.
    let waker = Waker::from(Arc::clone(&counter)).clone();
    let mut future = Fut::new(Later {
        wakers: Arc::clone(&wakers),
        polls: 0,
    });
    (0..3).for_each(|_| assert!(poll(&mut future, &waker).is_pending()));
    let stored = std::mem::take(&mut *wakers.lock().unwrap());
    assert_eq!(
        stored.len(),
        1,
        "the clone of the first poll stands for all later ones"
    );
    std::thread::spawn(move || stored.into_iter().for_each(Waker::wake))
        .join()
        .unwrap();
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(&mut future, &waker), Poll::Ready(Ok(_))));
    drop(future);
    drop(waker);
    assert_eq!(
        Arc::strong_count(&counter),
        1,
        "no reference is left behind"
    );
}

#[test]
#[expect(
    clippy::redundant_async_block,
    reason = "a future of its own, which polls the other: the same one would be passed on"
)]
fn a_waker_that_came_across_is_handed_back_as_it_is() {
    // A future of the other side that polls a future of this side: two crossings, one waker object.
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let inner = Fut::new(Later {
        wakers: Arc::clone(&wakers),
        polls: 0,
    });
    let mut outer = Fut::new(async move { inner.await });
    let counter = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counter));
    assert!(poll(&mut outer, &waker).is_pending());
    wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    drop(outer);
    drop(waker);
    assert_eq!(Arc::strong_count(&counter), 1);
}

#[test]
fn a_future_that_is_passed_on_wakes_whoever_polls_it_then() {
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let mut future = Fut::new(Later {
        wakers: Arc::clone(&wakers),
        polls: 0,
    });
    let counters = [(); 2].map(|()| Arc::new(CountWakes(AtomicUsize::new(0))));
    for counter in &counters {
        let waker = Waker::from(Arc::clone(counter));
        future = Fut::new(future);
        assert!(poll(&mut future, &waker).is_pending());
    }
    wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    drop(future);
    for counter in counters {
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert_eq!(
            Arc::strong_count(&counter),
            1,
            "no reference is left behind"
        );
    }
}

#[test]
fn a_stream_ends_fails_and_panics_without_unwinding() {
    use nself_plugin_api::futures_util::{StreamExt, stream};
    let chunks = stream::iter([Ok(Bytes::from_static(b"a")), Err(Error::default())]).chain(
        stream::once(async {
            panic!("third");
        }),
    );
    let mut stream = Stream::new(chunks);
    let mut next = || ready(stream.next());
    assert_eq!(next().unwrap().unwrap().as_slice(), b"a");
    assert!(next().unwrap().is_err());
    assert!(next().unwrap().unwrap_err().is_panic());
    assert!(ready(Stream::empty().next()).is_none());
}

/// Hands out others of its kind, and streams that say where they lead.
struct Roads(Arc<AtomicUsize>);

struct Road {
    to: String,
    _counted: Counted,
}

impl ConnectProvider for Roads {
    fn trusting(
        &self,
        certificates: Bytes,
    ) -> impl Future<Output = Result<Connect, Error>> + Send + 'static {
        let dropped = Arc::clone(&self.0);
        async move {
            match certificates.as_slice() {
                [] => Err(Error::default()),
                _ => Ok(Connect::new(Arc::new(Self(dropped)))),
            }
        }
    }

    fn open(
        &self,
        host: Str<'_>,
        port: u32,
        _: u32,
        _: u64,
    ) -> impl Future<Output = Result<Outgoing, Error>> + Send + 'static {
        let to = format!("{}:{port}", host.as_str());
        let road = Road {
            to,
            _counted: Counted(Arc::clone(&self.0)),
        };
        std::future::ready(Ok(Outgoing::new(Arc::new(road))))
    }
}

impl OutgoingProvider for Road {
    fn peer(&self) -> Bytes {
        self.to.clone().into()
    }

    fn set_deadline(&self, _: u64) {
        panic!("nothing comes of it");
    }

    fn read(&self, max: u32) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let read = vec![b'x'; usize::try_from(max).unwrap()];
        std::future::ready(Ok(read.into()))
    }

    fn write(&self, bytes: Bytes) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        assert_eq!(bytes.as_slice(), b"written");
        std::future::ready(Ok(()))
    }

    fn shutdown(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        std::future::pending()
    }

    fn start_tls(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        std::future::ready(Err(Error {
            code: Bytes::from_static(b"EGRESS_TLS_FAILED"),
            ..Error::default()
        }))
    }
}

#[test]
fn a_capability_hands_out_another_of_its_kind_and_streams_that_outlive_it() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let connect = Connect::new(Arc::new(Roads(Arc::clone(&dropped))));
    assert!(ready(connect.trusting(Bytes::new())).is_err());
    let trusting = ready(connect.trusting(Bytes::from_static(b"pem")));
    let trusting = trusting.unwrap_or_else(|_| panic!("there are certificates"));
    drop(connect);
    let opened = ready(trusting.open("host".into(), 25, 0, 0));
    let stream = opened.unwrap_or_else(|_| panic!("it opens"));
    drop(trusting);
    assert_eq!(stream.peer().to_text(), "host:25");
    assert_eq!(ready(stream.read(3)).unwrap().as_slice(), b"xxx");
    ready(stream.write(Bytes::from_static(b"written"))).unwrap();
    stream.set_deadline(1);
    let mut shutdown = stream.shutdown();
    assert!(poll(&mut shutdown, Waker::noop()).is_pending());
    let refused = ready(stream.start_tls()).unwrap_err();
    assert_eq!(refused.code.to_text(), "EGRESS_TLS_FAILED");
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    drop((stream, shutdown));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

/// Keeps what is published.
struct Kept {
    counted: Arc<AtomicUsize>,
    frames: Arc<Mutex<Vec<Frame>>>,
}

/// A frame's bytes, which count their drop.
struct Bytes3 {
    bytes: [u8; 3],
    _counted: Counted,
}

impl AsRef<[u8]> for Bytes3 {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HubProvider for Kept {
    fn frame(&self, _: u32, payload: Bytes) -> Outcome<Frame> {
        let bytes = payload.as_slice().try_into().expect("three bytes");
        Ok(Frame::new(Arc::new(Bytes3 {
            bytes,
            _counted: Counted(Arc::clone(&self.counted)),
        })))
        .into()
    }

    fn connection(
        &self,
        socket: u64,
        _: u64,
        _: u32,
        _: Str<'_>,
        _: u32,
        _: Str<'_>,
    ) -> Outcome<Connection> {
        panic!("there is no socket {socket}")
    }

    fn topic(&self, _: u32) -> Outcome<Topic> {
        Ok(Topic::new(Arc::new(Members(Arc::clone(&self.frames))))).into()
    }
}

struct Members(Arc<Mutex<Vec<Frame>>>);

impl TopicProvider for Members {
    fn add(&self, _: u64) -> u32 {
        1
    }

    fn remove(&self, _: u64) -> u32 {
        0
    }

    fn publish(&self, frame: Frame, _: u64) -> u64 {
        let mut frames = self.0.lock().unwrap();
        frames.push(frame.clone());
        frames.push(frame);
        2
    }

    fn members(&self) -> u64 {
        2
    }
}

#[test]
fn a_frame_is_shared_by_all_that_it_was_sent_to_and_freed_with_the_last() {
    let (counted, frames) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let hub = Hub::new(Arc::new(Kept {
        counted: Arc::clone(&counted),
        frames: Arc::clone(&frames),
    }));
    let topic = hub.topic(1).into_result().expect("a topic");
    let frame = hub.frame(1, Bytes::from_static(b"abc")).into_result();
    let frame = frame.expect("a frame");
    assert_eq!(topic.publish(frame.clone(), 0), 2);
    drop((topic, hub, frame));
    let held = std::mem::take(&mut *frames.lock().unwrap());
    assert!(held.iter().all(|frame| frame.as_slice() == b"abc"));
    assert_eq!(counted.load(Ordering::SeqCst), 0);
    std::thread::spawn(move || drop(held)).join().unwrap();
    assert_eq!(counted.load(Ordering::SeqCst), 1);
}

#[test]
fn a_hub_that_panics_gives_no_connection() {
    let hub = Hub::new(Arc::new(Kept {
        counted: Arc::default(),
        frames: Arc::default(),
    }));
    let given = hub.connection(7, 0, 0, "".into(), 0, "".into());
    assert!(given.into_result().is_err());
}
