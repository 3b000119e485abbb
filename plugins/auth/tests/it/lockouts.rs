//! Somebody who cannot sign in calls who runs the house: what that one sees, and can do about it.

use nself_plugin_testkit::{Answer, eventually};
use serde_json::{Value, json};

use crate::stage::{PASSWORD, Stage};

const ADA: &str = "ada@example.org";

async fn operator(stage: &Stage, method: &str, path: &str) -> Answer {
    stage.host.request(method, path).operator().send().await
}

async fn lockouts(stage: &Stage) -> Vec<Value> {
    let list = operator(stage, "GET", "/auth/admin/lockouts").await;
    let list = list.expect_status(200).data();
    list.as_array().expect("a list").clone()
}

/// Guesses until nobody is asked any more.
async fn shut(stage: &Stage, email: &str) {
    eventually("the account is shut", async || {
        let guess = stage.login(email, "a wrong password").await;
        (guess.status == 429).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_shut_is_listed_and_opened_by_an_operator() {
    let stage = Stage::with(
        "[plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 1000\ntries_per_account = 1",
    )
    .await;
    let ada = stage.person(ADA).await;
    let bob = stage.person("bob@example.org").await;
    assert_eq!(lockouts(&stage).await, [json!(null); 0]);
    for email in [ADA, "bob@example.org", "nobody@example.org"] {
        shut(&stage, email).await;
    }
    let _ = stage.login(ADA, PASSWORD).await.expect_status(429);
    let listed = eventually("all three are listed", async || {
        let listed = lockouts(&stage).await;
        (listed.len() == 3).then_some(listed)
    })
    .await;
    let of = |email: &Value| listed.iter().find(|one| one["email"] == *email);
    let mine = of(&json!(ADA)).expect("the account is listed");
    assert_eq!(mine["user_id"], json!(ada.user_id()));
    assert_eq!(
        (&mine["way"], &mine["network"]),
        (&json!("sign-in"), &json!("127.0.0.1"))
    );
    let nobody = of(&json!(null)).expect("what has no account is one");
    assert_eq!(nobody["user_id"], json!(null));

    let path = format!("/auth/admin/lockouts/{}", ada.user_id());
    let _ = operator(&stage, "DELETE", &path).await.expect_status(200);
    let _ = stage.login(ADA, PASSWORD).await.expect_status(200);
    let _ = stage
        .login("bob@example.org", PASSWORD)
        .await
        .expect_status(429);
    let left = lockouts(&stage).await;
    assert!(
        left.iter()
            .all(|one| one["user_id"] != json!(ada.user_id())),
        "{left:?}"
    );
    assert_eq!(left.len(), 2);
    let audited = format!(
        "/auth/admin/audit?action=auth.lockout_lifted&user={}",
        ada.user_id()
    );
    let audited = operator(&stage, "GET", &audited)
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        audited["entries"][0]["actor"], "operator/operator",
        "{audited}"
    );
    assert_eq!(audited["entries"].as_array().map(Vec::len), Some(1));

    // It is counted anew, and told anew.
    shut(&stage, ADA).await;
    eventually("the account is listed again", async || {
        let listed = lockouts(&stage).await;
        (listed.len() == 3).then_some(())
    })
    .await;
    let missing = format!("/auth/admin/lockouts/{}", uuid::Uuid::now_v7());
    let nobody = operator(&stage, "DELETE", &missing).await;
    assert_eq!(nobody.code(), "USER_NOT_FOUND");
    let by_a_person = stage.host.delete(&path).token(bob.access()).send().await;
    assert_eq!(by_a_person.status, 403);
    stage.host.stop().await;
}
