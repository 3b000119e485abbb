//! What every store does.

use std::{collections::HashSet, time::Instant};

use nself_plugin_api::abi::{bytes::OptBytes, capability::kv::Take};
use tokio::task::JoinSet;

use super::{Fixture, assert_code, bytes, text, until};

/// Clients at once in the races.
const CLIENTS: usize = 50;

/// No time to live.
const FOREVER: u64 = 0;

/// Longer than a test.
const HOUR_MS: u64 = 3_600_000;

/// One test per behaviour and store.
macro_rules! on_every_store {
    ($($behaviour:ident)*) => {
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                if let Some(fixture) = super::Fixture::redis().await {
                    super::$behaviour(fixture).await;
                }
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                if let Some(fixture) = super::Fixture::postgres().await {
                    super::$behaviour(fixture).await;
                }
            })*
        }
    };
}

on_every_store! {
    a_value_is_kept_replaced_and_removed
    plugins_do_not_see_each_other
    a_value_dies_with_its_time
    the_time_to_live_can_be_set_and_lifted
    a_counter_counts_and_keeps_its_first_time_to_live
    a_counter_of_something_else_is_refused
    compare_and_set_decides_on_the_whole_value
    a_bucket_gives_what_it_has_and_fills_up
    a_bucket_is_no_value
    what_is_too_large_is_refused
    increments_of_many_clients_all_count
    one_client_wins_a_compare_and_set
    a_bucket_never_gives_too_much
}

async fn a_value_is_kept_replaced_and_removed(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    assert_eq!(text(&kv, "a").await, None);
    kv.set("a".into(), bytes("one"), FOREVER).await.unwrap();
    kv.set("a".into(), bytes("two"), FOREVER).await.unwrap();
    assert_eq!(text(&kv, "a").await.as_deref(), Some("two"));
    assert_eq!(kv.delete("a".into()).await.unwrap(), 1);
    assert_eq!(kv.delete("a".into()).await.unwrap(), 0);
    assert_eq!(text(&kv, "a").await, None);

    kv.set("empty".into(), bytes(""), FOREVER).await.unwrap();
    assert_eq!(
        text(&kv, "empty").await.as_deref(),
        Some(""),
        "empty is not absent"
    );
}

async fn plugins_do_not_see_each_other(fixture: Fixture) {
    let (notes, mail) = (fixture.plugin("notes"), fixture.plugin("mail"));
    notes.set("a".into(), bytes("mine"), FOREVER).await.unwrap();
    assert_eq!(text(&mail, "a").await, None);
    assert_eq!(text(&mail, "notes:a").await, None);
    assert_eq!(mail.delete("a".into()).await.unwrap(), 0);
    assert_eq!(text(&notes, "a").await.as_deref(), Some("mine"));
}

async fn a_value_dies_with_its_time(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    kv.set("a".into(), bytes("x"), 30).await.unwrap();
    kv.set("stays".into(), bytes("x"), HOUR_MS).await.unwrap();
    until("the value expires", async || text(&kv, "a").await.is_none()).await;
    assert_eq!(
        kv.delete("a".into()).await.unwrap(),
        0,
        "what has expired cannot be removed"
    );
    assert_eq!(
        kv.expire("a".into(), HOUR_MS).await.unwrap(),
        0,
        "nor be given more time"
    );

    kv.increment("n".into(), 5, 30).await.unwrap();
    until("the counter expires", async || {
        text(&kv, "n").await.is_none()
    })
    .await;
    assert_eq!(
        kv.increment("n".into(), 1, FOREVER).await.unwrap(),
        1,
        "an expired counter starts at 0"
    );
    assert_eq!(
        fixture.store.sweep(100).await.unwrap_or_default(),
        0,
        "all that expired has been removed or replaced"
    );
    assert_eq!(text(&kv, "stays").await.as_deref(), Some("x"));
}

async fn the_time_to_live_can_be_set_and_lifted(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    assert_eq!(kv.expire("a".into(), HOUR_MS).await.unwrap(), 0);
    kv.set("a".into(), bytes("x"), FOREVER).await.unwrap();
    assert_eq!(
        kv.expire("a".into(), FOREVER).await.unwrap(),
        1,
        "there is a value, with or without an end"
    );
    kv.set("b".into(), bytes("x"), 2000).await.unwrap();
    assert_eq!(kv.expire("b".into(), FOREVER).await.unwrap(), 1);
    assert_eq!(kv.expire("a".into(), 60).await.unwrap(), 1);
    until("the value expires", async || text(&kv, "a").await.is_none()).await;
    assert_eq!(text(&kv, "b").await.as_deref(), Some("x"));

    kv.set("c".into(), bytes("x"), 30).await.unwrap();
    kv.set("c".into(), bytes("y"), FOREVER).await.unwrap();
    kv.set("d".into(), bytes("x"), u64::MAX).await.unwrap();
    kv.set("e".into(), bytes("x"), 40).await.unwrap();
    until("a later value expires", async || {
        text(&kv, "e").await.is_none()
    })
    .await;
    assert_eq!(
        text(&kv, "c").await.as_deref(),
        Some("y"),
        "a new value has its own time"
    );
    assert_eq!(
        text(&kv, "d").await.as_deref(),
        Some("x"),
        "the longest time is no error"
    );
}

