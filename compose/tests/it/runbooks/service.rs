//! A service that the host speaks to, and that can be away or say no.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
};

/// It answers every request with the same status.
pub(super) struct Service {
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Service {
    /// One that listens there from now on, and answers so.
    pub(super) fn start(port: u16, status: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let service = Self {
            status: Arc::new(AtomicU16::new(status)),
            asked: Arc::default(),
        };
        let (status, asked) = (Arc::clone(&service.status), Arc::clone(&service.asked));
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A caller that goes away in the middle is no fault.
                let served = stream.and_then(|stream| serve(stream, &status));
                asked.fetch_add(usize::from(served.is_ok()), Ordering::Relaxed);
            }
        });
        service
    }

    /// Answers so from now on.
    pub(super) fn says(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Requests that it has answered.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Answers the one request of a connection.
fn serve(stream: TcpStream, status: &AtomicU16) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        let header = line.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length])?;
    let status = status.load(Ordering::Relaxed);
    let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes())
}
