//! Beginning without an account, and keeping what came of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nself_plugin_testkit::{LIMIT, TestClock, TestHost, eventually};
use serde_json::{Value, json};

use crate::household::id_of;
use crate::stage::{PASSWORD, Session, Stage};

const ALLOWED: &str = "[plugins.auth.config]\nanonymous_sign_in = true";
const ALLOWED_AND_OPEN: &str =
    "[plugins.auth.config]\nanonymous_sign_in = true\nsign_up = \"open\"";

async fn somebody(stage: &Stage) -> Session {
    let begun = stage.post("/auth/anonymous", &json!({})).await;
    Session(begun.expect_status(201).data())
}

fn given(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD})
}

#[tokio::test]
async fn nobody_begins_without_an_account_unless_that_is_allowed() {
    let stage = Stage::set().await;
    let refused = stage.post("/auth/anonymous", &json!({})).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (403, "ANONYMOUS_DISABLED")
    );
    stage.host.stop().await;
    let closed = format!("{ALLOWED}\nsign_up = \"closed\"");
    let stage = Stage::with(&closed).await;
    let refused = stage.post("/auth/anonymous", &json!({})).await;
    assert_eq!((refused.status, &*refused.code()), (403, "SIGN_UP_CLOSED"));
    stage.host.stop().await;
}

