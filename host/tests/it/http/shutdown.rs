//! Ends that nobody notices: shutdowns, swaps and drains under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use nself::http::{Admitted, Body, Generation};
use nself::plugin::manifest::Route;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::fixture::{
    Host, PATIENCE, Setup, answered, client, generation, hello, read_to_end, request, route, said,
    send,
};

/// A handler that waits for leave.
fn gated(
    entered: &Arc<Semaphore>,
    leave: &Arc<Semaphore>,
) -> impl Fn(Admitted) -> futures_util::future::BoxFuture<'static, Response<Body>>
+ Send
+ Sync
+ 'static
+ use<> {
    let signals = (Arc::clone(entered), Arc::clone(leave));
    move |_| {
        let (entered, leave) = signals.clone();
        Box::pin(async move {
            entered.add_permits(1);
            let _ = leave.acquire().await;
            said("done")
        })
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_the_request_in_flight_and_closes_the_door_at_once() {
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let host = Arc::new(
        Setup::new(vec![answered(
            &generation("notes"),
            route("GET", "/slow"),
            gated(&entered, &leave),
        )])
        .start()
        .await,
    );
    let slow = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.get("/slow").await }
    });
    let _ = entered.acquire().await.unwrap();
    let server = Arc::clone(&host.server);
    let shutdown = tokio::spawn(async move { server.shutdown(PATIENCE).await });
    while TcpStream::connect(host.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!shutdown.is_finished());
    leave.add_permits(1);
    let answer = slow.await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(shutdown.await.unwrap(), "nothing was cut off");
}

#[tokio::test]
async fn a_deadline_ends_what_does_not_end_by_itself_and_so_does_an_abort() {
    for abort in [false, true] {
        let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let host = Setup::new(vec![answered(
            &generation("notes"),
            route("GET", "/slow"),
            gated(&entered, &leave),
        )])
        .start()
        .await;
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        stream
            .write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let _ = entered.acquire().await.unwrap();
        let started = Instant::now();
        let deadline = if abort {
            PATIENCE
        } else {
            Duration::from_millis(100)
        };
        let server = Arc::clone(&host.server);
        let shutdown = tokio::spawn(async move { server.shutdown(deadline).await });
        if abort {
            host.server.abort();
        }
        assert_eq!(read_to_end(&mut stream).await, "");
        assert!(
            !shutdown.await.unwrap(),
            "it says that something was cut off"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

/// Asks on one connection until told that the answer was the last one.
async fn ask_until_told(host: &Host, done: &AtomicUsize) {
    let client = client(false);
    loop {
        let answer = send(&client, host.address, request(Method::GET, "/notes")).await;
        assert_eq!(answer.status, 200);
        done.fetch_add(1, Ordering::Relaxed);
        if answer.header("connection") == "close" {
            return;
        }
    }
}

/// Asks over HTTP/2, where being told is the protocol's matter, until nobody listens any more. A request that
/// GOAWAY has overtaken was not taken (RFC 9113 6.8): it is asked again.
async fn ask_until_gone(host: &Host, done: &AtomicUsize) {
    let client = client(true);
    let uri = format!("http://{}/notes", host.address);
    loop {
        match client.get(uri.parse().unwrap()).await {
            Ok(response) => {
                let body = response.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "hello");
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.is_connect() => return,
            Err(error) => assert!(format!("{error:?}").contains("NO_ERROR"), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_answers_every_request_that_it_has_taken() {
    let (taken, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&taken);
    let counted = move |request| {
        counter.fetch_add(1, Ordering::Relaxed);
        hello(request)
    };
    let mut setup = Setup::new(vec![answered(
        &generation("notes"),
        route("GET", "/notes"),
        counted,
    )]);
    setup.settings.limits.rate_per_minute = 0;
    let host = Arc::new(setup.start().await);
    let callers = (0..16).map(|number| {
        let (host, done) = (Arc::clone(&host), Arc::clone(&done));
        tokio::spawn(async move {
            if number % 4 == 0 {
                ask_until_gone(&host, &done).await;
            } else {
                ask_until_told(&host, &done).await;
            }
        })
    });
    let callers = callers.collect::<Vec<_>>();
    while done.load(Ordering::Relaxed) < 500 {
        tokio::task::yield_now().await;
    }
    assert!(host.server.shutdown(PATIENCE).await);
    for caller in callers {
        caller.await.expect("every answer was a whole one");
    }
    assert_eq!(taken.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
}

fn version(name: &'static str) -> (Arc<Generation>, nself::http::NewRoute) {
    let generation = generation("notes");
    let answer = move |_: Admitted| async move {
        tokio::task::yield_now().await;
        said(name)
    };
    let new = answered(&generation, route("GET", "/notes"), answer);
    (generation, new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_swaps_under_load_fail_no_request_and_each_old_generation_empties() {
    let (mut old, first) = version("v0");
    let mut setup = Setup::new(vec![first]);
    setup.settings.limits.rate_per_minute = 0;
    let host = Arc::new(setup.start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let callers = [false, false, true].map(|http2| {
        let (host, stop, client) = (Arc::clone(&host), Arc::clone(&stop), client(http2));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(
                    send(&client, host.address, request(Method::GET, "/notes"))
                        .await
                        .status,
                    200
                );
            }
        })
    });
    for _ in 0..200 {
        let (new, route) = version("vn");
        host.swap(vec![route]);
        old.drain();
        tokio::time::timeout(PATIENCE, old.drained())
            .await
            .expect("the old generation empties");
        old = new;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("every request was answered");
    }
}

/// Swaps from threads of their own, without a pause, so that a request which is held up between its look at the
/// table and the plugin's door finds the next generation on its way out, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_without_a_pause_refuse_nobody_however_many_overtake_one_request() {
    let (mut old, first) = version("v0");
    let mut setup = Setup::new(vec![first]);
    setup.settings.limits.rate_per_minute = 0;
    let host = Arc::new(setup.start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (host, stop) = (Arc::clone(&host), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let (new, route) = version("vn");
                host.swap(vec![route]);
                old.drain();
                old = new;
            }
        })
    };
    let callers = [false, false, true, true].map(|http2| {
        let (host, client) = (Arc::clone(&host), client(http2));
        tokio::spawn(async move {
            for _ in 0..2_000 {
                let answer = send(&client, host.address, request(Method::GET, "/notes")).await;
                assert_eq!(answer.status, 200);
            }
        })
    });
    for caller in callers {
        caller.await.expect("every request was answered");
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().expect("the swapper ends");
}

#[tokio::test]
async fn a_draining_plugin_without_successor_is_503() {
    let notes = generation("notes");
    let host = Setup::new(vec![answered(&notes, route("GET", "/notes"), hello)])
        .start()
        .await;
    notes.drain();
    let answer = host.get("/notes").await;
    assert_eq!(
        (answer.status, &*answer.code(), answer.header("retry-after")),
        (503, "PLUGIN_STOPPING", "1")
    );
    assert_eq!(host.get("/livez").await.status, 200);
}

/// Events from a channel, for as long as it lives.
fn events(receiver: mpsc::Receiver<Bytes>) -> Response<Body> {
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        let data = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(Frame::data(data)), receiver))
    });
    let mut response = Response::new(Body::stream(StreamBody::new(stream)));
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("text/event-stream"),
    );
    response
}

#[tokio::test]
async fn an_event_stream_holds_its_generation_and_ends_whole_when_that_drains() {
    let notes = generation("notes");
    let (sender, receiver) = mpsc::channel(4);
    let receiver = std::sync::Mutex::new(Some(receiver));
    let handler = move |_: Admitted| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async move { events(receiver) }
    };
    let sse = Route {
        kind: "sse".to_owned(),
        ..route("GET", "/events")
    };
    let host = Setup::new(vec![answered(&notes, sse, handler)])
        .start()
        .await;
    let mut request = request(Method::GET, "/events");
    *request.uri_mut() = format!("http://{}/events", host.address).parse().unwrap();
    request
        .headers_mut()
        .insert("accept-encoding", http::HeaderValue::from_static("gzip"));
    let response = client(false).request(request).await.unwrap();
    assert!(
        !response.headers().contains_key("content-encoding"),
        "a compressor would hold events back"
    );
    let mut body = response.into_body();
    sender
        .send(Bytes::from_static(b"data: 1\n\n"))
        .await
        .unwrap();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "data: 1\n\n"
    );
    assert!(notes.in_flight() > 0);
    notes.drain();
    assert!(
        body.frame().await.is_none(),
        "the stream ends, it does not break"
    );
    tokio::time::timeout(PATIENCE, notes.drained())
        .await
        .expect("nothing holds the generation any more");
}

