//! A request through both sides of the boundary in one process, without a host: what the boundary itself costs.
//!
//! ```sh
//! cargo build --release -p nself-plugin-api --example one_request
//! valgrind --tool=callgrind target/release/examples/one_request 2000 echo  # instructions, whatever else the machine does
//! ```
//!
//! A run with 0 says what the start costs. `echo` sends 1 KiB there and back, `json` asks for a small document.
#![expect(
    clippy::unwrap_used,
    reason = "a program for looking says what it expects by failing"
)]

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as Polling, Poll, Waker},
};

use nself_plugin_api::{
    abi::{
        self,
        bytes::Str,
        entry::{Host, HostProvider, RawHandle},
        instance::Instance,
        request::{Principal, RequestProvider},
        response::{self, read_headers},
    },
    bytes::Bytes,
    extract::{Extract, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    prelude::{
        About, Body, Context, Cx, Data, NoConfig, Plugin, Response, Result, Route, Schema, about,
    },
    runtime,
};
use serde::Serialize;

static BODY: [u8; 1024] = [b'x'; 1024];

/// The routes by their numbers in the manifest.
const ECHO: u32 = 0;
const NOTE: u32 = 1;

struct Echo;

impl Plugin for Echo {
    const ABOUT: About = about!("echo");
    const ROUTES: &'static [Route<Self>] = &[
        Route::post("/echo", echo).public(),
        Route::get("/note", note).public(),
    ];

    type Config = NoConfig;

    async fn create(_: Context, _: NoConfig) -> Result<Self> {
        Ok(Self)
    }
}

struct Mark(HeaderValue);

impl Extract for Mark {
    async fn extract(request: &mut Request) -> Result<Self> {
        let text = request.header("x-mark");
        Ok(Self(HeaderValue::from_str(text.unwrap()).unwrap()))
    }
}

async fn echo(_: Cx<Echo>, Mark(mark): Mark, Body(bytes): Body) -> Result<Response> {
    let response = Response::new(StatusCode::OK, bytes).content_type("application/octet-stream");
    Ok(response.header(HeaderName::from_static("x-mark"), mark))
}

#[derive(Serialize, Schema)]
struct Note {
    id: u64,
    text: &'static str,
}

async fn note(_: Cx<Echo>) -> Result<Data<Note>> {
    let text = "The quick brown fox jumps over the lazy dog";
    Ok(Data(Note { id: 7, text }))
}

/// A host that offers nothing.
struct Nothing;

impl HostProvider for Nothing {
    fn capability(&self, _: Str<'_>) -> RawHandle {
        RawHandle::default()
    }
}

struct Head;

impl RequestProvider for Head {
    fn method(&self) -> &'static str {
        "POST"
    }
    fn path(&self) -> &'static str {
        "/echo"
    }
    fn query(&self) -> Option<&str> {
        None
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        (name == "x-mark").then_some(b"0123456789abcdef")
    }
    fn header_at(&self, _: usize) -> Option<(&str, &[u8])> {
        None
    }
    fn param(&self, _: usize) -> Option<(&str, &str)> {
        None
    }
    fn principal(&self) -> Option<Principal<'_>> {
        None
    }
    fn peer(&self) -> &'static str {
        "127.0.0.1"
    }
    fn request_id(&self) -> &'static str {
        "0"
    }
    fn traceparent(&self) -> &'static str {
        ""
    }
}

/// As the host does it: the request as a view, the answer as a whole.
fn answered(instance: &Instance, route: u32) -> usize {
    let body = if route == ECHO {
        abi::stream::Stream::whole(Bytes::from_static(&BODY))
    } else {
        abi::stream::Stream::empty()
    };
    let request = abi::request::Request::new(Box::new(Head), body);
    let answer = at_once(instance.handle(route, request)).unwrap();
    let (_, block, body) = answer.into_parts();
    let mut map = HeaderMap::new();
    read_headers(block, &mut map).unwrap();
    let response::Body::Bytes(bytes) = body else {
        panic!("both answers are bytes");
    };
    map.len() + Bytes::from(bytes).len()
}

fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Polling::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let requests = arguments[1].parse().unwrap();
    let route = if arguments[2] == "json" { NOTE } else { ECHO };
    let host = Host::new(Arc::new(Nothing));
    let instance = at_once(runtime::create::<Echo>(host, "{}".into())).unwrap();
    let bytes: usize = (0..requests).map(|_| answered(&instance, route)).sum();
    println!("{requests} requests, {bytes} bytes and headers");
}