async fn a_counter_counts_and_keeps_its_first_time_to_live(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    assert_eq!(kv.increment("n".into(), 5, 500).await.unwrap(), 5);
    assert_eq!(kv.increment("n".into(), -7, HOUR_MS).await.unwrap(), -2);
    assert_eq!(text(&kv, "n").await.as_deref(), Some("-2"));
    until("the counter expires in its first time", async || {
        text(&kv, "n").await.is_none()
    })
    .await;

    kv.set("big".into(), bytes("9007199254740993"), FOREVER)
        .await
        .unwrap();
    assert_eq!(
        kv.increment("big".into(), 2, FOREVER).await.unwrap(),
        9_007_199_254_740_995,
        "exact beyond 2^53"
    );
}

async fn a_counter_of_something_else_is_refused(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    for value in [
        "",
        "x",
        "1.5",
        " 1",
        "01",
        "+1",
        "-0",
        "1e3",
        "9223372036854775808",
        "\u{0}1",
        "\u{e9}",
    ] {
        kv.set("a".into(), bytes(value), FOREVER).await.unwrap();
        assert_code(
            kv.increment("a".into(), 1, FOREVER).await,
            "KV_NOT_A_NUMBER",
        );
        assert_eq!(
            text(&kv, "a").await.as_deref(),
            Some(value),
            "it is left as it was"
        );
    }
    kv.set("a".into(), bytes(&i64::MAX.to_string()), FOREVER)
        .await
        .unwrap();
    assert_code(
        kv.increment("a".into(), 1, FOREVER).await,
        "KV_NOT_A_NUMBER",
    );
    kv.set("a".into(), bytes(&i64::MIN.to_string()), FOREVER)
        .await
        .unwrap();
    assert_eq!(
        kv.increment("a".into(), i64::MAX, FOREVER).await.unwrap(),
        -1
    );
}

async fn compare_and_set_decides_on_the_whole_value(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    let some = |text: &str| OptBytes::from(Some(bytes(text)));
    let none = OptBytes::default;
    for (expected, value, done, left) in [
        (some("x"), some("y"), 0, None),
        (some("x"), none(), 0, None),
        (none(), none(), 1, None),
        (none(), some("one"), 1, Some("one")),
        (none(), some("two"), 0, Some("one")),
        (none(), none(), 0, Some("one")),
        (some("on"), some("two"), 0, Some("one")),
        (some("one"), some("two"), 1, Some("two")),
        (some("one"), none(), 0, Some("two")),
        (some("two"), none(), 1, None),
        (none(), some(""), 1, Some("")),
        (some(""), some("end"), 1, Some("end")),
    ] {
        let asked = format!("{expected:?} -> {value:?}");
        assert_eq!(
            kv.compare_and_set("a".into(), expected, value, FOREVER)
                .await
                .unwrap(),
            done,
            "{asked}"
        );
        assert_eq!(text(&kv, "a").await.as_deref(), left, "{asked}");
    }

    kv.set("b".into(), bytes("old"), 20).await.unwrap();
    until("the value expires", async || text(&kv, "b").await.is_none()).await;
    assert_eq!(
        kv.compare_and_set("b".into(), some("old"), some("new"), FOREVER)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        kv.compare_and_set("b".into(), none(), some("new"), 30)
            .await
            .unwrap(),
        1,
        "expired is absent"
    );
    until("its time to live counts", async || {
        text(&kv, "b").await.is_none()
    })
    .await;
}