#[tokio::test]
async fn a_socket_holds_its_generation_until_it_is_closed() {
    let notes = generation("notes");
    let handler = |request: Admitted| async move {
        let (upgrade, in_flight) = (request.upgrade.unwrap(), request.in_flight);
        tokio::spawn(async move {
            let io = upgrade.await.unwrap();
            let mut io = hyper_util::rt::TokioIo::new(io);
            io.write_all(b"welcome").await.unwrap();
            in_flight.ending().await;
            io.write_all(b" bye").await.unwrap();
            io.shutdown().await.unwrap();
        });
        let response = Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        response.body(Body::empty()).unwrap()
    };
    let socket = Route {
        kind: "websocket".to_owned(),
        ..route("GET", "/socket")
    };
    let host = Setup::new(vec![answered(&notes, socket, handler)])
        .start()
        .await;
    assert_eq!(
        host.get("/socket").await.status,
        426,
        "without an upgrade there is nothing to open"
    );

    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream
        .write_all(
            b"GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await
        .unwrap();
    let mut answer = String::new();
    while !answer.ends_with("welcome") {
        let mut piece = [0; 512];
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "{answer}");
        answer.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && notes.in_flight() == 1,
        "{answer}"
    );
    notes.drain();
    assert_eq!(read_to_end(&mut stream).await, " bye");
    tokio::time::timeout(PATIENCE, notes.drained())
        .await
        .expect("the closed socket lets go");
}

#[tokio::test]
async fn a_caller_that_hangs_up_stops_its_handler() {
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let notes = generation("notes");
    let host = Setup::new(vec![answered(
        &notes,
        route("GET", "/slow"),
        gated(&entered, &leave),
    )])
    .start()
    .await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let _ = entered.acquire().await.unwrap();
    drop(stream);
    tokio::time::timeout(PATIENCE, notes.drained())
        .await
        .expect("the handler is dropped with its caller");
}

#[tokio::test]
async fn a_plugins_port_closes_without_the_others() {
    let host = Setup::new(vec![answered(
        &generation("notes"),
        route("GET", "/notes"),
        hello,
    )])
    .start()
    .await;
    let address = host
        .server
        .listen(
            Some("notes".into()),
            ([127, 0, 0, 1], 0).into(),
            "plugins.notes.port",
        )
        .await
        .unwrap();
    assert_eq!(host.server.addresses().len(), 2);
    assert!(host.server.remove("notes", PATIENCE).await);
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(
        (
            host.server.addresses().len(),
            host.get("/notes").await.status
        ),
        (1, 200)
    );
}