#[tokio::test]
async fn an_anonymous_account_keeps_its_id_when_its_address_is_proved() {
    let stage = Stage::with(ALLOWED).await;
    let session = somebody(&stage).await;
    let user = &session.0["user"];
    assert_eq!(
        (&user["is_anonymous"], &user["email"]),
        (&json!(true), &json!(null))
    );
    let path = "/auth/anonymous/upgrade";
    let asked = stage
        .post_as(&session, path, &given("ada@example.org"))
        .await;
    let _ = asked.expect_status(202);
    let me = stage.get_as(&session, "/auth/me").send().await;
    let me = me.expect_status(200).data();
    assert_eq!(me["user"]["is_anonymous"], true, "nothing is proved yet");
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(401);
    let token = stage.mailed_token("ada@example.org", "verify-email").await;
    let proved = stage
        .post("/auth/verify-email", &json!({"token": token}))
        .await;
    let proved = Session(proved.expect_status(200).data());
    assert_eq!(proved.0["user"]["id"], user["id"]);
    assert_eq!(proved.0["user"]["is_email_verified"], true);
    assert_eq!(proved.0["user"]["is_anonymous"], false);
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    eventually("whoever began it is out", async || {
        let answer = stage.get_as(&session, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let again = stage
        .post_as(&proved, path, &given("eve@example.org"))
        .await;
    assert_eq!(
        (again.status, &*again.code()),
        (409, "ACCOUNT_NOT_ANONYMOUS")
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn where_sign_up_is_open_an_upgrade_counts_at_once() {
    let stage = Stage::with(ALLOWED_AND_OPEN).await;
    stage.person("bob@example.org").await;
    let session = somebody(&stage).await;
    let path = "/auth/anonymous/upgrade";
    let taken = stage
        .post_as(&session, path, &given("bob@example.org"))
        .await;
    assert_eq!((taken.status, &*taken.code()), (409, "EMAIL_TAKEN"));
    let upgraded = stage
        .post_as(&session, path, &given("ada@example.org"))
        .await;
    assert_eq!(upgraded.expect_status(200).data()["status"], "upgraded");
    let signed_in = stage.login("ada@example.org", PASSWORD).await;
    let signed_in = signed_in.expect_status(200).data();
    assert_eq!(signed_in["user"]["id"], session.0["user"]["id"]);
    assert_eq!(signed_in["user"]["is_email_verified"], false);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_taken_address_is_answered_like_a_free_one() {
    let stage = Stage::with(ALLOWED).await;
    stage.person("bob@example.org").await;
    let session = somebody(&stage).await;
    let path = "/auth/anonymous/upgrade";
    let free = stage
        .post_as(&session, path, &given("ada@example.org"))
        .await;
    let taken = stage
        .post_as(&session, path, &given("bob@example.org"))
        .await;
    assert_eq!((taken.status, taken.text()), (free.status, free.text()));
    let _ = stage
        .login("bob@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn of_two_anonymous_accounts_that_prove_one_address_the_first_gets_it() {
    let stage = Stage::with(ALLOWED).await;
    let path = "/auth/anonymous/upgrade";
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let session = somebody(&stage).await;
        let asked = stage
            .post_as(&session, path, &given("ada@example.org"))
            .await;
        let _ = asked.expect_status(202);
        let known = tokens.clone();
        tokens.push(
            stage
                .another_token("ada@example.org", "verify-email", &known)
                .await,
        );
    }
    let prove = async |token: &String| {
        let answer = stage
            .post("/auth/verify-email", &json!({"token": token}))
            .await;
        answer.status
    };
    let answers = [prove(&tokens[0]).await, prove(&tokens[1]).await];
    assert_eq!(answers, [200, 401]);
    stage.host.stop().await;
}

#[tokio::test]
async fn what_needs_somebody_who_can_come_back_is_closed_to_the_anonymous() {
    let stage = Stage::with(ALLOWED).await;
    let session = somebody(&stage).await;
    for (path, body) in [
        ("/auth/tokens", json!({"name": "backup"})),
        ("/auth/password/change", json!({"password": PASSWORD})),
    ] {
        let refused = stage.post_as(&session, path, &body).await;
        let got = (refused.status, refused.code());
        assert_eq!(got, (403, "ACCOUNT_ANONYMOUS".to_owned()), "{path}");
    }
    let nobody = stage
        .post("/auth/anonymous/upgrade", &given("ada@example.org"))
        .await;
    assert_eq!(nobody.status, 401);
    stage.host.stop().await;
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A host whose unused accounts end after five days, and its clock.
async fn short_lived() -> (Stage, Arc<TestClock>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.expect("it is after 1970").as_micros());
    let clock = Arc::new(TestClock::new(now.expect("a time")));
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .config("[plugins.mail.listen]\n1025 = 0")
        .config(ALLOWED_AND_OPEN)
        .config("[plugins.auth.config]\nanonymous_days = 5")
        .clock(Arc::clone(&clock));
    let stage = Stage {
        host: host.start().await,
    };
    (stage, clock)
}

/// Tasks run when their plugin starts.
pub(crate) async fn sweep(stage: &Stage) {
    let registry = stage.host.registry();
    let disabled = registry.disable("auth", LIMIT, false).await;
    let _ = disabled.expect("nobody needs it");
    let enabled = registry.enable("auth").await;
    let _ = enabled.expect("it starts again");
}

async fn status_of(stage: &Stage, session: &Session) -> String {
    let sql = stage.host.sql().await;
    let status = "select status from public.users where id::text = $1";
    let row = sql.query_one(status, &[&session.user_id()]).await;
    row.expect("the account is there").get(0)
}

#[tokio::test]
async fn an_anonymous_account_that_nobody_uses_is_deleted() {
    let (stage, clock) = short_lived().await;
    let (forgotten, used) = (somebody(&stage).await, somebody(&stage).await);
    let alone = somebody(&stage).await;
    let family = json!({"name": "Of one"});
    let family = stage.post_as(&alone, "/auth/families", &family).await;
    let family = id_of(&family.expect_status(201).data());
    let named = stage.person("ada@example.org").await;
    clock.advance(3 * DAY);
    let used = Session(
        stage
            .refresh(used.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    clock.advance(3 * DAY);
    sweep(&stage).await;
    for gone in [&forgotten, &alone] {
        eventually("an unused account is deleted", async || {
            (status_of(&stage, gone).await == "deleted").then_some(())
        })
        .await;
        let _ = stage.refresh(gone.refresh()).await.expect_status(401);
    }
    assert_eq!(stage.told(&family, "family.deleted").await, (1, 1));
    for kept in [&used, &named] {
        assert_eq!(status_of(&stage, kept).await, "active");
    }
    let sql = stage.host.sql().await;
    let told = "select count(*) from nself.audit_log where action = 'auth.account_deleted' and actor = 'auth.sweep'";
    let told: i64 = sql.query_one(told, &[]).await.expect("it reads").get(0);
    assert_eq!(told, 2);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_unused_account_stays_while_others_are_in_its_family() {
    let (stage, clock) = short_lived().await;
    let (owner, forgotten) = (somebody(&stage).await, somebody(&stage).await);
    let family = stage
        .post_as(&owner, "/auth/families", &json!({"name": "Of two"}))
        .await;
    let family = id_of(&family.expect_status(201).data());
    let owner = stage.switch(&owner, &family).await;
    stage
        .member("ada@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    clock.advance(6 * DAY);
    sweep(&stage).await;
    eventually("the other account is deleted", async || {
        (status_of(&stage, &forgotten).await == "deleted").then_some(())
    })
    .await;
    assert_eq!(status_of(&stage, &owner).await, "active");
    stage.host.stop().await;
}
