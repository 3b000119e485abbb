//! A host on which nothing plays leaves the database alone, and looks again when somebody is admitted anywhere.

use nself_plugin_api::prelude::Role;
use nself_plugin_testkit::eventually;

use super::home::Home;

#[tokio::test]
async fn a_host_on_which_nothing_plays_and_nobody_listens_leaves_the_database_alone() {
    let home = Home::new().await;
    let player = home.play(&home.owner()).await;
    let ended = home.say(&player, "end", "idle").await;
    let _ = ended.expect_status(204);
    // Time is the database's, so a slow machine makes the rate lower and never higher. Sessions tell what they did some seconds
    // later: the first stretch is not idle yet. While something plays it is five a second.
    let look = "select xact_commit, extract(epoch from clock_timestamp())::float8 from pg_stat_database where datname = current_database()";
    let mut last: Option<(i64, f64)> = None;
    let rate = eventually("less than two transactions a second", async || {
        let slept = home.sql.query_one("select pg_sleep(5)", &[]).await;
        slept.expect("time goes by");
        let row = home.sql.query_one(look, &[]).await.expect("counters");
        let now = (row.get(0), row.get(1));
        let (before, from) = last.replace(now)?;
        // Two of them are this look and its pause.
        let commits = i32::try_from(now.0 - before - 2).expect("few commits");
        let rate = f64::from(commits) / (now.1 - from);
        println!("an idle host with stream: {rate:.2} transactions/s");
        (rate < 2.0).then_some(rate)
    })
    .await;
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
