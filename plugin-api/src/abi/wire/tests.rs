//! Both ends of a link in one process: what each end sends is read by the other at once.

use std::{
    collections::HashMap,
    future::ready,
    sync::{
        Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt, stream};

use super::*;
use crate::abi::{
    bytes::{Bytes, OptBytes, Slice, Str},
    capability::{
        crypto::{Crypto, CryptoProvider},
        db::{Db, DbProvider, RowSource, Rows, Session, SessionProvider, mode},
        pubsub::{PubSub, PubSubProvider},
        task::{Tasks, TasksProvider, Work},
    },
    error::Outcome,
    future::Fut,
    request::{Principal, Request, RequestProvider},
    response::{Body, Response},
    stream::Stream,
};

#[derive(Default)]
struct End {
    this: OnceLock<Weak<End>>,
    other: OnceLock<Weak<End>>,
    kept: Mutex<HashMap<u64, Arc<dyn Object>>>,
    next: AtomicU64,
}

fn ends() -> (Arc<End>, Arc<End>) {
    let [one, two] = [(); 2].map(|()| Arc::new(End::default()));
    for (this, other) in [(&one, &two), (&two, &one)] {
        let _ = this.this.set(Arc::downgrade(this));
        let _ = this.other.set(Arc::downgrade(other));
    }
    (one, two)
}

impl End {
    fn link(&self) -> Arc<dyn Link> {
        self.this.get().and_then(Weak::upgrade).expect("it is held")
    }

    fn other(&self) -> Arc<End> {
        self.other.get().and_then(Weak::upgrade).expect("both live")
    }

    fn kept(&self) -> usize {
        self.kept.lock().expect("nobody panics").len()
    }

    fn read(&self, parcel: Parcel) -> Reader {
        Reader::new(self.link(), parcel.bytes.into(), parcel.objects)
    }

    /// What an object of this end answers.
    fn serve(&self, call: Call) -> Result<Reply, Garbled> {
        let object = self
            .kept
            .lock()
            .expect("nobody panics")
            .get(&call.object)
            .cloned();
        object
            .ok_or(Garbled)?
            .serve(call.method, &mut self.read(call.arguments))
    }

    /// A handle of this end, as the other end has it.
    fn hand<T: Wire>(self: &Arc<Self>, handle: T) -> T {
        let sent = handle.send(Writer::new(&self.link())).seal();
        self.other().read(sent).whole().expect("it reads back")
    }
}

impl Link for End {
    fn keep(&self, object: Box<dyn Object>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().expect("nobody panics");
        kept.insert(number, Arc::from(object));
        number
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Reader, Error>> {
        let (this, reply) = (self.link(), self.other().serve(call));
        async move {
            let parcel = match reply? {
                Reply::Later(future) => future.await?,
                Reply::Now(parcel) => parcel,
                Reply::Nothing => Parcel::default(),
            };
            Ok(Reader::new(this, parcel.bytes.into(), parcel.objects))
        }
        .boxed()
    }

    fn ask(&self, call: Call) -> Result<Reader, Error> {
        match self.other().serve(call)? {
            Reply::Now(parcel) => Ok(self.read(parcel)),
            _ => Err(Garbled.into()),
        }
    }

    fn tell(&self, call: Call) {
        drop(self.other().serve(call));
    }

    fn release(&self, object: u64) {
        let kept = self
            .other()
            .kept
            .lock()
            .expect("nobody panics")
            .remove(&object);
        drop(kept);
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits here")
}

struct Said(String);

impl RowSource for Said {
    fn row_count(&self) -> usize {
        2
    }

    fn column_count(&self) -> usize {
        2
    }

    fn column(&self, column: usize) -> (&str, u32) {
        [("said", 25), ("nothing", 20)][column]
    }

    fn cell(&self, row: usize, column: usize) -> Option<&[u8]> {
        (column == 0).then(|| &self.0.as_bytes()[row..])
    }
}

struct Database;

impl DbProvider for Database {
    fn query(
        &self,
        sql: Str<'_>,
        _: Bytes,
    ) -> impl Future<Output = Result<Rows, Error>> + Send + 'static {
        let rows = Rows::new(Said(sql.as_str().to_owned()));
        async move { Ok(rows) }
    }

    fn execute(
        &self,
        _: Str<'_>,
        _: Bytes,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        ready(Err(Error {
            status: 409,
            retry_after_ms: 7,
            code: Bytes::from_static(b"TAKEN"),
            message: Bytes::from_static(b"it is taken"),
            details: Bytes::from_static(b"{}"),
            cause: Bytes::from_static(b"a row"),
            ..Error::default()
        }))
    }

    fn session(&self, _: u32) -> impl Future<Output = Result<Session, Error>> + Send + 'static {
        ready(Ok(Session::new(Arc::new(Open))))
    }

    fn listen(&self, _: Str<'_>) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        let chunks = ["a", "b"].map(|text| Ok(Bytes::from(text.as_bytes())));
        async move { Ok(Stream::new(stream::iter(chunks))) }
    }
}

struct Open;

impl SessionProvider for Open {
    fn query(
        &self,
        _: Str<'_>,
        _: Bytes,
    ) -> impl Future<Output = Result<Rows, Error>> + Send + 'static {
        std::future::pending()
    }

    fn execute(
        &self,
        _: Str<'_>,
        params: Bytes,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        ready(Ok(params.as_slice().len() as u64))
    }

    fn batch(&self, _: Str<'_>) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        ready(Ok(()))
    }

    fn copy_in(
        &self,
        _: Str<'_>,
    ) -> impl Future<Output = Result<crate::abi::capability::db::CopyIn, Error>> + Send + 'static
    {
        std::future::pending()
    }

    fn copy_out(&self, _: Str<'_>) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        std::future::pending()
    }

    fn finish(&self, _: u32) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        ready(Ok(()))
    }
}

