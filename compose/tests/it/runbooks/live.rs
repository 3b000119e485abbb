//! One who subscribes and does not read, and is cut off.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use nself_compose::shell::eventually;
use serde_json::{Value, json};

use super::page::{Page, when};
use crate::household::Household;

const CHANNEL: &str = "public:news";

pub(super) fn drill(page: &mut Page) {
    let household = Household::start(&["stream"], "");
    let token = household.run(&["token", "--role", "owner"]).good("a token");
    let mut sleeper = Socket::open(&household, token.trim());
    let begun = sleeper.subscribes(&json!({"channel": CHANNEL}));
    let text = "x".repeat(50_000);
    let mut published = 0;
    eventually("it is cut off", || {
        for _ in 0..20 {
            published += 1;
            let body = json!({"channel": CHANNEL, "data": {"number": published, "text": text}});
            let told = household.posts("/api/publish", &household.operator(), &body);
            assert_eq!(told.status, 200, "{told:?}");
        }
        let slow = household.metric("nself_hub_slow_total").unwrap_or_default();
        when(slow > 0.0, format!("{published} were published"))
    });

    let shown = page.types(
        &household,
        "curl -s localhost:3000/metrics | grep nself_hub_",
        &[],
    );
    let shown = shown.good("what the hub counts");
    for name in [
        "nself_hub_topics ",
        "nself_hub_frames ",
        "nself_hub_slow_total 1",
    ] {
        assert!(
            shown.lines().any(|line| line.starts_with(name)),
            "no {name} in {shown}"
        );
    }
    assert!(sleeper.ends(), "its connection is closed");
    let mut again = Socket::open(&household, token.trim());
    let from = &begun["subscribe"];
    let missed = again.subscribes(&json!({
        "channel": CHANNEL, "recover": true, "epoch": from["epoch"], "offset": published - 1,
    }));
    let missed = &missed["subscribe"];
    assert_eq!(missed["recovered"], true, "{missed}");
    assert_eq!(missed["publications"][0]["data"]["number"], published);
}

/// A WebSocket, as few words of it as there can be.
struct Socket {
    stream: TcpStream,
    next: u32,
}

impl Socket {
    /// One that has said whose it is.
    fn open(household: &Household, token: &str) -> Self {
        let (_, address) = household.url.split_once("://").expect("a URL");
        let mut stream = TcpStream::connect(address).expect("the host listens");
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).expect("a socket waits");
        let request = format!(
            "GET /connection/websocket HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it is open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.extend(byte);
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        let mut socket = Self { stream, next: 1 };
        let connected = socket.asks("connect", &json!({"token": token}));
        assert!(connected["connect"]["client"].is_string(), "{connected}");
        socket
    }

    fn subscribes(&mut self, request: &Value) -> Value {
        let answer = self.asks("subscribe", request);
        assert!(answer["subscribe"].is_object(), "{answer}");
        answer
    }

    /// Sends a command, and reads until its answer.
    fn asks(&mut self, method: &str, request: &Value) -> Value {
        let id = self.next;
        self.next += 1;
        let text = json!({"id": id, method: request}).to_string();
        let length = u16::try_from(text.len()).expect("it is short");
        // A whole text whose mask is zeros.
        let head = [&[0x81, 0x80 | 0x7e][..], &length.to_be_bytes(), &[0; 4]].concat();
        let sent = self.stream.write_all(&[&head, text.as_bytes()].concat());
        sent.expect("it is open");
        loop {
            let frame = self.frame().expect("it goes on");
            let mut lines = frame.lines().filter_map(|line| line.parse::<Value>().ok());
            if let Some(answer) = lines.find(|line| line["id"] == id) {
                return answer;
            }
        }
    }

    fn frame(&mut self) -> std::io::Result<String> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut length = u64::from(head[1]);
        let wide = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if wide > 0 {
            let mut bytes = [0; 8];
            self.stream.read_exact(&mut bytes[8 - wide..])?;
            length = u64::from_be_bytes(bytes);
        }
        let mut text = vec![0; usize::try_from(length).expect("it fits")];
        self.stream.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether the host has closed it, once everything is read that was still under way.
    fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is an end, too; only silence is none.
        let ended = self.stream.read_to_end(&mut rest);
        !ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}
