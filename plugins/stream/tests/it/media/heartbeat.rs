//! Signs of life: what they keep, what they cost, and what their absence frees.

use std::process::Stdio;

use nself_plugin_api::{prelude::Role, serde_json::json};
use nself_plugin_testkit::{eventually, node_scripts, within};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::home::Home;
use crate::stage::{Client, count, until_count};

#[tokio::test]
async fn a_heartbeat_brings_a_new_address() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let renewed = home.beat(&player).await.expect_status(200);
    assert_eq!(renewed.headers["cache-control"], "no-store");
    let data = renewed.data();
    let address = data["playback_url"].as_str().expect("an address");
    assert_eq!(home.verified(address).await, 204);
    assert_eq!(data["heartbeat_seconds"], 15);
    home.host.stop().await;
}

#[tokio::test]
async fn heartbeats_are_written_together_and_touch_no_index() {
    let home = Home::with("sessions_per_user = 10\nsessions_per_family = 100").await;
    let mut players = Vec::new();
    for _ in 0..8 {
        players.push(home.play(&home.owner()).await);
    }
    let indexed = "select count(*) from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) \
        where i.indrelid = 'stream.sessions'::regclass and a.attname in ('seen_at', 'state', 'position_ms')";
    assert_eq!(count(&home.sql, indexed).await, 0);
    // Whatever is told apart by this was a write of its own.
    let begun = "create table public.writes (xid xid8 not null); \
        create function public.note_write() returns trigger language plpgsql security definer as \
            'begin insert into public.writes values (pg_current_xact_id()); return null; end'; \
        create trigger note_write after update on stream.sessions for each row execute function public.note_write()";
    home.sql
        .batch_execute(begun)
        .await
        .expect("writes are noted");
    for player in &players {
        let _ = home.beat(player).await.expect_status(200);
    }
    let written = "select count(*) from public.writes";
    until_count(&home.sql, written, 8).await;
    let together = count(&home.sql, "select count(distinct xid) from public.writes").await;
    // One, or two where the time to write came between them; slow machines may see some more, never one for each.
    assert!(together < 8, "{together} transactions for 8 heartbeats");
    let all_hot = "select (n_tup_upd >= 8 and n_tup_hot_upd = n_tup_upd)::int::bigint from pg_stat_user_tables \
        where relid = 'stream.sessions'::regclass";
    until_count(&home.sql, all_hot, 1).await;
    home.host.stop().await;
}

#[tokio::test]
async fn what_was_played_is_counted() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    eventually("something was watched", async || {
        let _ = home.beat(&player).await.expect_status(200);
        let watched = "select coalesce(sum(milliseconds), 0)::bigint from stream.watched";
        (count(&home.sql, watched).await > 0).then_some(())
    })
    .await;
    home.host.stop().await;
}

#[tokio::test]
async fn a_heartbeat_over_the_socket_counts_too() {
    let home = Home::new().await;
    let person = home.person(Role::AdultMember).await;
    let player = home.play(&person.token).await;
    let mut socket = Client::connect(home.host.address(), &person.token).await;
    let data = json!({"session_id": player.session, "token": player.token, "state": "paused"});
    let request = json!({"method": "stream.heartbeat", "data": data});
    let answer = socket.ask("rpc", request.clone()).await;
    let renewed = &answer["rpc"]["data"];
    let address = renewed["playback_url"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(home.verified(address).await, 204);
    home.until_it_is(player.session, "paused").await;
    let mut thief = Client::connect(home.host.address(), &home.owner()).await;
    assert_eq!(thief.refusal("rpc", request.clone()).await, 404);
    let _ = home.say(&player, "end", "idle").await.expect_status(204);
    assert_eq!(socket.refusal("rpc", request).await, 410);
    let broken = json!({"method": "stream.heartbeat", "data": {"token": 7}});
    assert_eq!(socket.refusal("rpc", broken).await, 107);
    home.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_is_killed_frees_its_place_and_nobody_has_to_end_it() {
    let home = Home::with("sessions_per_user = 1\ntimeout_seconds = 20\nidle_seconds = 20").await;
    let person = home.person(Role::AdultMember).await;
    let scripts = node_scripts!("tests/clients").await;
    let player = home.play(&person.token).await;
    let mut command = scripts.script("player.mjs");
    let url = format!("ws://{}/connection/websocket", home.host.address());
    command
        .env("URL", url)
        .env("TOKEN", &person.token)
        .env("SESSION", player.session.to_string())
        .env("SESSION_TOKEN", &player.token)
        .stdin(Stdio::null());
    let mut child = scripts.start(&mut command);
    let printed = child.stdout.take().expect("what it prints is read");
    let mut lines = BufReader::new(printed).lines();
    let first = within("a heartbeat", lines.next_line()).await;
    assert_eq!(first.expect("it can be read").as_deref(), Some("renewed"));
    let written = "select count(*) from stream.sessions where seen_at > admitted_at + interval '2 seconds' and ended_at is null";
    until_count(&home.sql, written, 1).await;
    assert_eq!(home.ask_film(&person.token).await.status, 429);
    child.kill().await.expect("it is killed");
    eventually("its place is free", async || {
        (home.ask_film(&person.token).await.status == 201).then_some(())
    })
    .await;
    assert!(home.is_open(player.session).await, "nobody has ended it");
    // Its place is somebody else's now.
    let late = home.beat(&player).await.expect_status(410);
    assert_eq!(late.json()["details"]["reason"], "timeout");
    home.host.stop().await;
}

#[tokio::test]
async fn a_player_that_comes_back_goes_on_while_there_is_a_place_for_it() {
    let home = Home::with("sessions_per_user = 1\ntimeout_seconds = 30").await;
    let player = home.play(&home.owner()).await;
    let age = "update stream.sessions set seen_at = seen_at - interval '60 seconds' where id = $1";
    home.change(age, &[player.session]).await;
    let second = home.host.beside().start().await;
    let body = json!({"token": player.token});
    let path = format!("{}/{}/heartbeat", super::home::SESSIONS, player.session);
    let _ = second
        .post(&path)
        .token(&player.bearer)
        .json(&body)
        .send()
        .await
        .expect_status(200);
    let fresh = "select count(*) from stream.sessions where seen_at > now() - interval '50 seconds' and ended_at is null";
    until_count(&home.sql, fresh, 1).await;
    second.stop().await;
    home.host.stop().await;
}
