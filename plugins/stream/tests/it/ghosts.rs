//! Connections that the host holds for open while nobody is behind them any more: a network has ended without a word.
//!
//! The suite has a short form. `STREAM_GHOSTS=1000` makes it long.

use futures_util::future::join_all;
use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::eventually;

use crate::{
    outages::{Network, until_there_are},
    stage::{Client, builder, publish},
    storm,
};

/// How many there are.
pub(crate) fn amount() -> usize {
    let said = std::env::var("STREAM_GHOSTS");
    said.map_or(20, |number| number.parse().expect("a number of clients"))
}

/// Somebody with a client that has a name for itself.
struct Person {
    token: String,
    client: Client,
    known_as: Value,
}

/// Joins and leaves that a watcher is told of until it hears the next publication: of whom.
async fn comings_and_goings(watcher: &mut Client) -> (Vec<Value>, Vec<Value>) {
    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    loop {
        let mut push = watcher.push().await;
        let [join, leave] = ["join", "leave"].map(|what| push[what]["info"]["client"].take());
        if push["pub"].is_object() {
            return (joins, leaves);
        }
        joins.extend(Some(join).filter(Value::is_string));
        leaves.extend(Some(leave).filter(Value::is_string));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_takes_the_place_of_its_ghost_and_nobody_sees_it_go() {
    let host = builder()
        .config("[http]\nconnections_max = 20_000\nconcurrency_per_plugin = 20_000")
        .start()
        .await;
    let network = Network::to(host.address()).await;
    let family = Uuid::now_v7();
    let chat = format!("family:{family}:chat:kitchen");
    let mut watcher = Client::connect(host.address(), &host.token(Role::Owner, family)).await;
    let _ = watcher.subscribe("chat:kitchen").await;
    let request = json!({"channel": "chat:kitchen"});
    let coming = (0..amount()).map(async |number| {
        let token = host.token_of(Uuid::now_v7(), Some((Role::AdultMember, family)));
        let (mut client, known_as) = come(network.address, &token, number).await;
        storm::subscribe(&mut client, request.clone()).await;
        Person {
            token,
            client,
            known_as,
        }
    });
    let mut people = join_all(coming).await;
    until_there_are(&mut watcher, 1 + people.len()).await;
    for _ in 0..=people.len() {
        assert!(watcher.push().await["join"].is_object());
    }
    network.is_gone.send_replace(true);
    let mut ghosts = Vec::new();
    for (number, person) in people.iter_mut().enumerate() {
        let (client, known_as) = come(host.address(), &person.token, number).await;
        assert_eq!(known_as, person.known_as, "others know it by that");
        ghosts.push(std::mem::replace(&mut person.client, client));
    }
    // All but one of them come back to the kitchen.
    let (gone, people) = people.split_last_mut().expect("there are some");
    join_all(people.iter_mut().map(async |person| {
        storm::subscribe(&mut person.client, request.clone()).await;
    }))
    .await;
    let left = watcher.push().await;
    assert_eq!(left["leave"]["info"]["client"], gone.known_as, "{left}");
    until_there_are(&mut watcher, 1 + people.len()).await;
    publish(&host.sql().await, &chat, json!("all are back")).await;
    let told = comings_and_goings(&mut watcher).await;
    assert_eq!(told, (vec![], vec![]));
    for person in people {
        // They hear of the one who has left, and of each other as little as the watcher.
        let told = comings_and_goings(&mut person.client).await;
        assert_eq!(told, (vec![], vec![gone.known_as.clone()]));
    }
    host.stop().await;
}

/// Connects with a name for itself; what others call it.
async fn come(address: std::net::SocketAddr, token: &str, number: usize) -> (Client, Value) {
    let instance = json!({"instance": format!("tab-{number}"), "theme": "dark"});
    let mut client = Client::open(address).await;
    let request = json!({"token": token, "data": instance});
    let answer = client.ask("connect", request).await;
    let known_as = answer["connect"]["client"].clone();
    assert!(known_as.is_string(), "{answer}");
    (client, known_as)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_at_another_host_has_not_left_either() {
    let host = builder()
        .config("[plugins.stream.config]\nping_seconds = 2\npong_seconds = 2")
        .start()
        .await;
    let other = host.beside().start().await;
    let network = Network::to(host.address()).await;
    let family = Uuid::now_v7();
    let chat = format!("family:{family}:chat:kitchen");
    let mut watcher = Client::connect(other.address(), &host.token(Role::Owner, family)).await;
    let _ = watcher.subscribe("chat:kitchen").await;
    let token = host.token(Role::AdultMember, family);
    let (mut ghost, known_as) = come(network.address, &token, 1).await;
    let _ = ghost.subscribe("chat:kitchen").await;
    until_there_are(&mut watcher, 2).await;
    network.is_gone.send_replace(true);
    let (mut back, same) = come(other.address(), &token, 1).await;
    assert_eq!(same, known_as);
    let _ = back.subscribe("chat:kitchen").await;
    let answers = tokio::spawn(async move { while back.publication_or_end().await.is_ok() {} });
    eventually("its ghost has ended", async || {
        let asked = watcher.ask("ping", json!({})).await;
        assert!(asked["ping"].is_object(), "{asked}");
        (host.metric("nself_hub_connections").await < 1.0).then_some(())
    })
    .await;
    publish(&host.sql().await, &chat, json!(1)).await;
    let (joins, leaves) = comings_and_goings(&mut watcher).await;
    assert_eq!((joins.len(), leaves), (2, vec![]));
    until_there_are(&mut watcher, 2).await;
    answers.abort();
    other.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ghosts_do_not_lock_their_user_out() {
    let host = builder()
        .config("[plugins.stream.config]\npong_seconds = 2\nconnections_per_user = 3")
        .start()
        .await;
    let network = Network::to(host.address()).await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    let mut ghosts = Vec::new();
    for _ in 0..3 {
        ghosts.push(Client::connect(network.address, &token).await);
    }
    network.is_gone.send_replace(true);
    // Long before anybody is asked whether they are there, it is let in again, and it is never told not to come.
    eventually("there is room", async || {
        let mut client = Client::open(host.address()).await;
        let answer = client.ask("connect", json!({"token": token})).await;
        let is_asked_again = answer["error"]["temporary"] == true;
        assert!(answer["connect"].is_object() || is_asked_again, "{answer}");
        answer["connect"].is_object().then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn who_was_refused_does_not_become_another_by_the_same_connection() {
    let host = builder()
        .config("[plugins.stream.config]\nconnections_per_user = 1")
        .start()
        .await;
    let [mine, other] = [(); 2].map(|()| host.token(Role::Owner, Uuid::now_v7()));
    let _first = Client::connect(host.address(), &mine).await;
    let named = |token: &str, name: &str| json!({"token": token, "data": {"instance": name}});
    for second in [
        json!({"token": other}),
        named(&other, "a"),
        named(&mine, "b"),
    ] {
        let mut client = Client::open(host.address()).await;
        assert_eq!(client.refusal("connect", named(&mine, "a")).await, 111);
        assert_eq!(client.refusal("connect", named(&mine, "a")).await, 111);
        client.command("connect", second).await;
        assert_eq!(client.end().await, (3501, "bad request".to_owned()));
    }
    host.stop().await;
}

#[tokio::test]
async fn a_page_that_was_doubled_is_the_same_client_no_longer() {
    let host = builder().start().await;
    let token = host.token(Role::Owner, Uuid::now_v7());
    let (mut first, known_as) = come(host.address(), &token, 1).await;
    let (_second, same) = come(host.address(), &token, 1).await;
    // It does not come again, or the two would send each other away for ever.
    assert_eq!(first.end().await, (4500, "replaced".to_owned()));
    assert_eq!(same, known_as);
    let (_, other) = come(host.address(), &host.token(Role::Owner, Uuid::now_v7()), 1).await;
    assert_ne!(other, known_as, "nobody takes another user's place");
    host.stop().await;
}
