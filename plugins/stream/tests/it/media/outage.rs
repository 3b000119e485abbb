//! What plays plays on while the database is away, and afterwards.

use nself_plugin_testkit::eventually;

use super::home::Home;

#[tokio::test]
async fn what_plays_needs_no_database() {
    // So short that the outage is longer: everybody seems dead when it ends.
    let home = Home::with("timeout_seconds = 2").await;
    let player = home.play(&home.owner()).await;
    let outage = home.host.database_away().await;
    assert_eq!(home.verified(&player.address).await, 204);
    eventually("the outage was longer than a silence may be", async || {
        let renewed = home.beat(&player).await.expect_status(200).data();
        let address = renewed["playback_url"].as_str().expect("an address");
        assert_eq!(home.verified(address).await, 204);
        let expires = renewed["playback_expires_at"].as_u64().expect("a time");
        let first: u64 = player
            .address
            .split("expires=")
            .nth(1)
            .and_then(|rest| rest.split('&').next()?.parse().ok())
            .expect("a time");
        (expires > first + 3).then_some(())
    })
    .await;
    // Who is new has to wait for it.
    assert_eq!(home.ask_film(&home.owner()).await.status, 503);
    outage.end().await;
    let sql = home.host.sql().await;
    let alive = "select count(*) from stream.sessions where ended_at is null and seen_at > admitted_at + interval '3 seconds'";
    eventually("its place is its own again", async || {
        let _ = home.beat(&player).await.expect_status(200);
        (crate::stage::count(&sql, alive).await == 1).then_some(())
    })
    .await;
    home.host.stop().await;
}
