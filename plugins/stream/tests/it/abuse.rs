//! Clients that break the rules: each is told which, by the code that it is closed with, and nobody else notices.

use std::ops::RangeInclusive;

use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};
use nself_plugin_testkit::{TestHost, within};

use crate::stage::{Client, host};

/// A mebibyte: longer messages are not taken.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
/// The last, or only, fragment of a message.
const FIN: u8 = 0x80;

/// A client's frame: the first byte is what the test says, the mask is zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut frame = vec![first];
    match payload.len() {
        bytes @ ..=125 => frame.push(MASKED | u8::try_from(bytes).expect("it is small")),
        bytes @ ..=0xffff => {
            frame.push(MASKED | 0x7e);
            frame.extend(u16::try_from(bytes).expect("it is small").to_be_bytes());
        }
        bytes => {
            frame.push(MASKED | 0x7f);
            frame.extend((bytes as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// One after the other.
fn frames(each: &[(u8, &[u8])]) -> Vec<u8> {
    let frames = each
        .iter()
        .flat_map(|(first, payload)| frame(*first, payload));
    frames.collect()
}

async fn connected(host: &TestHost) -> Client {
    Client::connect(host.address(), &host.token(Role::Owner, Uuid::now_v7())).await
}

#[tokio::test]
async fn who_breaks_the_rules_of_framing_is_told_how_and_others_do_not_notice() {
    let host = host().await;
    let mut good = connected(&host).await;
    let half = vec![b' '; MESSAGE_BYTES_MAX / 2];
    let mut endless = vec![FIN | TEXT, 0xff, 0x7f];
    endless.extend([0xff; 7]);
    endless.extend([0; 4]);
    for (what, sent, code) in [
        ("no mask", vec![FIN | TEXT, 2, b'{', b'}'], 1002),
        ("a reserved bit", frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        ("a reserved opcode", frame(FIN | 0x3, b"{}"), 1002),
        ("a ping in fragments", frame(PING, b""), 1002),
        ("a long ping", frame(FIN | PING, &[0; 126]), 1002),
        ("the end of nothing", frame(FIN, b"{}"), 1002),
        (
            "a text in a text",
            frames(&[(TEXT, b"{"), (FIN | TEXT, b"}")]),
            1002,
        ),
        ("no UTF-8", frame(FIN | TEXT, b"\xff"), 1007),
        (
            "no UTF-8 over two fragments",
            frames(&[(TEXT, b"\xe2"), (FIN, b"\x28\xa1")]),
            1007,
        ),
        (
            "a long message",
            frame(FIN | TEXT, &vec![b' '; MESSAGE_BYTES_MAX + 1]),
            1009,
        ),
        (
            "the same in fragments",
            frames(&[(TEXT, &half), (0, &half), (FIN, b" ")]),
            1009,
        ),
        ("a length of exabytes", endless, 1009),
        ("half a code", frame(FIN | CLOSE, &[3]), 1002),
        (
            "a code that nobody may send",
            frame(FIN | CLOSE, &1006_u16.to_be_bytes()),
            1002,
        ),
        (
            "bytes that are no text",
            frame(FIN | BINARY, b"\xff\xfe"),
            3501,
        ),
    ] {
        let mut client = connected(&host).await;
        client.raw(&sent).await;
        assert_eq!(client.end().await.0, code, "{what}");
        let answer = good.ask("ping", json!({})).await;
        assert!(answer["ping"].is_object(), "{what}: {answer}");
    }
    assert_eq!(host.panics("stream").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_message_in_fragments_of_a_byte_is_a_message() {
    let host = host().await;
    let mut client = connected(&host).await;
    let command = json!({"id": 7, "ping": {}}).to_string();
    let command = format!("{command:65535}");
    let (last, first) = command.as_bytes().split_last().expect("it has bytes");
    let mut sent = frame(TEXT, &[]);
    for byte in first {
        sent.extend(frame(0, &[*byte]));
    }
    sent.extend(frame(FIN, &[*last]));
    client.raw(&sent).await;
    assert!(client.answer(7).await["ping"].is_object());
    host.stop().await;
}

#[tokio::test]
async fn ten_thousand_commands_in_a_frame_are_answered_one_by_one() {
    const IDS: RangeInclusive<u32> = 2..=10_001;
    let host = host().await;
    let mut client = connected(&host).await;
    let said: Vec<_> = IDS
        .map(|id| json!({"id": id, "rpc": {"method": "nothing"}}).to_string())
        .collect();
    client.say(&said.join("\n")).await;
    for id in IDS {
        // That there is no such thing, or that it asks too much.
        let code = client.answer(id).await["error"]["code"].clone();
        assert!(code == 104 || code == 111, "{id}: {code}");
    }
    host.stop().await;
}

#[tokio::test]
async fn who_pings_and_does_not_read_is_sent_away() {
    let host = host().await;
    let mut good = connected(&host).await;
    let mut flood = connected(&host).await;
    let pings: Vec<u8> = frame(FIN | PING, &[0; 125]).repeat(1_000);
    within("the end of the flood", async {
        while flood.try_raw(&pings).await {}
    })
    .await;
    assert!(good.ask("ping", json!({})).await["ping"].is_object());
    host.stop().await;
}
