//! Compression of WebSockets, by clients that speak it byte by byte.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use nself_plugin_testkit::{TestHost, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{fixture, started};

/// A topic in which a message may be long.
const JOIN: &str = "/fixture/fan?topic=news&queue_bytes_max=100000";
const TAIL: [u8; 4] = [0, 0, 255, 255];

struct Client(TcpStream);

impl Client {
    /// What it is answered, and the connection.
    async fn open(host: &TestHost, path: &str) -> (String, Self) {
        let mut stream = TcpStream::connect(host.address())
            .await
            .expect("it listens");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
            host.address()
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it is open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte = within("the handshake", stream.read_u8()).await;
            answer.push(byte.expect("an answer"));
        }
        let answer = String::from_utf8(answer).expect("text").to_lowercase();
        assert!(answer.starts_with("http/1.1 101"), "{answer}");
        (answer, Self(stream))
    }

    /// First byte and payload of the next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let reading = async {
            let first = self.0.read_u8().await?;
            let length = match self.0.read_u8().await? {
                126 => self.0.read_u16().await?.into(),
                127 => self.0.read_u64().await?,
                short => short.into(),
            };
            let mut payload = vec![0; usize::try_from(length).expect("a length")];
            self.0.read_exact(&mut payload).await?;
            Ok::<_, std::io::Error>((first, payload))
        };
        within("a frame", reading).await.expect("it is open")
    }

    /// The next text, which was sent as `first` says.
    async fn text(&mut self, first: u8) -> String {
        let (got, payload) = self.frame().await;
        assert_eq!(got, first, "{payload:?}");
        let payload = if first & 0x40 == 0 {
            payload
        } else {
            let mut text = Vec::with_capacity(1 << 20);
            let packed = [&*payload, &TAIL].concat();
            Decompress::new(false)
                .decompress_vec(&packed, &mut text, FlushDecompress::Sync)
                .expect("deflate");
            text
        };
        String::from_utf8(payload).expect("text")
    }

    /// Sends a message that is compressed, of so many frames.
    async fn send(&mut self, message: &[u8], frames: usize) {
        let mut packed = Vec::with_capacity(message.len() + 1_000);
        Compress::new(Compression::best(), false)
            .compress_vec(message, &mut packed, FlushCompress::Sync)
            .expect("there is room");
        let packed = packed.strip_suffix(&TAIL).expect("the end of a flush");
        let parts: Vec<_> = packed.chunks(packed.len().div_ceil(frames)).collect();
        for (at, part) in parts.iter().enumerate() {
            let first = if at == 0 { 0x42 } else { 0 };
            let last = if at + 1 == parts.len() { 0x80 } else { 0 };
            let length = u64::try_from(part.len()).expect("a length");
            let mut frame = vec![first | last, 0x80 | 127];
            frame.extend(length.to_be_bytes());
            frame.extend([0; 4]); // a mask that changes nothing
            frame.extend_from_slice(part);
            // Who is closed meanwhile need not take it.
            let _ = self.0.write_all(&frame).await;
        }
    }
}

async fn deflating() -> TestHost {
    let config = "[http]\nwebsocket_deflate = true\n";
    fixture().config(config).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_compressed_unless_the_operator_says_so() {
    let host = started().await;
    let (answer, mut client) = Client::open(&host, JOIN).await;
    assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
    assert_eq!(client.text(0x81).await.trim_end(), "joined");
    let publish = host.post("/fixture/fan?topic=news&first=7&count=1&bytes=1000");
    let _ = publish.send().await.expect_status(200);
    assert_eq!(client.text(0x81).await.trim_end(), "7");
    // What it compresses all the same breaks the rules.
    client.send(b"\"what is this\"", 1).await;
    let (first, payload) = client.frame().await;
    assert_eq!((first, &payload[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_is_compressed_for_who_takes_it_so_and_plain_for_the_others() {
    let host = deflating().await;
    let (answer, mut client) = Client::open(&host, JOIN).await;
    let agreed = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
    assert!(answer.contains(agreed), "{answer}");
    assert_eq!(client.text(0x81).await.trim_end(), "joined", "too short");
    let (_, mut second) = Client::open(&host, JOIN).await;
    assert_eq!(second.text(0x81).await.trim_end(), "joined");
    let plain = host.get(JOIN).websocket().await;
    let mut plain = plain.expect("an upgrade");
    let read = futures_util::StreamExt::next(&mut plain);
    let joined = within("the answer", read).await.expect("it is open");
    assert_eq!(
        joined.expect("a message").to_text().expect("text"),
        "joined"
    );

    let publish = host.post("/fixture/fan?topic=news&first=7&count=1&bytes=1000");
    let _ = publish.send().await.expect_status(200);
    for client in [&mut client, &mut second] {
        let text = client.text(0xc1).await;
        assert_eq!((text.trim_end(), text.len()), ("7", 1_000));
    }
    let read = futures_util::StreamExt::next(&mut plain);
    let text = within("the publication", read).await.expect("it is open");
    let text = text.expect("a message").into_text().expect("text");
    assert_eq!((text.trim_end(), text.len()), ("7", 1_000));
    assert!((host.metric("nself_hub_deflated_total").await - 1.0).abs() < 0.5);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_ends_its_own_connection_and_nothing_else() {
    let host = deflating().await;
    let bomb = vec![0; 64 << 20];
    for frames in [1, 7] {
        let (_, mut client) = Client::open(&host, "/fixture/socket").await;
        client.send(&bomb, frames).await;
        let (first, payload) = client.frame().await;
        assert_eq!((first, &payload[..2]), (0x88, &1009_u16.to_be_bytes()[..]));
    }
    let (_, mut client) = Client::open(&host, "/fixture/socket").await;
    client.send(&vec![7; 1 << 20], 3).await;
    let (first, payload) = client.frame().await;
    assert_eq!(first, 0xc2, "an echo as long as a message may be");
    assert!(payload.len() < 10_000);
    host.stop().await;
}
