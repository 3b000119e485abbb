//! Schedules over HTTP.

use nself_plugin_api::prelude::Role;
use serde_json::json;
use uuid::Uuid;

use crate::stage::{act, count, create, host, make_due, nothing, outcomes, show, until_outcomes};

#[tokio::test]
async fn a_schedule_is_made_shown_changed_and_removed() {
    let host = host().await;
    let made = create(
        &host,
        "nightly",
        "30 2 * * *",
        nothing(),
        json!({"zone": "America/New_York"}),
    )
    .await;
    assert_eq!(
        (&made["state"], &made["owner"]),
        (&json!("active"), &json!("api"))
    );
    assert_eq!(made["next"].as_array().map(Vec::len), Some(10));
    let body =
        json!({"name": "nightly", "spec": "@every 90s", "target": nothing(), "comment": "faster"});
    let answer = host
        .put("/v1/schedules/nightly")
        .operator()
        .json(&body)
        .send()
        .await;
    assert_eq!(answer.expect_status(200).data()["comment"], "faster");
    let twice = host
        .post("/v1/schedules")
        .operator()
        .json(&body)
        .send()
        .await;
    assert_eq!(
        (twice.status, twice.code().as_str()),
        (409, "SCHEDULE_EXISTS")
    );
    let removed = host.delete("/v1/schedules/nightly").operator().send().await;
    assert_eq!(removed.status, 204);
    let gone = host.get("/v1/schedules/nightly").operator().send().await;
    assert_eq!(
        (gone.status, gone.code().as_str()),
        (404, "SCHEDULE_NOT_FOUND")
    );
    let sql = host.sql().await;
    let noted = "select count(*) from nself.audit_log where action in ('scheduler.created', 'scheduler.changed', 'scheduler.removed')";
    assert_eq!(count(&sql, noted).await, 3);
    host.stop().await;
}

#[tokio::test]
async fn nobody_but_an_operator_and_services_with_the_scope_gets_near() {
    let host = host().await;
    create(&host, "nightly", "@daily", nothing(), json!({})).await;
    for path in [
        "/v1/schedules",
        "/v1/schedules/nightly",
        "/v1/schedules/nightly/fires",
    ] {
        assert_eq!(host.get(path).send().await.status, 401, "{path}");
        let owner = host
            .get(path)
            .role(Role::Owner, Uuid::now_v7())
            .send()
            .await;
        assert_eq!(owner.status, 403, "{path}");
    }
    host.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_said_and_where() {
    let host = host().await;
    for (body, code, words) in [
        (
            json!({"name": "a", "spec": "61 * * * *", "target": nothing()}),
            "SCHEDULE_SPEC",
            "minute",
        ),
        (
            json!({"name": "a", "spec": "@daily", "zone": "Mars/Olympus", "target": nothing()}),
            "SCHEDULE_SPEC",
            "time zone",
        ),
        (
            json!({"name": "a b", "spec": "@daily", "target": nothing()}),
            "SCHEDULE_INVALID",
            "name",
        ),
        (
            json!({"name": "a", "spec": "@daily", "target": nothing(), "missed_max": 0}),
            "SCHEDULE_INVALID",
            "missed_max",
        ),
        (
            json!({"name": "a", "spec": "@daily", "target": {"workflow": {}}}),
            "SCHEDULE_TARGET",
            "namespace",
        ),
    ] {
        let answer = host
            .post("/v1/schedules")
            .operator()
            .json(&body)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (422, code),
            "{body}"
        );
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    host.stop().await;
}

#[tokio::test]
async fn a_paused_schedule_says_who_and_why_and_nothing_of_the_pause_is_made_up_for() {
    let host = host().await;
    let sql = host.sql().await;
    create(
        &host,
        "nightly",
        "0 0 1 1 *",
        nothing(),
        json!({"missed": "all"}),
    )
    .await;
    let paused = act(
        &host,
        "nightly",
        "pause",
        json!({"reason": "the cellar is flooded"}),
    )
    .await;
    assert_eq!(
        (&paused["state"], &paused["pause_reason"]),
        (&json!("paused"), &json!("the cellar is flooded"))
    );
    assert!(paused["paused_by"].is_string());
    make_due(&sql, "nightly").await;
    // It fires twice, whether the job of the first time has ended or not.
    let more = json!({"overlap": "allow"});
    create(&host, "other", "0 0 1 1 *", nothing(), more).await;
    make_due(&sql, "other").await;
    until_outcomes(&sql, "other", &["fired"]).await;
    let resumed = act(&host, "nightly", "resume", json!({})).await;
    assert_eq!(resumed["state"], "active");
    make_due(&sql, "other").await;
    until_outcomes(&sql, "other", &["fired", "fired"]).await;
    assert!(outcomes(&sql, "nightly").await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_window_is_backfilled_once_and_a_dry_run_only_says_so() {
    let host = host().await;
    let sql = host.sql().await;
    // Each hour of one day of the year: none of them comes while the test runs.
    create(&host, "hourly", "0 * 1 1 *", nothing(), json!({})).await;
    let window = |dry_run| json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T05:00:00Z", "dry_run": dry_run});
    let tried = act(&host, "hourly", "backfill", window(true)).await;
    assert_eq!(
        (tried["times"].as_array().map(Vec::len), &tried["fired"]),
        (Some(6), &json!(0))
    );
    assert_eq!(
        act(&host, "hourly", "backfill", window(false)).await["fired"],
        6
    );
    let again = act(&host, "hourly", "backfill", window(false)).await;
    assert_eq!(
        (again["times"].as_array().map(Vec::len), &again["fired"]),
        (Some(0), &json!(0))
    );
    assert_eq!(outcomes(&sql, "hourly").await, ["fired"; 6]);
    let payloads = "select count(distinct meta ->> 'scheduled_at') from jobs.jobs where meta ->> 'scheduled_at' like '2026-01-01T0_:00:00.000000Z'";
    assert_eq!(count(&sql, payloads).await, 6);
    let future = json!({"from": "2026-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"});
    let answer = host
        .post("/v1/schedules/hourly/backfill")
        .operator()
        .json(&future)
        .send()
        .await;
    assert_eq!(answer.code(), "SCHEDULE_WINDOW");
    host.stop().await;
}

#[tokio::test]
async fn a_run_by_hand_stands_in_the_history_and_moves_nothing() {
    let host = host().await;
    let made = create(&host, "nightly", "0 0 1 1 *", nothing(), json!({})).await;
    let ran = act(&host, "nightly", "run", json!({})).await;
    assert_eq!(ran["next"][0], made["next"][0]);
    let answer = host
        .get("/v1/schedules/nightly/fires")
        .operator()
        .send()
        .await;
    let fires = answer.expect_status(200).data();
    assert_eq!(
        (&fires[0]["origin"], &fires[0]["outcome"]),
        (&json!("manual"), &json!("fired"))
    );
    assert_eq!(
        fires[0]["job_id"],
        show(&host, "nightly").await["last_job_id"]
    );
    host.stop().await;
}

#[tokio::test]
async fn a_preview_shows_the_night_on_which_clocks_are_put_forward() {
    let host = host().await;
    let body = json!({"spec": "30 2 * * *", "zone": "America/New_York", "after": "2026-03-07T12:00:00Z", "count": 2});
    let answer = host
        .post("/v1/scheduler/preview")
        .operator()
        .json(&body)
        .send()
        .await;
    let next = answer.expect_status(200).data()["next"].clone();
    assert_eq!(next[0]["local"], "2026-03-08T03:00:00-04:00");
    assert_eq!(next[1]["local"], "2026-03-09T02:30:00-04:00");
    host.stop().await;
}
