//! What is taken away while it plays.

use nself_plugin_api::{prelude::Role, serde_json::json};
use nself_plugin_testkit::eventually;

use super::home::{Home, Player};
use crate::stage::Client;

/// The session has ended for that reason, and nothing of it is good any more.
async fn is_over(home: &Home, player: &Player, reason: &str) {
    assert_eq!(home.end_of(player.session).await, reason);
    eventually("its address plays nothing", async || {
        (home.verified(&player.address).await == 403).then_some(())
    })
    .await;
    let beaten = home.beat(player).await;
    assert_eq!(beaten.status, 410, "{}", beaten.text());
}

#[tokio::test]
async fn a_device_that_is_revoked_stops_playing_and_is_told() {
    let home = Home::new().await;
    let device = home.device().await;
    let bearer = home.token_of_device(device);
    let mut socket = Client::connect(home.host.address(), &bearer).await;
    let _ = socket.subscribe(&format!("user:{device}")).await;
    let player = home.play(&bearer).await;
    let revoke = "update public.devices set revoked_at = now() where id = $1";
    home.change(revoke, &[device]).await;
    let told = socket.publication().await["data"].clone();
    assert_eq!(
        told,
        json!({"type": "stream.session_ended", "session_id": player.session, "reason": "device"})
    );
    is_over(&home, &player, "device").await;
    let audited = home.audited().await;
    assert_eq!(
        audited.last().expect("it is written down").2["reason"],
        "device"
    );
    home.host.stop().await;
}

#[tokio::test]
async fn a_member_who_is_removed_or_becomes_less_stops_playing() {
    let home = Home::new().await;
    let removed = home.person(Role::AdultMember).await;
    let lowered = home.person(Role::AdultMember).await;
    let raised = home.person(Role::YouthMember).await;
    let of_removed = home.play(&removed.token).await;
    let of_lowered = home.play(&lowered.token).await;
    let of_raised = home.play(&raised.token).await;
    let change = async |statement: &str, member: &nself_plugin_api::uuid::Uuid| {
        let changed = home.sql.query(statement, &[&home.id, member]).await;
        changed.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
    };
    let raise = "select public.change_member($1, $2, null, 'ADULT_MEMBER')";
    let _ = change(raise, &raised.member).await;
    let _ = change("select public.remove_member($1, $2, null)", &removed.member).await;
    is_over(&home, &of_removed, "member").await;
    let lower = "select public.change_member($1, $2, null, 'CHILD_MEMBER')";
    let _ = change(lower, &lowered.member).await;
    is_over(&home, &of_lowered, "role").await;
    assert!(home.is_open(of_raised.session).await);
    home.host.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_theirs_to_watch_stops() {
    let home = Home::with("sessions_per_user = 10").await;
    let youth = home.person(Role::YouthMember).await;
    let player = home.play(&youth.token).await;
    let of_owner = home.play(&home.owner()).await;
    let rate = "update public.media_items set content_rating = 'from_16' where id = $1";
    home.change(rate, &[home.film]).await;
    let set = "insert into public.parental_controls (family_id, member_id, content_rating) values ($1, $2, 'from_13')";
    home.change(set, &[home.id, youth.member]).await;
    is_over(&home, &player, "parental_level").await;
    assert!(home.is_open(of_owner.session).await);
    let delete = "delete from public.media_items where id = $1";
    home.change(delete, &[home.film]).await;
    assert_eq!(home.end_of(of_owner.session).await, "content");
    home.host.stop().await;
}

#[tokio::test]
async fn a_family_that_is_deleted_plays_nothing() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let delete = "update public.families set deleted_at = now() where id = $1";
    home.change(delete, &[home.id]).await;
    is_over(&home, &player, "family").await;
    home.host.stop().await;
}
