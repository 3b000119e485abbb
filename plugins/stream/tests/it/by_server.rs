//! Subscriptions that the server makes: for everybody who connects, and when a program says so.

use std::sync::Arc;

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, WrongClock, eventually};
use tokio_postgres::Client as Sql;

use crate::stage::{Client, builder, call, count, family, host, publish, until_nobody_listens};

/// Whoever connects hears of themselves and of their family; owners of the board too.
const ON_CONNECT: &str = r#"
[plugins.stream.config.namespaces.user]
on_connect = true
history_size = 3
[plugins.stream.config.namespaces.family]
on_connect = true
history_size = 100
join_leave = true
[plugins.stream.config.namespaces.board]
on_connect = true
subscribe = ["OWNER"]
"#;

async fn stage() -> TestHost {
    builder().config(ON_CONNECT).start().await
}

/// Connects; what it is subscribed to by that.
async fn connect(host: &TestHost, token: &str, subs: Value) -> (Client, Value) {
    let mut client = Client::open(host.address()).await;
    let connected = client
        .ask("connect", json!({"token": token, "subs": subs}))
        .await;
    let subs = connected["connect"]["subs"].clone();
    (client, subs)
}

/// Seconds since 1970, by a clock that nobody has set wrong.
async fn now(sql: &Sql) -> i64 {
    count(
        sql,
        "select floor(extract(epoch from clock_timestamp()))::bigint",
    )
    .await
}

