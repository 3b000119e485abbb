//! Server-sent events: Centrifugo's unidirectional protocol and Mercure's reading side, by plain HTTP.

use std::sync::Arc;

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{EventReader, Request, ServerEvent, TestHost, WrongClock, eventually};

use crate::stage::{builder, family, host, issued, publish, until_nobody_listens};

/// Percent-encoded, as a query has it.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// The address of a connection that names these channels.
fn uni_sse(token: &str, channels: &[&str]) -> String {
    let subs: Value = channels.iter().map(|name| (*name, json!({}))).collect();
    let request = json!({"token": token, "subs": subs}).to_string();
    format!("/connection/uni_sse?cf_connect={}", escaped(&request))
}

fn mercure(topics: &[&str]) -> String {
    let topics: Vec<_> = topics
        .iter()
        .map(|topic| format!("topic={}", escaped(topic)))
        .collect();
    format!("/.well-known/mercure?{}", topics.join("&"))
}

async fn next(events: &mut EventReader) -> ServerEvent {
    events.next().await.expect("the stream goes on")
}

/// The data of the next event that is no ping.
async fn push(events: &mut EventReader) -> Value {
    loop {
        let data: Value = next(events).await.data.parse().expect("JSON");
        if data != json!({}) {
            return data;
        }
    }
}

#[tokio::test]
async fn who_only_listens_is_told_each_push_and_where_it_is() {
    let host = host().await;
    let owner = host.token(Role::Owner, Uuid::now_v7());
    let sql = host.sql().await;
    let address = uni_sse(&owner, &["chat:kitchen", "public:a"]);
    let mut events = host.get(&address).events().await;
    let connected = push(&mut events).await;
    let connect = &connected["connect"];
    assert!(connect["client"].is_string(), "{connected}");
    assert_eq!(connect["subs"]["chat:kitchen"]["recoverable"], true);
    assert!(connect["ttl"].as_u64() > Some(3_000), "{connected}");
    assert_eq!(connect["pong"], json!(null));
    publish(&sql, "public:a", json!({"n": 1})).await;
    // It is one of those who are there, so it is told that it has come.
    let event = loop {
        let event = next(&mut events).await;
        if event.data.contains("\"pub\"") {
            break event;
        }
        assert!(
            event.data == "{}" || event.data.contains("\"join\""),
            "{event:?}"
        );
    };
    let told: Value = event.data.parse().expect("JSON");
    assert_eq!(told["channel"], "public:a");
    assert_eq!(told["pub"]["data"], json!({"n": 1}));
    let epoch = connect["subs"]["public:a"]["epoch"]
        .as_str()
        .expect("an epoch");
    assert!(event.id.contains(&format!("{epoch}:1")), "{event:?}");
    // From there on, by a body this time.
    drop(events);
    until_nobody_listens(&host).await;
    publish(&sql, "public:a", json!({"n": 2})).await;
    let request = json!({"token": owner, "subs": {"public:a": {"recover": true, "offset": 1, "epoch": epoch}}});
    let again = host.post("/connection/uni_sse").body(request.to_string());
    let connected = push(&mut again.events().await).await;
    let begun = &connected["connect"]["subs"]["public:a"];
    assert_eq!(begun["recovered"], true, "{connected}");
    assert_eq!(begun["publications"][0]["data"], json!({"n": 2}));
    host.stop().await;
}

