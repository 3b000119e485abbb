//! Bodies in both directions, events and sockets, with real clients.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::BodyExt;
use nself_plugin_testkit::{ServerEvent, eventually, within};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::started;

#[tokio::test]
async fn a_body_comes_back_chunk_by_chunk_while_it_is_still_being_sent() {
    let host = started().await;
    let (send, chunks) = mpsc::unbounded_channel::<Bytes>();
    let chunks = stream::unfold(chunks, async |mut chunks| {
        Some((chunks.recv().await?, chunks))
    });
    let asked = host.post("/fixture/echo").stream(Box::pin(chunks));
    send.send(Bytes::from_static(b"one"))
        .expect("the body is open");
    let mut answer = asked.open().await.into_body();
    for (heard, said) in [
        ("one", Some("two")),
        ("two", Some("three")),
        ("three", None),
    ] {
        let frame = within("an echo", answer.frame())
            .await
            .expect("more comes")
            .expect("it comes whole");
        assert_eq!(frame.into_data().expect("data"), heard);
        if let Some(said) = said {
            send.send(Bytes::from(said)).expect("the body is open");
        }
    }
    drop(send);
    assert!(within("the end", answer.frame()).await.is_none());
    host.stop().await;
}

#[tokio::test]
async fn large_bodies_pass_whole_in_both_directions() {
    let host = started().await;
    let large = Bytes::from(vec![7; 8 << 20]);
    let answer = host
        .post("/fixture/echo")
        .body(large.clone())
        .send()
        .await
        .expect_status(200);
    assert_eq!(answer.body, large);
    let answer = host
        .get("/fixture/chunks?count=100")
        .send()
        .await
        .expect_status(200);
    assert_eq!(answer.body.len(), 100 * 64 * 1024);
    host.stop().await;
}

#[tokio::test]
async fn a_body_over_the_routes_limit_is_413_and_the_plugin_goes_on() {
    let host = started().await;
    let chunks = stream::iter((0..32).map(|_| Bytes::from(vec![0; 64 * 1024])));
    let answer = host.post("/fixture/length").stream(chunks).send().await;
    assert_eq!((answer.status, &*answer.code()), (413, "BODY_TOO_LARGE"));
    let answer = host.post("/fixture/length").body("four").send().await;
    assert_eq!(answer.data(), 4);
    host.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_as_broken_and_not_as_short() {
    let host = started().await;
    let mut body = host.get("/fixture/broken").open().await.into_body();
    let mut broke = false;
    while let Some(frame) = within("the answer", body.frame()).await {
        broke = frame.is_err();
    }
    assert!(broke);
    host.stop().await;
}

#[tokio::test]
async fn events_come_in_order_and_end_when_the_plugin_drains() {
    let host = started().await;
    let mut events = host.get("/fixture/ticks").events().await;
    for number in 1..=3 {
        let expected = ServerEvent {
            event: "tick".to_owned(),
            id: number.to_string(),
            data: format!("tick\n{number}"),
        };
        assert_eq!(events.next().await, Some(expected));
    }
    let reading = async { while events.next().await.is_some() {} };
    let stopping = host.stop();
    tokio::join!(reading, stopping);
}

#[tokio::test]
async fn a_caller_that_hangs_up_ends_its_stream() {
    let host = started().await;
    let mut events = host.get("/fixture/ticks").events().await;
    assert!(events.next().await.is_some());
    let generation = host.running("fixture").await.generation().clone();
    assert!(generation.in_flight() > 0);
    drop(events);
    eventually("the end of the stream", async || {
        (generation.in_flight() == 0).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn a_socket_speaks_text_and_bytes_and_closes_with_a_reason() {
    let host = started().await;
    let mut socket = host
        .get("/fixture/socket")
        .websocket()
        .await
        .expect("an upgrade");
    for message in [
        Message::text("hello"),
        Message::binary(vec![0, 159, 146, 150]),
    ] {
        socket.send(message.clone()).await.expect("it is open");
        let back = within("an echo", socket.next()).await.expect("it is open");
        assert_eq!(back.expect("a message"), message);
    }
    socket.send(Message::text("bye")).await.expect("it is open");
    let last = within("the end", socket.next())
        .await
        .expect("a close frame")
        .expect("a message");
    let Message::Close(Some(frame)) = last else {
        panic!("{last:?}");
    };
    assert_eq!((u16::from(frame.code), &*frame.reason), (4_001, "bye"));
    drop(socket);
    host.stop().await;
}

#[tokio::test]
async fn a_socket_whose_handler_panics_is_closed_and_others_go_on() {
    let host = started().await;
    let mut falls = host
        .get("/fixture/socket")
        .websocket()
        .await
        .expect("an upgrade");
    let mut stays = host
        .get("/fixture/socket")
        .websocket()
        .await
        .expect("an upgrade");
    falls
        .send(Message::text("panic"))
        .await
        .expect("it is open");
    let last = within("the end", falls.next())
        .await
        .expect("a close frame")
        .expect("a message");
    let Message::Close(Some(frame)) = last else {
        panic!("{last:?}");
    };
    assert_eq!(frame.code, CloseCode::Error);
    stays
        .send(Message::text("still here"))
        .await
        .expect("it is open");
    let back = within("an echo", stays.next())
        .await
        .expect("it is open")
        .expect("a message");
    assert_eq!(back, Message::text("still here"));
    assert_eq!(host.panics("fixture").await, 1);
    // A socket that is open while the host stops is told to come back.
    let stopping = host.stop();
    let reading = async {
        let last = within("the end", stays.next())
            .await
            .expect("a close frame")
            .expect("a message");
        let Message::Close(Some(frame)) = last else {
            panic!("{last:?}");
        };
        assert_eq!(frame.code, CloseCode::Restart);
        while stays.next().await.is_some() {}
    };
    tokio::join!(stopping, reading);
}

#[tokio::test]
async fn a_socket_without_an_upgrade_is_refused_with_what_to_do() {
    let host = started().await;
    let answer = host.get("/fixture/socket").send().await;
    assert_eq!(answer.status, 426);
    assert!(answer.text().contains("websocket"));
    host.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_is_counted() {
    let host = started().await;
    for _ in 0..3 {
        let answer = host.get("/fixture/panic").send().await;
        assert_eq!((answer.status, &*answer.code()), (500, "INTERNAL"));
        assert!(
            !answer.text().contains("asked to"),
            "the reason is for the log only"
        );
    }
    assert_eq!(host.panics("fixture").await, 3);
    assert_eq!(
        host.post("/fixture/length").body("on").send().await.data(),
        2
    );
    host.stop().await;
}
