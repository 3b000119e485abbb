//! A web server on loopback that hands out files, or only parts of them.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// What an address is answered with.
#[derive(Clone)]
pub(super) enum Answer {
    /// All of it.
    Whole(Vec<u8>),
    /// Half of what the head announces, then nothing more.
    Cut(Vec<u8>),
    /// Somewhere else.
    Redirect(String),
    /// Nothing but a status.
    Status(u16),
    /// Bytes without end.
    Endless,
}

type Files = Arc<Mutex<HashMap<String, Answer>>>;

/// A running server; it ends with this.
pub(super) struct Web {
    pub(super) address: SocketAddr,
    files: Files,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (files, ended) = (Files::default(), Arc::new(AtomicBool::new(false)));
        let (served, over) = (Arc::clone(&files), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever went away has its own test.
                let _ = stream.and_then(|stream| answer(stream, &served));
            }
        });
        Self {
            address,
            files,
            ended,
            thread: Some(thread),
        }
    }

    pub(super) fn put(&self, path: &str, answer: Answer) {
        self.files.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(mut stream: TcpStream, files: &Files) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = files.lock().unwrap().get(&path).cloned();
    let head = |status: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n")
    };
    match answer.unwrap_or(Answer::Status(404)) {
        Answer::Whole(bytes) => {
            write!(stream, "{}\r\n", head("200 OK", bytes.len()))?;
            stream.write_all(&bytes)
        }
        Answer::Cut(bytes) => {
            write!(stream, "{}\r\n", head("200 OK", bytes.len()))?;
            stream.write_all(&bytes[..bytes.len() / 2])
        }
        Answer::Redirect(to) => {
            let head = head("302 Found", 0);
            write!(stream, "{head}location: {to}\r\n\r\n")
        }
        Answer::Status(status) => write!(stream, "{}\r\n", head(&format!("{status} No"), 0)),
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            let block = vec![b' '; 1024 * 1024];
            loop {
                // Until the other side has had enough.
                stream.write_all(&block)?;
            }
        }
    }
}