#[test]
fn rows_errors_and_handles_cross_and_what_is_dropped_is_given_up() {
    let (here, there) = ends();
    let db = here.hand(Db::new(Arc::new(Database)));
    let rows = now(db.query("ok".into(), Bytes::new())).expect("it answers");
    assert_eq!((rows.len(), rows.columns().len()), (2, 2));
    assert_eq!(rows.columns()[0].name.as_str(), "said");
    assert_eq!(rows.cell(0, 0), Some(&b"ok"[..]));
    assert_eq!((rows.cell(1, 0), rows.cell(1, 1)), (Some(&b"k"[..]), None));
    let taken = now(db.execute("".into(), Bytes::new())).expect_err("it is taken");
    assert_eq!((taken.status, taken.retry_after_ms), (409, 7));
    assert_eq!(taken.to_string(), "it is taken: a row");
    let session = now(db.session(mode::PLAIN)).expect("it answers");
    let three = now(session.execute("".into(), b"abc".to_vec().into()));
    assert_eq!(three.expect("it answers"), 3);
    assert_eq!(here.kept(), 2, "the database and its session");
    drop(session);
    assert_eq!(here.kept(), 1);
    drop(db);
    assert_eq!((here.kept(), there.kept()), (0, 0));
}

/// Rows without columns, as of `select from notes`.
struct Empty(usize);

impl RowSource for Empty {
    fn row_count(&self) -> usize {
        self.0
    }

    fn column_count(&self) -> usize {
        0
    }

    fn column(&self, _: usize) -> (&str, u32) {
        ("", 0)
    }

    fn cell(&self, _: usize, _: usize) -> Option<&[u8]> {
        None
    }
}

#[test]
fn rows_without_columns_cross_and_are_no_more_than_came() {
    let (here, _there) = ends();
    let rows = here.hand(Rows::new(Empty(3)));
    assert_eq!((rows.len(), rows.columns().len()), (3, 0));
    let mut sent = Rows::new(Empty(0)).send(Writer::new(&here.link())).seal();
    let count = sent.bytes.len() - size_of::<u32>();
    sent.bytes[count..].fill(0xff);
    assert!(here.read(sent).whole::<Rows>().is_err());
}

#[test]
fn streams_are_read_chunk_by_chunk_and_what_is_whole_at_once() {
    let (here, _there) = ends();
    let db = here.hand(Db::new(Arc::new(Database)));
    let mut heard = now(db.listen("news".into())).expect("it answers");
    for expected in ["a", "b"] {
        let chunk = now(heard.next()).expect("it goes on").expect("no failure");
        assert_eq!(chunk.as_slice(), expected.as_bytes());
    }
    assert!(now(heard.next()).is_none());
    drop((heard, db));
    let mut whole = here.hand(Stream::whole(b"abc".to_vec().into()));
    assert_eq!(here.kept(), 0);
    let chunk = now(whole.next()).expect("one").expect("no failure");
    assert_eq!(chunk.as_slice(), b"abc");
    assert!(here.hand(Stream::empty()).is_empty());
}