#[tokio::test]
async fn an_event_s_id_brings_everything_that_came_after_it() {
    let host = host().await;
    let family = Uuid::now_v7();
    let owner = host.token(Role::Owner, family);
    let sql = host.sql().await;
    let chat = format!("family:{family}:chat:kitchen");
    let address = mercure(&["chat:kitchen", "public:a"]);
    let mut events = host.get(&address).token(&owner).events().await;
    publish(&sql, &chat, json!(1)).await;
    publish(&sql, "public:a", json!(2)).await;
    let mut told = [next(&mut events).await, next(&mut events).await];
    drop(events);
    until_nobody_listens(&host).await;
    // Of two channels there is no order but that of what came first here.
    let last = told[1].id.clone();
    told.sort_by(|one, other| one.data.cmp(&other.data));
    assert_eq!([&*told[0].data, &*told[1].data], ["1", "2"]);
    for number in 3..=5 {
        publish(&sql, &chat, json!(number)).await;
    }
    publish(&sql, "public:a", json!({"six": [6]})).await;
    let again = host
        .get(&address)
        .token(&owner)
        .header("last-event-id", &last);
    let mut events = again.events().await;
    let mut data = Vec::new();
    for _ in 3..=6 {
        data.push(next(&mut events).await);
    }
    let half = data[1].id.clone();
    let said: Vec<_> = data.iter().map(|event| &*event.data).collect();
    assert_eq!(said, ["3", "4", "5", "{\"six\": [6]}"]);
    publish(&sql, &chat, json!(7)).await;
    assert_eq!(next(&mut events).await.data, "7");
    // Who was cut off among what it had missed goes on there; in the address, for who has no headers.
    let address = format!("{address}&lastEventID={}", escaped(&half));
    let mut events = host.get(&address).token(&owner).events().await;
    for wanted in ["5", "7", "{\"six\": [6]}"] {
        assert_eq!(next(&mut events).await.data, wanted);
    }
    let head = host.get(&address).token(&owner).open().await;
    assert_eq!(head.headers()["mercure-last-event-id"], half);
    host.stop().await;
}

#[tokio::test]
async fn who_cannot_be_given_everything_is_told_so() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.few]\nhistory_size = 2")
        .start()
        .await;
    let family = Uuid::now_v7();
    let owner = host.token(Role::Owner, family);
    let sql = host.sql().await;
    let few = format!("family:{family}:few:a");
    let address = mercure(&["few:a", "public:a"]);
    let mut events = host.get(&address).token(&owner).events().await;
    publish(&sql, "public:a", json!("all")).await;
    let last = next(&mut events).await.id;
    drop(events);
    until_nobody_listens(&host).await;
    for number in 1..=5 {
        publish(&sql, &few, json!(number)).await;
    }
    publish(&sql, "public:a", json!("more")).await;
    let again = || {
        host.get(&address)
            .token(&owner)
            .header("last-event-id", &last)
    };
    let head = again().open().await;
    assert_eq!(head.headers()["mercure-last-event-id"], "earliest");
    let mut events = again().events().await;
    let lost = next(&mut events).await;
    assert_eq!(
        (&*lost.event, &*lost.data),
        ("lost", r#"{"topics":["few:a"]}"#)
    );
    assert_eq!(next(&mut events).await.data, "\"more\"");
    publish(&sql, &few, json!(6)).await;
    let after = next(&mut events).await;
    assert_eq!(after.data, "6");
    // From here on it is whole again.
    let again = host
        .get(&address)
        .token(&owner)
        .header("last-event-id", &after.id);
    assert_eq!(
        again.open().await.headers()["mercure-last-event-id"],
        after.id
    );
    host.stop().await;
}

