//! More sign-ins than the host can hash.

use futures_util::future::join_all;

use super::{PASSWORD, Stage};

/// More than one thread and the queue before it hold, on however many cores.
const CROWD: usize = 250;

#[tokio::test]
async fn a_crowd_at_the_door_is_told_to_come_again_and_keeps_nobody_from_what_needs_no_hash() {
    let stage = Stage::with(
        "[plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 1000000\ntries_per_account = 1000000",
    )
    .await;
    let ada = stage.person("ada@example.org").await;
    // Half of them are nobody's: that there is no account does not get an answer sooner.
    let emails = ["ada@example.org", "nobody@example.org"].into_iter();
    let crowd = emails
        .cycle()
        .take(CROWD)
        .map(|email| stage.login(email, "not the password"));
    let beside = async || stage.get_as(&ada, "/auth/me").send().await.status;
    let (answers, beside) = tokio::join!(join_all(crowd), beside());
    assert_eq!(beside, 200);
    let (refused, tried): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 503);
    assert!(!refused.is_empty() && !tried.is_empty());
    for answer in refused {
        assert_eq!(answer.code(), "HASH_QUEUE_FULL");
        let pause = answer.headers["retry-after"].to_str().expect("a number");
        assert!(pause.parse::<u32>().expect("of seconds") > 0);
    }
    for answer in tried {
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}