async fn a_bucket_gives_what_it_has_and_fills_up(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    let take =
        async |key: &str, period_ms, cost| kv.take(key.into(), 10, period_ms, cost).await.unwrap();
    assert_eq!(
        take("a", HOUR_MS, 0).await,
        Take {
            allowed: 1,
            remaining: 10,
            retry_ms: 0
        },
        "looking is free"
    );
    assert_eq!(
        take("a", HOUR_MS, 7).await,
        Take {
            allowed: 1,
            remaining: 3,
            retry_ms: 0
        }
    );
    let refused = take("a", HOUR_MS, 4).await;
    assert_eq!((refused.allowed, refused.remaining), (0, 3));
    assert!(
        (350_000..=360_000).contains(&refused.retry_ms),
        "a tenth of the hour: {refused:?}"
    );
    assert_eq!(
        take("a", HOUR_MS, 3).await.remaining,
        0,
        "a refusal costs nothing"
    );
    assert_eq!(kv.delete("a".into()).await.unwrap(), 1);
    assert_eq!(
        take("a", HOUR_MS, 10).await.allowed,
        1,
        "removed, it is full"
    );

    assert_eq!(take("b", 600, 10).await.allowed, 1);
    until("one token has come", async || {
        take("b", 600, 1).await.allowed == 1
    })
    .await;
    until("the bucket is full and expires", async || {
        text(&kv, "b").await.is_none()
    })
    .await;
    assert_eq!(
        take("b", 600, 10).await.allowed,
        1,
        "and holds no more than it can"
    );
    assert_eq!(take("b", 600, 10).await.allowed, 0);
    assert_code(kv.take("b".into(), 10, 200, 11).await, "KV_BUCKET_INVALID");
    assert_code(kv.take("b".into(), 0, 200, 0).await, "KV_BUCKET_INVALID");
}

async fn a_bucket_is_no_value(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    for value in ["", "12", "b", "b x y", "b 1 z 1"] {
        kv.set("a".into(), bytes(value), FOREVER).await.unwrap();
        assert_code(kv.take("a".into(), 10, 1000, 1).await, "KV_NOT_A_BUCKET");
    }
    kv.take("b".into(), 10, HOUR_MS, 1).await.unwrap();
    assert_code(
        kv.increment("b".into(), 1, FOREVER).await,
        "KV_NOT_A_NUMBER",
    );
}

async fn what_is_too_large_is_refused(fixture: Fixture) {
    let kv = fixture.plugin("notes");
    let (largest, longest) = ("v".repeat(1024 * 1024), "k".repeat(512));
    kv.set(longest.as_str().into(), bytes(&largest), FOREVER)
        .await
        .unwrap();
    assert_eq!(text(&kv, &longest).await.as_deref(), Some(largest.as_str()));

    let (large, long) = (format!("{largest}v"), format!("{longest}k"));
    assert_code(
        kv.set("a".into(), bytes(&large), FOREVER).await,
        "KV_VALUE_TOO_LARGE",
    );
    let value = OptBytes::from(Some(bytes(&large)));
    assert_code(
        kv.compare_and_set("a".into(), OptBytes::default(), value, FOREVER)
            .await,
        "KV_VALUE_TOO_LARGE",
    );
    let error = assert_code(kv.get(long.as_str().into()).await, "KV_KEY_TOO_LONG");
    assert!(
        !error.message.to_text().contains("kkk"),
        "keys are not in errors"
    );
    assert_code(kv.increment("".into(), 1, FOREVER).await, "KV_KEY_INVALID");
}

async fn increments_of_many_clients_all_count(fixture: Fixture) {
    let mut sums = JoinSet::new();
    for _ in 0..CLIENTS {
        let kv = fixture.plugin("notes");
        sums.spawn(async move { kv.increment("n".into(), 1, HOUR_MS).await.unwrap() });
    }
    let sums: HashSet<_> = sums.join_all().await.into_iter().collect();
    assert_eq!(sums, (1..=50).collect(), "each client saw a sum of its own");
}

async fn one_client_wins_a_compare_and_set(fixture: Fixture) {
    fixture
        .plugin("notes")
        .set("held".into(), bytes("free"), FOREVER)
        .await
        .unwrap();
    for (key, expected) in [("absent", None), ("held", Some("free"))] {
        let mut wins = JoinSet::new();
        for client in 0..CLIENTS {
            let kv = fixture.plugin("notes");
            wins.spawn(async move {
                let expected = expected.map(bytes).into();
                kv.compare_and_set(
                    key.into(),
                    expected,
                    Some(bytes(&client.to_string())).into(),
                    HOUR_MS,
                )
                .await
                .unwrap()
            });
        }
        assert_eq!(wins.join_all().await.iter().sum::<u32>(), 1, "{key}");
    }
}

async fn a_bucket_never_gives_too_much(fixture: Fixture) {
    let start = Instant::now();
    let mut given = JoinSet::new();
    for _ in 0..CLIENTS {
        let kv = fixture.plugin("notes");
        given.spawn(async move {
            let mut given = 0;
            for _ in 0..20 {
                given += kv.take("a".into(), 20, 1000, 1).await.unwrap().allowed;
            }
            given
        });
    }
    let given: u32 = given.join_all().await.iter().sum();
    let refilled = start.elapsed().as_secs_f64() * 20.0;
    assert!(given >= 20, "it gives what it has: {given}");
    assert!(
        f64::from(given) <= 20.0 + refilled,
        "{given} given, 20 held and {refilled} come meanwhile"
    );
}