#[tokio::test]
async fn what_may_not_be_heard_is_refused_before_anything_is_sent() {
    let host = host().await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let owner = host.token(Role::Owner, ours);
    let child = host.token(Role::ChildMember, ours);
    let theirs = format!("family:{theirs}:news");
    let many: Vec<_> = (0..33).map(|number| format!("public:{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for (token, channels, status, code) in [
        ("", &["public:a"][..], 401, "UNAUTHENTICATED"),
        ("no token", &["public:a"], 401, "TOKEN_INVALID"),
        (
            &*owner,
            &["public:a", &*theirs],
            404,
            "STREAM_CHANNEL_UNKNOWN",
        ),
        (&owner, &["user:me"], 404, "STREAM_CHANNEL_UNKNOWN"),
        (&child, &["chat:kitchen"], 403, "STREAM_CHANNEL_FORBIDDEN"),
        (&owner, &["public:a", "a b"], 400, "STREAM_REQUEST"),
        (&owner, &many, 400, "STREAM_REQUEST"),
    ] {
        let mut mercure = host.get(&mercure(channels));
        if !token.is_empty() {
            mercure = mercure.token(token);
        }
        for request in [host.get(&uni_sse(token, channels)), mercure] {
            let answer = request.send().await.expect_status(status);
            assert_eq!(answer.json()["code"], code, "{channels:?}");
        }
    }
    for bad in [
        "/connection/uni_sse?cf_connect=%7B",
        "/connection/uni_sse?cf_connect=7",
    ] {
        let answer = host.get(bad).send().await.expect_status(400);
        assert_eq!(answer.json()["code"], "STREAM_REQUEST", "{bad}");
    }
    for bad in [
        "",
        "?topic=",
        "?match_urlpattern=public%3A*",
        "?topic=*",
        "?topic=chat%3A%7Bid%7D",
    ] {
        let request = host
            .get(&format!("/.well-known/mercure{bad}"))
            .token(&owner);
        let answer = request.send().await.expect_status(400);
        assert_eq!(answer.json()["code"], "STREAM_REQUEST", "{bad}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_member_who_is_removed_hears_no_more() {
    let host = host().await;
    let sql = host.sql().await;
    let (family, person, member) = family(&sql, Role::AdultMember).await;
    let news = format!("family:{family}:news");
    let token = host.token_of(person, Some((Role::AdultMember, family)));
    let both = [&*news, "public:a"];
    let mut pushes = host.get(&uni_sse(&token, &both)).events().await;
    let mut data = host.get(&mercure(&both)).token(&token).events().await;
    publish(&sql, &news, json!("before")).await;
    assert!(push(&mut pushes).await["connect"].is_object());
    assert_eq!(push(&mut pushes).await["pub"]["data"], "before");
    assert_eq!(next(&mut data).await.data, "\"before\"");
    let remove = "select public.remove_member($1, $2, null)";
    sql.execute(remove, &[&family, &member])
        .await
        .expect("they are removed");
    let ended = push(&mut pushes).await;
    assert_eq!(
        (&ended["channel"], &ended["unsubscribe"]["code"]),
        (&json!(news), &json!(2000))
    );
    // A request for two channels is not answered with one: it ends, and is refused when it comes again.
    assert_eq!(data.next().await, None);
    publish(&sql, &news, json!("after")).await;
    publish(&sql, "public:a", json!("everybody")).await;
    assert_eq!(push(&mut pushes).await["pub"]["data"], "everybody");
    let again = host.get(&mercure(&both)).token(&token).send().await;
    assert_eq!(
        again.expect_status(404).json()["code"],
        "STREAM_CHANNEL_UNKNOWN"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let host = builder()
        .plugin("nself-plugin-fixture")
        .secret("fixture-key", "a key of the tests")
        .start()
        .await;
    let _ = host.post("/fixture/keys").send().await.expect_status(200);
    let session = Uuid::now_v7();
    let token = issued(&host, session, 0).await;
    let mut pushes = host.get(&uni_sse(&token, &["public:a"])).events().await;
    let mut data = host
        .get(&mercure(&["public:a"]))
        .token(&token)
        .events()
        .await;
    assert!(push(&mut pushes).await["connect"].is_object());
    let revoke = json!({"session": session, "until": 4_000_000_000_u64});
    let revoked = host.post("/fixture/revoke").json(&revoke).send().await;
    let _ = revoked.expect_status(204);
    let ended = push(&mut pushes).await;
    assert_eq!(ended["disconnect"]["code"], 3500, "{ended}");
    assert_eq!(pushes.next().await, None);
    assert_eq!(data.next().await, None);
    let again = host.get(&mercure(&["public:a"])).token(&token).send().await;
    assert_eq!(again.expect_status(401).json()["code"], "TOKEN_INVALID");
    host.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token_without_any_grace() {
    let clock = Arc::<WrongClock>::default();
    let host = builder()
        .config("[plugins.stream.config]\nexpired_grace_seconds = 300")
        .wrong_clock(Arc::clone(&clock))
        .start()
        .await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    let mut pushes = host.get(&uni_sse(&token, &["public:a"])).events().await;
    let mut data = host
        .get(&mercure(&["public:a"]))
        .token(&token)
        .events()
        .await;
    assert!(push(&mut pushes).await["connect"].is_object());
    clock.set_ahead(3_601);
    assert_eq!(push(&mut pushes).await["disconnect"]["code"], 3005);
    assert_eq!(pushes.next().await, None);
    assert_eq!(data.next().await, None);
    let again = host.get(&mercure(&["public:a"])).token(&token).send().await;
    assert_eq!(again.expect_status(401).json()["code"], "TOKEN_EXPIRED");
    host.stop().await;
}

/// How many are in the kitchen's chat.
async fn present(host: &TestHost, family: Uuid) -> Value {
    let channel = format!("family:{family}:chat:kitchen");
    let asked = host
        .post("/api/presence_stats")
        .header("x-api-key", TestHost::OPERATOR_KEY);
    let answer = asked.json(&json!({"channel": channel})).send().await;
    answer.json()["result"]["num_clients"].clone()
}

#[tokio::test]
async fn who_does_not_read_is_given_up_and_keeps_nobody_waiting() {
    let host = builder()
        .config("[plugins.stream.config]\nqueue_bytes_max = 65536")
        .start()
        .await;
    let family = Uuid::now_v7();
    let owner = host.token(Role::Owner, family);
    let sql = host.sql().await;
    let chat = format!("family:{family}:chat:kitchen");
    let address = mercure(&["chat:kitchen"]);
    let stuck = host.get(&address).token(&owner).open().await;
    let mut reads = host.get(&address).token(&owner).events().await;
    eventually("both are there", async || {
        (present(&host, family).await == 2).then_some(())
    })
    .await;
    let large = "x".repeat(60_000);
    let mut last = String::new();
    // Far more than sockets hold; whoever reads gets each of them.
    for number in 0..300 {
        publish(&sql, &chat, json!([number, large])).await;
        let event = next(&mut reads).await;
        assert!(
            event.data.starts_with(&format!("[{number},")),
            "{:.20}",
            event.data
        );
        last = event.id;
    }
    eventually("only one is there", async || {
        (present(&host, family).await == 1).then_some(())
    })
    .await;
    drop(stuck);
    // Whoever comes again from where it was is told that this is more than it is given at once.
    let epoch = last.split(':').next().expect("an epoch");
    let from_the_start = format!("{epoch}:0");
    let again = host
        .get(&address)
        .token(&owner)
        .header("last-event-id", &from_the_start);
    assert_eq!(next(&mut again.events().await).await.event, "lost");
    host.stop().await;
}

#[tokio::test]
async fn a_page_of_another_origin_gets_nothing() {
    let host = builder()
        .config("[plugins.stream.config]\norigins = [\"https://app.example.org\"]")
        .start()
        .await;
    let owner = host.token(Role::Owner, Uuid::now_v7());
    for (origin, status) in [
        ("https://app.example.org", 200),
        ("https://app.example.org.evil.example", 403),
        ("null", 403),
    ] {
        let sse = host.get(&uni_sse(&owner, &["public:a"]));
        let mercure = host.get(&mercure(&["public:a"])).token(&owner);
        for request in [sse, mercure] {
            let response = request.header("origin", origin).open().await;
            assert_eq!(response.status(), status, "{origin}");
        }
        let socket = host.get("/connection/websocket").header("origin", origin);
        let opened = socket.websocket().await;
        let opened = opened.map_or_else(|status| status, |_| 200);
        assert_eq!(opened, status, "{origin}");
    }
    host.stop().await;
}

/// Publishes by Mercure's form.
fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    pairs.join("&")
}

#[tokio::test]
async fn from_the_earliest_on_comes_all_that_is_kept() {
    let host = builder()
        .config("[plugins.stream.config.namespaces.few]\nhistory_size = 3")
        .start()
        .await;
    let family = Uuid::now_v7();
    let owner = host.token(Role::Owner, family);
    let sql = host.sql().await;
    for number in 1..=5 {
        publish(&sql, &format!("family:{family}:few:a"), json!(number)).await;
    }
    let address = mercure(&["few:a"]);
    let first = host
        .get(&format!("{address}&lastEventID=earliest"))
        .token(&owner);
    let mut events = first.events().await;
    let mut last = ServerEvent::default();
    for number in 3..=5 {
        last = next(&mut events).await;
        assert_eq!(last.data, number.to_string());
    }
    publish(&sql, &format!("family:{family}:few:a"), json!(6)).await;
    assert_eq!(next(&mut events).await.data, "6");
    let again = host
        .get(&address)
        .token(&owner)
        .header("last-event-id", &last.id);
    assert_eq!(next(&mut again.events().await).await.data, "6");
    let head = host
        .get(&address)
        .token(&owner)
        .header("last-event-id", "earliest")
        .open()
        .await;
    assert_eq!(head.headers()["mercure-last-event-id"], "earliest");
    host.stop().await;
}

#[tokio::test]
async fn a_form_publishes_what_a_connection_may() {
    let host = host().await;
    let family = Uuid::now_v7();
    let owner = host.token(Role::Owner, family);
    let child = host.token(Role::ChildMember, family);
    let theirs = host.token(Role::Owner, Uuid::now_v7());
    let mut events = host
        .get(&mercure(&["chat:kitchen"]))
        .token(&owner)
        .events()
        .await;
    let send = async |token: &str, pairs: &[(&str, &str)]| {
        let sent = host.post("/.well-known/mercure").token(token);
        let sent = sent.header("content-type", "application/x-www-form-urlencoded");
        sent.body(form(pairs)).send().await
    };
    let tea = [
        ("topic", "chat:kitchen"),
        ("data", "{\"text\": \"Tea\"}"),
        ("type", "meal"),
        ("id", "urn:tea"),
        ("private", "on"),
    ];
    let answer = send(&owner, &tea).await.expect_status(200);
    let event = next(&mut events).await;
    assert_eq!(
        (&*event.data, &*event.event),
        ("{\"text\": \"Tea\"}", "meal")
    );
    assert_eq!(event.id, answer.text());
    // Said twice, it is one; and what is no JSON is a text.
    let _ = send(&owner, &tea).await.expect_status(200);
    let cake = [("topic", "chat:kitchen"), ("data", "Cake & more")];
    let _ = send(&owner, &cake).await.expect_status(200);
    assert_eq!(next(&mut events).await.data, "\"Cake & more\"");
    let whole = format!("family:{family}:chat:kitchen");
    for (token, topic, status) in [
        ("", "chat:kitchen", 401),
        (&*child, "chat:kitchen", 403),
        (&*theirs, &*whole, 404),
        (&*owner, "public:a", 403),
        (&*owner, "nothing:a", 404),
        (&*owner, "chat:{room}", 400),
        (&*owner, "", 400),
    ] {
        let answer = send(token, &[("topic", topic), ("data", "1")]).await;
        assert_eq!(answer.status, status, "{topic} {}", answer.text());
    }
    // All of them or none.
    let both = [
        ("topic", "chat:kitchen"),
        ("topic", "public:a"),
        ("data", "no"),
    ];
    assert_eq!(send(&owner, &both).await.status, 403);
    let _ = send(&owner, &[("topic", "chat:kitchen"), ("data", "end")])
        .await
        .expect_status(200);
    assert_eq!(next(&mut events).await.data, "\"end\"");
    host.stop().await;
}

/// As a browser sends it for a page of that origin.
fn asked_by<'a>(request: Request<'a>, origin: Option<&str>) -> Request<'a> {
    match origin {
        Some(origin) => request.header("origin", origin),
        None => request,
    }
}

#[tokio::test]
async fn a_cookie_counts_for_pages_that_are_known_by_name() {
    let host = builder()
        .config("[plugins.stream.config]\norigins = [\"https://app.example.org\", \"*\"]")
        .start()
        .await;
    let owner = host.token(Role::Owner, Uuid::now_v7());
    let cookie = format!("theme=dark; mercureAuthorization={owner}; other=1");
    for (origin, reads, writes) in [
        (Some("https://app.example.org"), 200, 200),
        // Everybody may connect with a token that they have; a cookie comes by itself.
        (Some("https://evil.example.org"), 403, 403),
        (None, 200, 403),
    ] {
        let read = host
            .get(&mercure(&["chat:kitchen"]))
            .header("cookie", &cookie);
        let write = host.post("/.well-known/mercure").header("cookie", &cookie);
        let write = write.body(form(&[("topic", "chat:kitchen"), ("data", "1")]));
        assert_eq!(
            asked_by(read, origin).open().await.status(),
            reads,
            "{origin:?}"
        );
        assert_eq!(
            asked_by(write, origin).send().await.status,
            writes,
            "{origin:?}"
        );
    }
    let wrong = host
        .get(&mercure(&["chat:kitchen"]))
        .header("cookie", "mercureAuthorization=x");
    assert_eq!(wrong.open().await.status(), 401);
    host.stop().await;
}
