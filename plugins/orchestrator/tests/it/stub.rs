//! A server for what workflows ask for: it answers as it is told to, and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    head: String,
    pub body: String,
}

impl Asked {
    /// A header's value; empty when there is none.
    pub(crate) fn header(&self, wanted: &str) -> &str {
        header(&self.head, wanted).unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Method and path.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// An answer: its status, more headers (each with its line's end), its content type and body.
pub(crate) struct Reply {
    pub status: u16,
    pub headers: String,
    pub kind: &'static str,
    pub body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: String::new(),
            kind: "application/json",
            body: body.to_string().into_bytes(),
        }
    }
}

type Answer = dyn Fn(&Asked, SocketAddr) -> Reply + Send + Sync;

/// The server; it ends with the test's runtime.
pub(crate) struct Stub {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers each request by what it is, and by the address that it came to.
    pub(crate) async fn open(
        answer: impl Fn(&Asked, SocketAddr) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer): (_, Arc<Answer>) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(
                    stream,
                    address,
                    Arc::clone(&kept),
                    Arc::clone(&answer),
                ));
            }
        });
        Self { address, asked }
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics").clone()
    }

    /// What lets a host's workflows reach it.
    pub(crate) fn egress(&self) -> String {
        format!("[plugins.orchestrator]\negress = [\"{}\"]\n", self.address)
    }
}

async fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    kept: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Answer>,
) {
    let Some(asked) = read(&mut stream).await else {
        return;
    };
    let reply = answer(&asked, address);
    // Before it is answered: who has the answer may look.
    kept.lock().expect("nobody panics").push(asked);
    let head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: {}\r\n{}content-length: {}\r\nconnection: close\r\n\r\n",
        reply.status,
        reply.kind,
        reply.headers,
        reply.body.len()
    );
    let all = [head.into_bytes(), reply.body].concat();
    drop(stream.write_all(&all).await);
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let length = stream.read(&mut chunk).await.ok().filter(|one| *one > 0)?;
        read.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = header(head, "content-length").and_then(|length| length.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let mut words = head.split(' ').map(str::to_owned);
        return Some(Asked {
            method: words.next()?,
            path: words.next()?,
            head: head.to_owned(),
            body: body.to_owned(),
        });
    }
}

fn header<'h>(head: &'h str, wanted: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(wanted).then_some(value)
    })
}
