//! WebSocket clients that say nothing: seen from a client that does no more than it is told.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::plugin_file::bad;
use super::project::{Host, PATIENCE, Project};

const PING: Duration = Duration::from_millis(400);

/// Opcodes of RFC 6455, section 11.8.
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING_FRAME: u8 = 9;
const PONG: u8 = 10;

/// A WebSocket of which every byte is written by hand: nothing answers a ping by itself.
struct Raw(TcpStream);

impl Raw {
    async fn open(host: &Host) -> Self {
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        let request = "GET /bad/socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        Self(stream)
    }

    /// Sends a short frame, masked with zeros.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Opcode and payload of the next frame.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let frame = async {
            let first = self.0.read_u8().await.unwrap();
            let mut payload = vec![0; self.0.read_u8().await.unwrap().into()];
            self.0.read_exact(&mut payload).await.unwrap();
            (first & 0x0f, payload)
        };
        timeout(PATIENCE, frame).await.expect("a frame")
    }

    /// Whether the host has ended the connection.
    async fn is_closed(&mut self) -> bool {
        let end = timeout(PATIENCE, self.0.read(&mut [0])).await;
        matches!(end, Ok(Ok(0) | Err(_)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_asked_and_dropped_when_it_does_not_answer() {
    let settings = format!("[http]\nwebsocket_ping_ms = {}\n", PING.as_millis());
    let project = Project::served("").await;
    project.enable("bad", &bad("1.0.0"));
    let shared = std::fs::read_to_string(project.path().join("nself.toml")).unwrap();
    let text = shared.replacen("[http]\n", &settings, 1);
    std::fs::write(project.path().join("nself.toml"), text).unwrap();
    let host = project.start();

    let opened = Instant::now();
    let mut socket = Raw::open(&host).await;
    assert_eq!(socket.receive().await, (TEXT, b"1.0.0".to_vec()));
    assert_eq!(socket.receive().await.0, PING_FRAME);
    assert!(opened.elapsed() >= PING, "asked after the silence");

    // Who answers stays, and is asked again after the next silence.
    socket.send(PONG, b"").await;
    let answered = Instant::now();
    assert_eq!(socket.receive().await.0, PING_FRAME);
    assert!(answered.elapsed() >= PING);
    socket.send(TEXT, b"here").await;
    assert_eq!(socket.receive().await, (TEXT, b"here".to_vec()));

    assert_eq!(socket.receive().await.0, PING_FRAME);
    let asked = Instant::now();
    assert_eq!(socket.receive().await.0, CLOSE, "no answer");
    assert!(asked.elapsed() >= PING / 2, "it had time to answer");
    assert!(socket.is_closed().await);
    let failures = host.logged(&["socket failed"]);
    assert_eq!(failures, 0, "a client that is gone is no failure");
}
