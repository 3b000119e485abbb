//! Refresh tokens: one successor, a grace for lost answers, and the end for who copies one.

use nself_plugin_testkit::eventually;
use serde_json::json;

use crate::stage::{Session, Stage};

#[tokio::test]
async fn of_ten_at_once_all_get_the_one_successor_and_nobody_is_signed_out() {
    let stage = Stage::open().await;
    let mut token = stage.person("ada@example.org").await.refresh().to_owned();
    for _ in 0..5 {
        let ten = (0..10).map(|_| stage.refresh(&token));
        let successors: Vec<String> = futures_util::future::join_all(ten)
            .await
            .into_iter()
            .map(|answer| {
                Session(answer.expect_status(200).data())
                    .refresh()
                    .to_owned()
            })
            .collect();
        assert!(
            successors.iter().all(|one| *one == successors[0]),
            "the chain does not fork"
        );
        assert_ne!(successors[0], token);
        token.clone_from(&successors[0]);
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_given_again_and_later_the_session_ends() {
    let stage = Stage::open().await;
    let first = stage.person("ada@example.org").await;
    let second = Session(
        stage
            .refresh(first.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let again = Session(
        stage
            .refresh(first.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_eq!(again.refresh(), second.refresh());
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.sessions set rotated_at = rotated_at - interval '31 seconds'")
        .await
        .expect("time passes");
    let reused = stage.refresh(first.refresh()).await.expect_status(401);
    assert_eq!(reused.code(), "REFRESH_TOKEN_REUSED");
    let ended = stage.refresh(second.refresh()).await.expect_status(401);
    assert_eq!(ended.code(), "SESSION_REVOKED");
    eventually("the access token ends", async || {
        let answer = stage.get_as(&second, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let audited = "select count(*) from nself.audit_log where action = 'auth.refresh_reused'";
    let audited: i64 = sql
        .query_one(audited, &[])
        .await
        .expect("the log reads")
        .get(0);
    assert_eq!(audited, 1);
    assert!(!stage.mail("ada@example.org", "Subject:").await.is_empty());
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_forged_token_does_not_reach_the_database() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let outage = stage.host.database_away().await;
    for token in [
        "",
        "rt1.",
        "rt1.AAAA",
        &format!("{}A", session.refresh()),
        &"x".repeat(200),
    ] {
        let refused = stage.refresh(token).await;
        assert_eq!(refused.status, 401, "{token}: {}", refused.text());
    }
    let honest = stage.refresh(session.refresh()).await;
    assert_eq!(honest.status, 503, "{}", honest.text());
    outage.end().await;
    let back = eventually("the database is back", async || {
        let answer = stage.refresh(session.refresh()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert!(back.data()["refresh_token"].is_string());
    stage.host.stop().await;
}

#[tokio::test]
async fn a_family_is_chosen_by_a_refresh_and_only_one_of_ones_own() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    assert_eq!(session.0["role"], json!(null));
    let sql = stage.host.sql().await;
    let user: uuid::Uuid = session.0["user"]["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a uuid");
    let mut families = Vec::new();
    for role in ["OWNER", "CHILD_MEMBER"] {
        let made = "with f as (insert into public.families (name) values ('f') returning id), \
             o as (insert into public.users (display_name) values ('other') returning id), \
             w as (insert into public.family_members (family_id, user_id, role) select f.id, o.id, 'OWNER' from f, o) \
             insert into public.family_members (family_id, user_id, role) select id, $1, $2 from f returning family_id";
        let row = sql
            .query_one(made, &[&user, &role])
            .await
            .expect("a family is made");
        families.push(row.get::<_, uuid::Uuid>(0));
    }
    let choose = async |token: &str, family: uuid::Uuid| {
        let body = json!({"refresh_token": token, "family_id": family});
        stage.post("/auth/refresh", &body).await
    };
    let owner = Session(
        choose(session.refresh(), families[0])
            .await
            .expect_status(200)
            .data(),
    );
    let child = Session(
        choose(owner.refresh(), families[1])
            .await
            .expect_status(200)
            .data(),
    );
    for (session, role, family) in [
        (&owner, "OWNER", families[0]),
        (&child, "CHILD_MEMBER", families[1]),
    ] {
        let hasura = session.claims()["https://hasura.io/jwt/claims"].take();
        assert_eq!(hasura["x-hasura-allowed-roles"], json!([role, "user"]));
        assert_eq!(hasura["x-hasura-family-id"], json!(family));
    }
    let foreign = choose(child.refresh(), uuid::Uuid::now_v7()).await;
    assert_eq!(
        (foreign.status, &*foreign.code()),
        (404, "FAMILY_NOT_FOUND")
    );
    let _ = stage.refresh(child.refresh()).await.expect_status(200);
    drop(sql);
    stage.host.stop().await;
}

/// How long a session's access tokens are good for: of so many that were made at once, in seconds.
async fn lifetimes(stage: &Stage, session: &Session, count: usize) -> Vec<i64> {
    let sql = stage.host.sql().await;
    // A fresh proof of who one is ends sooner, and a token that tells of it with it.
    sql.batch_execute("update auth.sessions set elevated_until = null")
        .await
        .expect("time passes");
    let mut session = session.clone();
    let mut lifetimes = Vec::new();
    for _ in 0..count {
        let next = stage.refresh(session.refresh()).await.expect_status(200);
        session = Session(next.data());
        let claims = session.claims();
        let time = |name: &str| claims[name].as_i64().expect("a time");
        let lifetime = time("exp") - time("iat");
        let told = session.0["expires_in"].as_i64().expect("a number");
        assert!((lifetime - told).abs() <= 1, "{lifetime} and {told}");
        lifetimes.push(lifetime);
    }
    lifetimes
}

#[tokio::test]
async fn tokens_end_after_five_minutes_or_fifteen_by_role_and_not_all_at_the_same_time() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let admin = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    let adult = stage
        .member("cleo@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let alone = stage.person("dan@example.org").await;
    for (session, most) in [(owner, 300), (admin, 300), (adult, 900), (alone, 900)] {
        let lifetimes = lifetimes(&stage, &session, 20).await;
        // Of times that are cut to seconds.
        let possible = most * 19 / 20 - 1..=most + 1;
        assert!(
            lifetimes.iter().all(|one| possible.contains(one)),
            "{lifetimes:?}"
        );
        // By chance all twenty are alike once in 15^19.
        assert!(
            lifetimes.iter().any(|one| *one != lifetimes[0]),
            "{lifetimes:?}"
        );
    }
    stage.host.stop().await;
}
