//! Time for watching, and what happens when there is none left.

use nself_plugin_api::{prelude::Role, serde_json::json};

use super::home::{Home, Person};

/// A member with such controls.
async fn guarded(home: &Home, column: &str, value: &str) -> Person {
    let person = home.person(Role::YouthMember).await;
    let set = format!(
        "insert into public.parental_controls (family_id, member_id, {column}) values ($1, $2, {value})"
    );
    home.change(&set, &[home.id, person.member]).await;
    person
}

#[tokio::test]
async fn who_has_used_up_the_day_s_minutes_stops_and_is_told_when_there_are_more() {
    let home = Home::new().await;
    let person = guarded(&home, "screen_minutes_daily", "2").await;
    let player = home.play(&person.token).await;
    // An hour of today or tomorrow, whenever midnight comes.
    let watch = "insert into stream.watched (family_id, watcher_id, hour, milliseconds) \
        values ($1, $2, now() + interval '12 hours', 120000)";
    home.change(watch, &[home.id, person.id]).await;
    assert_eq!(home.end_of(player.session).await, "screen_minutes_daily");
    let refused = home.ask_film(&person.token).await.expect_status(403);
    assert_eq!(refused.code(), "STREAM_QUOTA");
    let details = refused.json()["details"].take();
    assert_eq!(
        (&details["reason"], &details["limit"]),
        (&json!("screen_minutes_daily"), &json!(2))
    );
    let after = details["retry_after"].as_u64().expect("seconds");
    assert!((1..=86_400).contains(&after), "{details}");
    // Others of the family have their own.
    let _ = home.play(&home.owner()).await;
    home.host.stop().await;
}

#[tokio::test]
async fn nobody_watches_at_bedtime() {
    let home = Home::new().await;
    // Wherever the clock is, this lies around it, also over midnight.
    let around = "(now() at time zone 'UTC')::time - interval '1 hour', (now() at time zone 'UTC')::time + interval '1 hour'";
    let person = guarded(&home, "bedtime_from, bedtime_until", around).await;
    let refused = home.ask_film(&person.token).await.expect_status(403);
    let details = refused.json()["details"].take();
    assert_eq!(details["reason"], "bedtime");
    let after = details["retry_after"].as_u64().expect("seconds");
    assert!((1..=3_600).contains(&after), "{details}");
    let apart = "(now() at time zone 'UTC')::time + interval '2 hours', (now() at time zone 'UTC')::time + interval '3 hours'";
    let other = guarded(&home, "bedtime_from, bedtime_until", apart).await;
    let _ = home.play(&other.token).await;
    home.host.stop().await;
}

#[tokio::test]
async fn a_family_watches_as_much_in_a_month_as_its_operator_says() {
    let home = Home::new().await;
    let person = home.person(Role::AdultMember).await;
    let player = home.play(&person.token).await;
    let limit = "update public.family_quotas set stream_minutes_monthly = 1 where family_id = $1";
    home.change(limit, &[home.id]).await;
    // A zone that no server knows is none: the month is then counted by UTC.
    let zone = "update public.family_settings set timezone = 'Nowhere/Land' where family_id = $1";
    home.change(zone, &[home.id]).await;
    let watch = "insert into stream.watched (family_id, watcher_id, hour, milliseconds) values ($1, $2, now() + interval '12 hours', 60000)";
    home.change(watch, &[home.id, home.owner]).await;
    assert_eq!(home.end_of(player.session).await, "stream_minutes_monthly");
    let refused = home.ask_film(&home.owner()).await.expect_status(403);
    assert_eq!(
        refused.json()["details"]["reason"],
        "stream_minutes_monthly"
    );
    home.host.stop().await;
}
