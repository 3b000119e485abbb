//! Whatever may happen once happens once, also when everybody wants it at the same time.

use futures_util::future::join_all;
use nself_plugin_testkit::{Answer, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{PASSWORD, Session, Stage};

const AT_ONCE: usize = 10;

/// Of all who came with the same thing one got in, and the others were told that it is used.
#[track_caller]
fn one_won(what: &str, answers: &[Answer], won: u16, lost: (u16, &str)) {
    let winners = answers.iter().filter(|answer| answer.status == won);
    assert_eq!(winners.count(), 1, "{what}");
    for answer in answers.iter().filter(|answer| answer.status != won) {
        assert_eq!((answer.status, &*answer.code()), lost, "{what}");
    }
}

async fn all_at_once(stage: &Stage, path: &str, body: &Value) -> Vec<Answer> {
    join_all((0..AT_ONCE).map(|_| stage.post(path, body))).await
}

#[tokio::test]
async fn a_link_or_code_that_many_use_at_once_lets_one_in() {
    let stage = Stage::set().await;
    let used = (401, "CODE_INVALID");
    let account = json!({"email": "ada@example.org", "password": PASSWORD});
    let _ = stage
        .post("/auth/register", &account)
        .await
        .expect_status(202);
    let token = stage.mailed_token("ada@example.org", "verify-email").await;
    let path = "/auth/verify-email";
    one_won(
        path,
        &all_at_once(&stage, path, &json!({"token": token})).await,
        200,
        used,
    );

    let mailbox = json!({"email": "ada@example.org"});
    let _ = stage
        .post("/auth/magic-link/start", &mailbox)
        .await
        .expect_status(202);
    let token = stage
        .mailed_token("ada@example.org", "magic-link/verify")
        .await;
    let path = "/auth/magic-link/verify";
    one_won(
        path,
        &all_at_once(&stage, path, &json!({"token": token})).await,
        200,
        used,
    );

    let started = stage.post("/auth/otp/start", &mailbox).await;
    let flow = started.expect_status(202).data()["flow_id"].take();
    let code = stage.mailed_code("ada@example.org").await;
    let path = "/auth/otp/verify";
    let body = json!({"flow_id": flow, "code": code});
    one_won(path, &all_at_once(&stage, path, &body).await, 200, used);

    let _ = stage
        .post("/auth/password/forgot", &mailbox)
        .await
        .expect_status(202);
    let token = stage
        .mailed_token("ada@example.org", "password/reset")
        .await;
    let passwords = (0..AT_ONCE).map(|at| format!("zwetschgenknoedel {at}"));
    let passwords: Vec<String> = passwords.collect();
    let resets = passwords.iter().map(async |password| {
        let body = json!({"token": token, "password": password});
        stage.post("/auth/password/reset", &body).await
    });
    let resets = join_all(resets).await;
    one_won("/auth/password/reset", &resets, 200, used);
    let winner = resets.iter().position(|answer| answer.status == 200);
    let winner = &passwords[winner.expect("one won")];
    let _ = stage
        .login("ada@example.org", winner)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

/// The token of a change of the address that was asked for by somebody.
async fn change(stage: &Stage, session: &Session, to: &str, known: &[String]) -> String {
    let body = json!({"email": to});
    let asked = stage.post_as(session, "/auth/email/change", &body).await;
    let _ = asked.expect_status(202);
    stage.another_token(to, "email/confirm", known).await
}

#[tokio::test]
async fn an_address_that_many_want_at_once_gets_one_owner() {
    let stage = Stage::open().await;
    let mut tokens: Vec<String> = Vec::new();
    for person in ["ada@example.org", "bob@example.org", "eve@example.org"] {
        let session = stage.person(person).await;
        let token = change(&stage, &session, "new@example.org", &tokens).await;
        tokens.push(token);
    }
    let confirmed = tokens.iter().map(async |token| {
        stage
            .post("/auth/email/confirm", &json!({"token": token}))
            .await
    });
    let registered = json!({"email": "new@example.org", "password": PASSWORD});
    let (confirmed, registered) = tokio::join!(
        join_all(confirmed),
        stage.post("/auth/register", &registered)
    );
    let winners = confirmed
        .iter()
        .filter(|answer| answer.status == 200)
        .count();
    assert_eq!(winners + usize::from(registered.status == 201), 1);
    assert!(
        confirmed
            .iter()
            .all(|answer| [200, 401].contains(&answer.status))
    );
    assert!(
        [201, 409].contains(&registered.status),
        "{}",
        registered.text()
    );
    let sql = stage.host.sql().await;
    let owners = "select count(*) from public.users where email = 'new@example.org'";
    let owners: i64 = sql.query_one(owners, &[]).await.expect("a count").get(0);
    assert_eq!(owners, 1);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn of_many_changes_of_ones_address_the_last_link_counts_once() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let older = change(&stage, &ada, "older@example.org", &[]).await;
    let newer = change(&stage, &ada, "newer@example.org", &[]).await;
    let both = (0..AT_ONCE).map(|at| if at % 2 == 0 { &older } else { &newer });
    let answers = both.map(async |token| {
        stage
            .post("/auth/email/confirm", &json!({"token": token}))
            .await
    });
    let answers = join_all(answers).await;
    one_won("/auth/email/confirm", &answers, 200, (401, "CODE_INVALID"));
    let _ = stage
        .login("newer@example.org", PASSWORD)
        .await
        .expect_status(200);
    let _ = stage
        .login("older@example.org", PASSWORD)
        .await
        .expect_status(401);
    stage.host.stop().await;
}

#[tokio::test]
async fn of_owners_who_all_step_down_at_once_one_stays() {
    let stage = Stage::open().await;
    let (family, ada) = stage.owner("ada@example.org").await;
    let mut owners = vec![ada];
    for email in ["bob@example.org", "cleo@example.org"] {
        let member = stage.member(email, &owners[0], &family, "ADMIN").await;
        let path = format!("/auth/families/{family}/members/{}", member.member_id());
        let body = json!({"role": "OWNER"});
        let raised = stage.send_as(&owners[0], "PATCH", &path, &body).await;
        let _ = raised.expect_status(200);
        let renewed = stage.refresh(member.refresh()).await.expect_status(200);
        owners.push(Session(renewed.data()));
    }
    let steps = owners.iter().enumerate().map(async |(at, owner)| {
        let path = format!("/auth/families/{family}/members/{}", owner.member_id());
        // One leaves, the others become less.
        match at {
            0 => stage.send_as(owner, "DELETE", &path, &json!({})).await,
            _ => {
                stage
                    .send_as(owner, "PATCH", &path, &json!({"role": "ADULT_MEMBER"}))
                    .await
            }
        }
    });
    let answers = join_all(steps).await;
    assert!(answers.iter().all(|answer| answer.status < 500));
    let sql = stage.host.sql().await;
    let left =
        "select count(*) from public.family_members where role = 'OWNER' and status = 'active'";
    let left: i64 = sql.query_one(left, &[]).await.expect("a count").get(0);
    assert_eq!(left, 1, "{answers:?}");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_is_demoted_while_their_request_waits_does_what_the_new_role_may_and_no_more() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let admin = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    let youth = stage
        .member("cleo@example.org", &owner, &family, "YOUTH_MEMBER")
        .await;
    let (mut sql, watching) = (stage.host.sql().await, stage.host.sql().await);
    let id: Uuid = family.parse().expect("an id");
    let demoting = sql.transaction().await.expect("a transaction");
    let held = "select from public.families where id = $1 for update";
    demoting.execute(held, &[&id]).await.expect("it is held");
    let path = format!("/auth/families/{family}/members/{}", youth.member_id());
    let removing = stage.send_as(&admin, "DELETE", &path, &Value::Null);
    let demote = async {
        let waiting = "select from pg_stat_activity where datname = current_database() \
             and wait_event_type = 'Lock' and query like '%public.families%'";
        eventually("the request waits for the family", async || {
            let found = watching.query(waiting, &[]).await.expect("it is asked");
            (!found.is_empty()).then_some(())
        })
        .await;
        let lower = "update public.family_members set role = 'ADULT_MEMBER' \
             where family_id = $1 and role = 'ADMIN'";
        let lowered = demoting.execute(lower, &[&id]).await.expect("lowered");
        assert_eq!(lowered, 1);
        demoting.commit().await.expect("it is committed");
    };
    let (answer, ()) = tokio::join!(removing, demote);
    assert_eq!(
        (answer.status, &*answer.code()),
        (403, "ROLE_TOO_LOW"),
        "{}",
        answer.text()
    );
    let still =
        "select status from public.family_members where family_id = $1 and role = 'YOUTH_MEMBER'";
    let still = watching.query_one(still, &[&id]).await.expect("a member");
    assert_eq!(still.get::<_, String>(0), "active");
    drop((sql, watching));
    stage.host.stop().await;
}
