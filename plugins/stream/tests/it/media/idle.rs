//! A host on which nothing plays leaves the database alone, and looks again when somebody is admitted anywhere.

use std::time::Duration;

use nself_plugin_api::prelude::Role;
use nself_plugin_testkit::{eventually, until_quiet};

use super::home::Home;

#[tokio::test]
async fn a_host_on_which_nothing_plays_and_nobody_listens_leaves_the_database_alone() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let ended = home.say(&player, "end", "idle").await;
    let _ = ended.expect_status(204);
    // While something plays it is five a second.
    let stretch = Duration::from_secs(5);
    let rate = until_quiet(&home.sql, "an idle host with stream", stretch, 2.0).await;
    assert!(rate >= 0.0, "it is counted");
    home.host.stop().await;
}

#[tokio::test]
async fn a_host_that_rests_hears_that_somebody_is_admitted_at_another_and_ends_what_may_not_go_on()
{
    let home = Home::new().await;
    let other = home.host.beside().start().await;
    let adult = home.person(Role::AdultMember).await;
    let player = home.play(&adult.token).await;
    let Home { host, sql, id, .. } = home;
    // Nobody but the other host is left to end it.
    host.stop().await;
    let remove = "select public.remove_member($1, $2, null)";
    let removed = sql.query(remove, &[&id, &adult.member]).await;
    let _ = removed.expect("the member is removed");
    eventually("its address plays nothing at the other host", async || {
        let asked = other.get("/v1/stream/verify");
        let asked = asked.header("x-original-uri", &player.address);
        (asked.send().await.status == 403).then_some(())
    })
    .await;
    let end = "select end_reason from stream.sessions where id = $1";
    let end: String = sql
        .query_one(end, &[&player.session])
        .await
        .expect("there is the session")
        .get(0);
    assert_eq!(end, "member");
    other.stop().await;
}
