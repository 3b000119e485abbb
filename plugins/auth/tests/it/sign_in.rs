//! Signing in and out, and proving again who one is.

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};

use crate::stage::{PASSWORD, Session, Stage};

#[tokio::test]
async fn who_signs_in_is_known_to_every_route_and_signs_out_again() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let session = stage.login(" ADA@example.org ", PASSWORD).await;
    let session = Session(session.expect_status(200).data());
    assert_eq!(session.0["token_type"], "Bearer");
    let me = stage
        .get_as(&session, "/auth/me")
        .send()
        .await
        .expect_status(200);
    assert_eq!(me.headers["cache-control"], "no-store");
    assert_eq!(me.data()["user"]["email"], "ada@example.org");
    let other = Session(
        stage
            .login("ada@example.org", PASSWORD)
            .await
            .expect_status(200)
            .data(),
    );
    let _ = stage
        .post_as(&session, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    eventually("the access token ends", async || {
        let answer = stage.get_as(&session, "/auth/me").send().await;
        (answer.status == 401).then(|| assert_eq!(answer.code(), "SESSION_REVOKED"))
    })
    .await;
    let ended = stage.refresh(session.refresh()).await.expect_status(401);
    assert_eq!(ended.code(), "SESSION_REVOKED");
    let _ = stage
        .get_as(&other, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_refusal_does_not_tell_why() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let suspended = stage.person("bob@example.org").await;
    let sql = stage.host.sql().await;
    let suspend = "update public.users set status = 'suspended' where email = 'bob@example.org'";
    sql.batch_execute(suspend)
        .await
        .expect("somebody is suspended");
    let answers = [
        stage.login("nobody@example.org", PASSWORD).await,
        stage.login("ada@example.org", "wrong password").await,
        stage.login("bob@example.org", PASSWORD).await,
        stage.login("no address at all", PASSWORD).await,
    ];
    for answer in &answers {
        assert_eq!((answer.status, answer.text()), (401, answers[0].text()));
    }
    let refused = stage.refresh(suspended.refresh()).await;
    assert_eq!(
        refused.status, 401,
        "a suspended person's session does not go on"
    );
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn every_character_of_a_password_counts() {
    let stage = Stage::open().await;
    let long = format!("{}{}", "x7".repeat(36), "tail-one");
    let body = json!({"email": "ada@example.org", "password": long});
    let _ = stage.post("/auth/register", &body).await.expect_status(201);
    let other = format!("{}{}", "x7".repeat(36), "tail-two");
    let _ = stage
        .login("ada@example.org", &other)
        .await
        .expect_status(401);
    let _ = stage
        .login("ada@example.org", &long)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn tries_are_counted_whatever_a_caller_says_of_its_address() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let mut answers = Vec::new();
    for at in 0..40 {
        let forwarded = format!("198.51.100.{at}");
        let request = stage
            .host
            .post("/auth/login")
            .header("x-forwarded-for", &forwarded);
        let body = json!({"email": "eve@example.org", "password": "guess number one"});
        answers.push(request.json(&body).send().await);
    }
    let throttled = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(throttled >= 25, "{throttled} of 40 were throttled");
    let last = answers.last().expect("there were tries");
    assert_eq!(last.code(), "TOO_MANY_TRIES");
    assert!(last.headers.contains_key("retry-after"));
    // Somebody else's tries do not shut out who is known here.
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let stage = Stage::open().await;
    let first = stage.person("ada@example.org").await;
    let second = Session(
        stage
            .login("ada@example.org", PASSWORD)
            .await
            .expect_status(200)
            .data(),
    );
    let stranger = stage.person("eve@example.org").await;
    let list = stage
        .get_as(&first, "/auth/sessions")
        .send()
        .await
        .expect_status(200)
        .data();
    let list = list.as_array().expect("a list of sessions");
    assert_eq!(list.len(), 2);
    let current: Vec<&Value> = list
        .iter()
        .filter(|one| one["is_current"] == true)
        .collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["id"], first.0["session_id"]);
    let path = format!(
        "/auth/sessions/{}",
        second.0["session_id"].as_str().expect("an id")
    );
    let foreign = stage
        .host
        .delete(&path)
        .token(stranger.access())
        .send()
        .await;
    assert_eq!(
        (foreign.status, &*foreign.code()),
        (404, "SESSION_NOT_FOUND")
    );
    let _ = stage
        .host
        .delete(&path)
        .token(first.access())
        .send()
        .await
        .expect_status(200);
    eventually("the other session ends", async || {
        let answer = stage.get_as(&second, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let _ = stage
        .get_as(&first, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_is_told() {
    let stage = Stage::open().await;
    let here = stage.person("ada@example.org").await;
    let there = Session(
        stage
            .login("ada@example.org", PASSWORD)
            .await
            .expect_status(200)
            .data(),
    );
    let body = json!({"current_password": "wrong one here", "password": "zwetschgenknoedel"});
    let _ = stage
        .post_as(&here, "/auth/password/change", &body)
        .await
        .expect_status(401);
    let body = json!({"current_password": PASSWORD, "password": "zwetschgenknoedel"});
    let _ = stage
        .post_as(&here, "/auth/password/change", &body)
        .await
        .expect_status(200);
    eventually("the other session ends", async || {
        let answer = stage.get_as(&there, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let _ = stage
        .get_as(&here, "/auth/me")
        .send()
        .await
        .expect_status(200);
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(401);
    let _ = stage
        .login("ada@example.org", "zwetschgenknoedel")
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_a_link_that_works_once() {
    let stage = Stage::open().await;
    let before = stage.person("ada@example.org").await;
    let known = stage
        .post(
            "/auth/password/forgot",
            &json!({"email": "ada@example.org"}),
        )
        .await;
    let unknown = stage
        .post(
            "/auth/password/forgot",
            &json!({"email": "eve@example.org"}),
        )
        .await;
    assert_eq!((known.status, known.text()), (202, unknown.text()));
    let token = stage
        .mailed_token("ada@example.org", "password/reset")
        .await;
    let weak = json!({"token": token, "password": "12345678"});
    let _ = stage
        .post("/auth/password/reset", &weak)
        .await
        .expect_status(422);
    let body = json!({"token": token, "password": "zwetschgenknoedel"});
    let _ = stage
        .post("/auth/password/reset", &body)
        .await
        .expect_status(200);
    let _ = stage
        .post("/auth/password/reset", &body)
        .await
        .expect_status(401);
    let _ = stage
        .login("ada@example.org", "zwetschgenknoedel")
        .await
        .expect_status(200);
    let _ = stage.refresh(before.refresh()).await.expect_status(401);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_mailbox_signs_in_by_link_and_by_code() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let mailbox = json!({"email": "ada@example.org"});
    let _ = stage
        .post("/auth/magic-link/start", &mailbox)
        .await
        .expect_status(202);
    let token = stage
        .mailed_token("ada@example.org", "magic-link/verify")
        .await;
    let body = json!({"token": token});
    let _ = stage
        .post("/auth/magic-link/verify", &body)
        .await
        .expect_status(200);
    let _ = stage
        .post("/auth/magic-link/verify", &body)
        .await
        .expect_status(401);

    let started = stage
        .post("/auth/otp/start", &mailbox)
        .await
        .expect_status(202)
        .data();
    let code = stage.mailed_code("ada@example.org").await;
    let flow = &started["flow_id"];
    let wrong = json!({"flow_id": flow, "code": "x"});
    let _ = stage
        .post("/auth/otp/verify", &wrong)
        .await
        .expect_status(401);
    let right = json!({"flow_id": flow, "code": code});
    let _ = stage
        .post("/auth/otp/verify", &right)
        .await
        .expect_status(200);
    let _ = stage
        .post("/auth/otp/verify", &right)
        .await
        .expect_status(401);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_has_five_tries_also_when_fifty_come_at_once_and_another_code_gives_no_more() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let mailbox = json!({"email": "ada@example.org"});
    let started = stage
        .post("/auth/otp/start", &mailbox)
        .await
        .expect_status(202)
        .data();
    let code = stage.mailed_code("ada@example.org").await;
    let wrong = json!({"flow_id": started["flow_id"], "code": "00000000x"});
    let fifty = (0..50).map(|_| stage.post("/auth/otp/verify", &wrong));
    for answer in futures_util::future::join_all(fifty).await {
        assert_eq!(answer.status, 401);
    }
    let right = json!({"flow_id": started["flow_id"], "code": code});
    let late = stage.post("/auth/otp/verify", &right).await;
    assert_eq!((late.status, &*late.code()), (401, "CODE_INVALID"));
    let again = stage
        .post("/auth/otp/start", &mailbox)
        .await
        .expect_status(202)
        .data();
    let guess = json!({"flow_id": again["flow_id"], "code": code});
    let _ = stage
        .post("/auth/otp/verify", &guess)
        .await
        .expect_status(401);
    assert_eq!(
        stage
            .mails("ada@example.org")
            .await
            .iter()
            .filter(|mail| mail.contains(&code))
            .count(),
        1
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn who_registered_a_strangers_address_loses_what_they_planted() {
    let stage = Stage::open().await;
    let attacker = stage.person("victim@example.org").await;
    let mailbox = json!({"email": "victim@example.org"});
    let _ = stage
        .post("/auth/magic-link/start", &mailbox)
        .await
        .expect_status(202);
    let token = stage
        .mailed_token("victim@example.org", "magic-link/verify")
        .await;
    let victim = stage
        .post("/auth/magic-link/verify", &json!({"token": token}))
        .await;
    let victim = Session(victim.expect_status(200).data());
    let _ = stage
        .login("victim@example.org", PASSWORD)
        .await
        .expect_status(401);
    let _ = stage.refresh(attacker.refresh()).await.expect_status(401);
    eventually("the attacker's token ends", async || {
        let answer = stage.get_as(&attacker, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let _ = stage
        .get_as(&victim, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_sensitive_change_needs_a_fresh_proof() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    assert!(session.claims()["https://hasura.io/jwt/claims"]["x-hasura-auth-elevated"].is_string());
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.sessions set elevated_until = now() - interval '1 minute'")
        .await
        .expect("time passes");
    let plain = Session(
        stage
            .refresh(session.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let change = json!({"email": "ada@example.com"});
    let refused = stage.post_as(&plain, "/auth/email/change", &change).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (403, "STEP_UP_REQUIRED")
    );
    let wrong = json!({"password": "wrong password"});
    let _ = stage
        .post_as(&plain, "/auth/reauthenticate", &wrong)
        .await
        .expect_status(401);
    let right = json!({"password": PASSWORD});
    let elevated = stage.post_as(&plain, "/auth/reauthenticate", &right).await;
    let elevated = Session(elevated.expect_status(200).data());
    let _ = stage
        .post_as(&elevated, "/auth/email/change", &change)
        .await
        .expect_status(202);
    let token = stage.mailed_token("ada@example.com", "email/confirm").await;
    let _ = stage
        .post("/auth/email/confirm", &json!({"token": token}))
        .await
        .expect_status(200);
    let _ = stage
        .login("ada@example.com", PASSWORD)
        .await
        .expect_status(200);
    drop(sql);
    stage.host.stop().await;
}