struct Worker(Mutex<Vec<String>>);

impl TasksProvider for Worker {
    fn spawn(&self, name: Str<'_>, work: Fut<()>) -> u64 {
        now(work).expect("it works");
        let mut done = self.0.lock().expect("nobody panics");
        done.push(name.as_str().to_owned());
        done.len() as u64
    }

    fn cancel(&self, task: u64) {
        let mut done = self.0.lock().expect("nobody panics");
        done.push(format!("cancel {task}"));
    }

    fn blocking(&self, _: Work) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        ready(Ok(()))
    }

    fn lease(
        &self,
        _: Str<'_>,
    ) -> impl Future<Output = Result<crate::abi::capability::task::Lease, Error>> + Send + 'static
    {
        std::future::pending()
    }

    fn draining(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        std::future::pending()
    }
}

#[test]
fn work_runs_where_it_was_made() {
    let (here, there) = ends();
    let worker = Arc::new(Worker(Mutex::default()));
    let tasks = here.hand(Tasks::new(Arc::clone(&worker)));
    let ran = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&ran);
    let work = Fut::new(async move {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    assert_eq!(tasks.spawn("count".into(), work), 1);
    tasks.cancel(9);
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    let done = worker.0.lock().expect("nobody panics").clone();
    assert_eq!(done, ["count", "cancel 9"]);
    assert_eq!(there.kept(), 0, "what has run is given up");
}

struct Channels;

impl PubSubProvider for Channels {
    fn is_on(&self) -> u32 {
        1
    }

    fn publish(
        &self,
        _: Str<'_>,
        _: Bytes,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        ready(Ok(()))
    }

    fn subscribe(
        &self,
        channels: Slice<'_, Str<'_>>,
    ) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        let names: Vec<&str> = channels.as_slice().iter().map(Str::as_str).collect();
        let names = names.join(",");
        async move { Ok(Stream::whole(names.into())) }
    }
}

struct Sealing;

impl CryptoProvider for Sealing {
    fn random(&self, length: u32) -> Bytes {
        vec![7; length as usize].into()
    }

    fn seal(&self, plaintext: Slice<'_, u8>, context: Slice<'_, u8>) -> Outcome<Bytes> {
        let sealed = [context.as_slice(), plaintext.as_slice()].concat();
        Ok(sealed.into()).into()
    }

    fn open(&self, _: Slice<'_, u8>, _: Slice<'_, u8>) -> Outcome<Bytes> {
        Err(Error::panic("never".to_owned())).into()
    }

    fn hmac(&self, _: Str<'_>, _: Slice<'_, u8>) -> Outcome<Bytes> {
        Ok(Bytes::new()).into()
    }

    fn generate_key(
        &self,
        _: Str<'_>,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        std::future::pending()
    }

    fn sign(&self, _: Slice<'_, u8>, _: Slice<'_, u8>) -> Outcome<Bytes> {
        Ok(Bytes::new()).into()
    }

    fn verify(&self, _: Str<'_>, _: Slice<'_, u8>, _: Slice<'_, u8>) -> u32 {
        1
    }

    fn hash_password(
        &self,
        _: Bytes,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        std::future::pending()
    }

    fn verify_password(
        &self,
        _: Bytes,
        _: Bytes,
    ) -> impl Future<Output = Result<u32, Error>> + Send + 'static {
        std::future::pending()
    }

    fn sign_with_secret(&self, _: Str<'_>, _: Str<'_>, _: Slice<'_, u8>) -> Outcome<Bytes> {
        Ok(Bytes::new()).into()
    }
}

