//! Clients that do no more than count the bytes that they are sent: all frames have the same length.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::MESSAGE_BYTES;
use crate::{Failure, Result};

/// Bytes of a frame from the server: two of its header, two that say the length.
pub(super) const FRAME_BYTES: usize = 4 + MESSAGE_BYTES;
/// Longest wait for messages that are on their way.
const LIMIT: Duration = Duration::from_secs(60);

/// What all of them have heard, and are to hear.
#[derive(Default)]
struct Heard {
    bytes: AtomicUsize,
    wanted: AtomicUsize,
    bell: Notify,
}

/// Clients of one server. The first of them speaks.
pub(super) struct Audience {
    writing: Vec<OwnedWriteHalf>,
    heard: Arc<Heard>,
    _listeners: JoinSet<()>,
}

impl Audience {
    /// Connects them one by one: a crowd of handshakes is not what is measured.
    pub(super) async fn open(address: SocketAddr, path: &str, size: usize) -> Result<Self> {
        let heard = Arc::<Heard>::default();
        let mut listeners = JoinSet::new();
        let mut writing = Vec::with_capacity(size);
        for _ in 0..size {
            let (reading, half) = shake_hands(address, path).await?.into_split();
            writing.push(half);
            listeners.spawn(listen(reading, Arc::clone(&heard)));
        }
        Ok(Self {
            writing,
            heard,
            _listeners: listeners,
        })
    }

    /// So many messages at once, and until all have heard all of them.
    pub(super) async fn hear(&mut self, messages: usize) -> Result<()> {
        let deliveries = messages * self.writing.len();
        let wanted = &self.heard.wanted;
        wanted.fetch_add(deliveries * FRAME_BYTES, Ordering::SeqCst);
        let speaker = self.writing.first_mut();
        let speaker = speaker.ok_or_else(|| Failure::from("nobody speaks"))?;
        speaker.write_all(&message().repeat(messages)).await?;
        let all = async {
            while self.heard.bytes.load(Ordering::SeqCst) < wanted.load(Ordering::SeqCst) {
                self.heard.bell.notified().await;
            }
        };
        let heard = timeout(LIMIT, all).await;
        heard.map_err(|_| {
            let bytes = self.heard.bytes.load(Ordering::SeqCst);
            let wanted = wanted.load(Ordering::SeqCst);
            Failure::from(format!("{bytes} bytes of {wanted} were delivered"))
        })
    }
}

/// A binary message, masked with zeros.
fn message() -> Vec<u8> {
    let length = u8::try_from(MESSAGE_BYTES).expect("a short message");
    let mut message = vec![0x82, 0xfe, 0, length, 0, 0, 0, 0];
    message.extend([b'x'; MESSAGE_BYTES]);
    message
}

async fn shake_hands(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Err(Failure::from(format!("no upgrade: {head}")))
}

async fn listen(mut reading: OwnedReadHalf, heard: Arc<Heard>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(amount @ 1..) = reading.read(&mut buffer).await {
        let bytes = heard.bytes.fetch_add(amount, Ordering::SeqCst) + amount;
        if bytes >= heard.wanted.load(Ordering::SeqCst) {
            heard.bell.notify_one();
        }
    }
}