fn names(subs: &Value) -> Vec<&str> {
    let subs = subs.as_object().expect("it is subscribed");
    subs.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn who_connects_is_subscribed_to_what_their_role_may_read() {
    let host = stage().await;
    let (ours, person) = (Uuid::now_v7(), Uuid::now_v7());
    let (own, all) = (format!("user:{person}"), format!("family:{ours}:family"));
    let board = format!("family:{ours}:board");
    let mut wanted = [&*board, &*all, &*own];
    wanted.sort_unstable();
    let owner = host.token_of(person, Some((Role::Owner, ours)));
    let (mut client, subs) = connect(&host, &owner, json!({})).await;
    assert_eq!(names(&subs), wanted);
    assert_eq!(subs[&own]["recoverable"], true);
    let child = host.token_of(person, Some((Role::ChildMember, ours)));
    let (_, subs) = connect(&host, &child, json!({})).await;
    assert_eq!(names(&subs), [&*all, &*own]);
    let (_, subs) = connect(&host, &host.token_of(person, None), json!({})).await;
    assert_eq!(names(&subs), [&*own]);
    // What a client names beyond that is not its to name here.
    let theirs = format!("family:{}:family", Uuid::now_v7());
    let named = json!({theirs: {"recover": true}, "public:a": {}});
    let (_, subs) = connect(&host, &child, named).await;
    assert_eq!(names(&subs), [&*all, &*own]);
    assert_eq!(
        client.refusal("subscribe", json!({"channel": own})).await,
        105
    );
    let sql = host.sql().await;
    publish(&sql, &own, json!("to me")).await;
    let heard = loop {
        let push = client.push().await;
        if push["pub"].is_object() {
            break push;
        }
        // Those who came after it.
        assert!(
            push["join"].is_object() || push["leave"].is_object(),
            "{push}"
        );
    };
    assert_eq!(
        (&heard["channel"], &heard["pub"]["data"]),
        (&json!(own), &json!("to me"))
    );
    host.stop().await;
}

#[tokio::test]
async fn what_was_missed_comes_with_the_connection_or_it_says_that_it_cannot() {
    let host = stage().await;
    let (family, person) = (Uuid::now_v7(), Uuid::now_v7());
    let (own, all) = (format!("user:{person}"), format!("family:{family}:family"));
    let token = host.token_of(person, Some((Role::AdultMember, family)));
    let (client, begun) = connect(&host, &token, json!({})).await;
    client.close().await;
    until_nobody_listens(&host).await;
    let sql = host.sql().await;
    for number in 1..=5 {
        publish(&sql, &own, json!(number)).await;
        publish(&sql, &all, json!(number)).await;
    }
    let since = |channel: &str| json!({"recover": true, "epoch": begun[channel]["epoch"]});
    let (_, subs) = connect(&host, &token, json!({&own: since(&own), &all: since(&all)})).await;
    let told: Vec<_> = subs[&all]["publications"]
        .as_array()
        .expect("all of them")
        .iter()
        .map(|publication| publication["data"].clone())
        .collect();
    assert_eq!(told, [1, 2, 3, 4, 5]);
    assert_eq!(subs[&all]["recovered"], true);
    // Three of them are kept.
    let mine = &subs[&own];
    assert_eq!(
        (&mine["was_recovering"], &mine["recovered"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(mine["publications"], json!(null));
    host.stop().await;
}

#[tokio::test]
async fn a_channel_that_was_made_anew_ends_the_connection_that_the_server_subscribed() {
    let host = stage().await;
    let token = host.token_of(Uuid::now_v7(), None);
    let (mut client, _) = connect(&host, &token, json!({})).await;
    let sql = host.sql().await;
    let emptied = sql
        .batch_execute("truncate stream.channels, stream.publications")
        .await;
    emptied.expect("a superuser may");
    // Its client could not subscribe again by itself; connecting again it is subscribed, and told of the gap.
    assert_eq!(client.end().await, (3010, "insufficient state".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn a_member_who_is_removed_is_put_out_of_what_the_server_subscribed_them_to() {
    let host = stage().await;
    let sql = host.sql().await;
    let (family, person, member) = family(&sql, Role::AdultMember).await;
    let token = host.token_of(person, Some((Role::AdultMember, family)));
    let (mut client, _) = connect(&host, &token, json!({})).await;
    let remove = "select public.remove_member($1, $2, null)";
    let removed = sql.execute(remove, &[&family, &member]).await;
    removed.expect("they are removed");
    let push = loop {
        let push = client.push().await;
        if push["join"].is_null() {
            break push;
        }
    };
    assert_eq!(push["channel"], format!("family:{family}:family"), "{push}");
    assert_eq!(push["unsubscribe"]["code"], 2000, "{push}");
    host.stop().await;
}

#[tokio::test]
async fn a_program_subscribes_a_user_wherever_they_are_connected() {
    let host = host().await;
    let second = host.beside().start().await;
    let (family, person) = (Uuid::now_v7(), Uuid::now_v7());
    let token = host.token_of(person, Some((Role::AdultMember, family)));
    let mut here = Client::connect(host.address(), &token).await;
    let mut there = Client::connect(second.address(), &token).await;
    let mut other = Client::connect(host.address(), &host.token(Role::Admin, family)).await;
    let news = format!("family:{family}:news");
    let sql = host.sql().await;
    publish(&sql, &news, json!("before")).await;
    let history = call(&host, "history", json!({"channel": news})).await;
    let since = json!({"offset": 0, "epoch": history["result"]["epoch"]});
    let request = json!({"user": person, "channel": news, "data": {"why": "because"}, "recover_since": since});
    assert_eq!(
        call(&host, "subscribe", request).await,
        json!({"result": {}})
    );
    for client in [&mut here, &mut there] {
        let begun = client.push().await;
        assert_eq!(begun["channel"], news, "{begun}");
        assert_eq!(begun["subscribe"]["recoverable"], true, "{begun}");
        assert_eq!(begun["subscribe"]["data"]["why"], "because", "{begun}");
        assert_eq!(client.publication().await["data"], "before");
    }
    publish(&sql, &news, json!("after")).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.publication().await["data"], "after");
    }
    // No program lets anybody into what they may not read, and nobody else was meant.
    let theirs = format!("family:{}:news", Uuid::now_v7());
    for channel in [&*theirs, "public:a"] {
        let request = json!({"user": person, "channel": channel});
        assert_eq!(
            call(&host, "subscribe", request).await,
            json!({"result": {}})
        );
    }
    for client in [&mut here, &mut there] {
        assert_eq!(client.push().await["channel"], "public:a");
    }
    publish(&sql, &theirs, json!("theirs")).await;
    publish(&sql, "public:a", json!("everybody")).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.publication().await["data"], "everybody");
    }
    let answer = other.ask("ping", json!({})).await;
    assert!(answer["ping"].is_object(), "{answer}");
    assert!(other.rest_now().is_empty(), "nobody told them anything");
    second.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn programs_list_channels_of_all_hosts_and_empty_their_history() {
    let host = host().await;
    let second = host.beside().start().await;
    let family = Uuid::now_v7();
    let token = host.token(Role::Owner, family);
    let mut here = Client::connect(host.address(), &token).await;
    let mut there = Client::connect(second.address(), &token).await;
    let _ = here.subscribe("public:a").await;
    let _ = there.subscribe("public:a").await;
    let _ = there.subscribe("public:other").await;
    // A host is asked from the first time on at which it says that it is alive.
    eventually("the channels of both hosts are listed", async || {
        let all = call(&host, "channels", json!({})).await;
        let wanted = json!({"public:a": {"num_clients": 2}, "public:other": {"num_clients": 1}});
        (all["result"]["channels"] == wanted).then_some(())
    })
    .await;
    eventually("those of them that are meant are listed", async || {
        let some = call(&second, "channels", json!({"pattern": "public:?"})).await;
        (some["result"]["channels"] == json!({"public:a": {"num_clients": 2}})).then_some(())
    })
    .await;
    let sql = host.sql().await;
    for number in 1..=3 {
        publish(&sql, "public:a", json!(number)).await;
        assert_eq!(here.publication().await["offset"], number);
        assert_eq!(there.publication().await["offset"], number);
    }
    let removed = call(&host, "history_remove", json!({"channel": "public:a"})).await;
    assert_eq!(removed, json!({"result": {}}));
    let history = call(
        &host,
        "history",
        json!({"channel": "public:a", "limit": -1}),
    )
    .await;
    assert_eq!(history["result"]["publications"], json!([]));
    assert_eq!(history["result"]["offset"], 3);
    // Who is there goes on as if nothing had been.
    publish(&sql, "public:a", json!(4)).await;
    assert_eq!(here.publication().await["offset"], 4);
    second.stop().await;
    host.stop().await;
}

#[tokio::test]
async fn what_programs_may_not_ask_for_has_its_code() {
    let host = host().await;
    let person = Uuid::now_v7();
    let mut client = Client::connect(host.address(), &host.token_of(person, None)).await;
    let large = "x".repeat(6_000);
    for (method, request, code) in [
        ("refresh", json!({"user": person}), 108),
        (
            "refresh",
            json!({"user": person, "expired": true, "info": {}}),
            108,
        ),
        (
            "refresh",
            json!({"user": person, "expired": true, "session": "s"}),
            108,
        ),
        ("refresh", json!({"user": ""}), 107),
        ("rpc", json!({"method": "anything", "params": {}}), 104),
        ("subscribe", json!({"user": "", "channel": "public:a"}), 107),
        (
            "subscribe",
            json!({"user": person, "channel": "nothing"}),
            102,
        ),
        (
            "subscribe",
            json!({"user": person, "channel": "public:a", "data": large}),
            107,
        ),
        (
            "subscribe",
            json!({"user": person, "channel": "public:a", "expire_at": 1}),
            110,
        ),
        (
            "subscribe",
            json!({"user": person, "channel": "public:a", "info": {"name": "x"}}),
            108,
        ),
        (
            "subscribe",
            json!({"user": person, "channel": "public:a", "override": {"force_recovery": {"value": false}}}),
            108,
        ),
        (
            "disconnect",
            json!({"user": person, "disconnect": {"code": 1000, "reason": ""}}),
            107,
        ),
        (
            "disconnect",
            json!({"user": person, "disconnect": {"code": 4000, "reason": large}}),
            107,
        ),
        ("disconnect", json!({"user": person, "session": "s"}), 108),
        (
            "unsubscribe",
            json!({"user": person, "channel": "public:a", "session": "s"}),
            108,
        ),
        ("history_remove", json!({"channel": "nothing"}), 102),
    ] {
        let answer = call(&host, method, request.clone()).await;
        assert_eq!(
            answer["error"]["code"],
            code,
            "{method} {:.100}",
            request.to_string()
        );
    }
    let batch = json!({"commands": [{"rpc": {}}, {"refresh": {"user": person, "expired": true}}]});
    let done = call(&host, "batch", batch).await;
    assert_eq!(done["replies"][0]["error"]["code"], 104, "{done}");
    assert_eq!(done["replies"][1], json!({"refresh": {}}), "{done}");
    // It comes again, with a newer token.
    assert_eq!(client.end().await, (3005, "connection expired".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn a_program_hides_whom_it_subscribes_or_lets_them_be_seen_where_nobody_else_is() {
    let host = host().await;
    let (ours, person) = (Uuid::now_v7(), Uuid::now_v7());
    let chat = format!("family:{ours}:chat:kitchen");
    let mut seen = Client::connect(host.address(), &host.token(Role::Owner, ours)).await;
    let _ = seen.subscribe("chat:kitchen").await;
    assert!(seen.push().await["join"].is_object(), "itself");
    let token = host.token_of(person, Some((Role::AdultMember, ours)));
    let mut hidden = Client::connect(host.address(), &token).await;
    let quietly = json!({"presence": {"value": false}, "join_leave": {"value": false}});
    let request = json!({"user": person, "channel": chat, "override": quietly});
    let _ = call(&host, "subscribe", request).await;
    assert!(hidden.push().await["subscribe"].is_object());
    let sql = host.sql().await;
    publish(&sql, &chat, json!("to both")).await;
    assert_eq!(hidden.publication().await["data"], "to both");
    assert_eq!(
        seen.publication().await["data"],
        "to both",
        "and no join before it"
    );
    let stats = call(&host, "presence_stats", json!({"channel": chat})).await;
    assert_eq!(stats["result"]["num_clients"], 1, "{stats}");
    let away = json!({"user": person, "channel": chat});
    let _ = call(&host, "unsubscribe", away).await;
    assert_eq!(hidden.push().await["unsubscribe"]["code"], 2000);
    // Others are still told of others.
    let mut third = Client::connect(host.address(), &host.token(Role::Admin, ours)).await;
    let _ = third.subscribe("chat:kitchen").await;
    assert!(
        seen.push().await["join"].is_object(),
        "the third, and no leave before it"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_subscription_ends_when_the_program_that_made_it_has_said() {
    let clock = Arc::<WrongClock>::default();
    let host = builder().wrong_clock(Arc::clone(&clock)).start().await;
    let person = Uuid::now_v7();
    let mut client = Client::connect(host.address(), &host.token_of(person, None)).await;
    let sql = host.sql().await;
    let end = now(&sql).await + 600;
    for (channel, end) in [("public:a", end), ("public:b", 0)] {
        let request = json!({"user": person, "channel": channel, "expire_at": end});
        let _ = call(&host, "subscribe", request).await;
        assert_eq!(client.push().await["channel"], channel);
    }
    clock.set_ahead(601);
    let over = client.push().await;
    assert_eq!(
        (&over["channel"], &over["unsubscribe"]["code"]),
        (&json!("public:a"), &json!(2501))
    );
    publish(&sql, "public:a", json!("nobody hears it")).await;
    publish(&sql, "public:b", json!("goes on")).await;
    assert_eq!(client.publication().await["data"], "goes on");
    host.stop().await;
}

#[tokio::test]
async fn a_connection_ends_when_a_program_says_and_never_later_than_its_token() {
    let clock = Arc::<WrongClock>::default();
    let config = "[plugins.stream.config]\nexpired_grace_seconds = 0";
    let host = builder()
        .config(config)
        .wrong_clock(Arc::clone(&clock))
        .start()
        .await;
    let person = Uuid::now_v7();
    let token = host.token_of(person, None);
    let now = now(&host.sql().await).await;
    let mut client = Client::connect(host.address(), &token).await;
    let ends = async |at: i64| {
        let request = json!({"user": person, "expire_at": at});
        assert_eq!(call(&host, "refresh", request).await, json!({"result": {}}));
    };
    let ttl = async |client: &mut Client| {
        let push = client.push().await;
        push["refresh"]["ttl"].as_i64().expect("it is told when")
    };
    // A later end than the token's is the token's, which has an hour.
    ends(now + 1_000_000).await;
    assert!(ttl(&mut client).await <= 3_600);
    ends(now + 600).await;
    assert!(ttl(&mut client).await <= 600);
    // The same token once more changes nothing of it, a newer one does.
    let refreshed = client.ask("refresh", json!({"token": token})).await;
    assert!(
        refreshed["refresh"]["ttl"].as_i64() <= Some(600),
        "{refreshed}"
    );
    clock.set_ahead(10);
    let newer = host.token_of(person, None);
    let refreshed = client.ask("refresh", json!({"token": newer})).await;
    assert!(
        refreshed["refresh"]["ttl"].as_i64() > Some(600),
        "{refreshed}"
    );
    ends(now + 600).await;
    assert!(ttl(&mut client).await <= 600);
    clock.set_ahead(601);
    assert_eq!(client.end().await, (3005, "connection expired".to_owned()));
    // What has been is now.
    let mut client = Client::connect(host.address(), &newer).await;
    ends(now).await;
    assert_eq!(client.end().await, (3005, "connection expired".to_owned()));
    host.stop().await;
}