#[test]
fn what_is_lent_for_a_call_is_lent_at_the_other_end() {
    let (here, _there) = ends();
    let channels = here.hand(PubSub::new(Arc::new(Channels)));
    assert_eq!(channels.is_on(), 1);
    let names = ["one", "two"].map(Str::from);
    let mut heard = now(channels.subscribe(Slice::new(&names))).expect("it answers");
    let chunk = now(heard.next()).expect("one").expect("no failure");
    assert_eq!(chunk.as_slice(), b"one,two");
    let crypto = here.hand(Crypto::new(Arc::new(Sealing)));
    assert_eq!(crypto.random(3).as_slice(), [7; 3]);
    let sealed = crypto.seal(Slice::new(b"text"), Slice::new(b"row 1 "));
    assert_eq!(
        sealed.into_result().expect("it seals").as_slice(),
        b"row 1 text"
    );
    let opened = crypto
        .open(Slice::default(), Slice::default())
        .into_result();
    assert!(opened.expect_err("it fails").is_panic());
}

struct Head;

impl RequestProvider for Head {
    fn method(&self) -> &'static str {
        "POST"
    }

    fn path(&self) -> &'static str {
        "/notes/7"
    }

    fn query(&self) -> Option<&str> {
        Some("a=b")
    }

    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn header_at(&self, index: usize) -> Option<(&str, &[u8])> {
        [("accept", &b"text/\xff"[..]), ("x-n", b"1")]
            .get(index)
            .copied()
    }

    fn param(&self, index: usize) -> Option<(&str, &str)> {
        [("id", "7")].get(index).copied()
    }

    fn principal(&self) -> Option<Principal<'_>> {
        Some(Principal {
            kind: 1,
            role: 2,
            user_id: [9; 16],
            subject: "somebody".into(),
            ..Principal::default()
        })
    }

    fn peer(&self) -> &'static str {
        "127.0.0.1:1"
    }

    fn request_id(&self) -> &'static str {
        "id"
    }

    fn traceparent(&self) -> &'static str {
        "trace"
    }
}

#[test]
fn a_request_and_its_response_are_the_same_at_the_other_end() {
    let (here, _there) = ends();
    let body = Stream::whole(b"body".to_vec().into());
    let mut request = here.hand(Request::new(Box::new(Head), body));
    let texts = [
        request.method(),
        request.path(),
        request.peer(),
        request.request_id(),
        request.traceparent(),
    ];
    assert_eq!(texts, ["POST", "/notes/7", "127.0.0.1:1", "id", "trace"]);
    assert_eq!(request.query(), Some("a=b"));
    assert_eq!(request.header("accept"), Some(&b"text/\xff"[..]));
    assert_eq!(request.header_at(1), Some(("x-n", &b"1"[..])));
    assert_eq!((request.header_at(2), request.param(1)), (None, None));
    assert_eq!(request.param(0), Some(("id", "7")));
    let principal = request.principal().expect("somebody calls");
    assert_eq!(
        (principal.kind, principal.role, principal.user_id),
        (1, 2, [9; 16])
    );
    assert_eq!(principal.subject.to_option(), Some("somebody"));
    assert_eq!(principal.scopes.to_option(), None);
    let chunk = now(request.take_body().next())
        .expect("one")
        .expect("no failure");
    assert_eq!(chunk.as_slice(), b"body");
    let response = Response::new(418, vec![1, 2], Body::Bytes(b"tea".to_vec().into()));
    let (status, headers, body) = here.hand(response).into_parts();
    assert_eq!((status, headers.as_slice()), (418, &[1, 2][..]));
    assert!(matches!(body, Body::Bytes(bytes) if bytes.as_slice() == b"tea"));
}

#[test]
fn what_is_cut_does_not_read_and_what_nobody_reads_is_given_up() {
    let (here, there) = ends();
    let response = || {
        let body = Body::Stream(Stream::new(stream::pending()));
        Response::new(200, vec![1], body)
    };
    let whole = response().send(Writer::new(&here.link())).seal();
    for length in 0..whole.bytes.len() {
        let cut = Parcel {
            bytes: whole.bytes[..length].to_vec(),
            objects: Vec::new(),
        };
        assert!(there.read(cut).whole::<Response>().is_err(), "{length}");
    }
    assert_eq!(here.kept(), 1);
    drop(there.read(whole));
    assert_eq!(here.kept(), 0, "nobody reads it");
    let more = OptBytes::from(None)
        .send(Writer::new(&here.link()))
        .raw(&[0])
        .seal();
    assert!(
        there.read(more).whole::<OptBytes>().is_err(),
        "there is more"
    );
    let unknown = 5_u64.send(Writer::new(&here.link())).seal();
    assert!(there.read(unknown).object().is_err(), "nobody keeps that");
}
