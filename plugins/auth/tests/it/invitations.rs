//! Invitations: whom they let in, as what, and how often.

use nself_plugin_testkit::Answer;
use serde_json::{Value, json};

use crate::{
    household::{id_of, verdict},
    stage::{PASSWORD, Session, Stage},
};

async fn invite(stage: &Stage, by: &Session, family: &str, asked: &Value) -> Answer {
    let path = format!("/auth/families/{family}/invitations");
    stage.post_as(by, &path, asked).await
}

/// Proves one's address by the mail that registering has sent.
async fn prove(stage: &Stage, email: &str) {
    let token = stage.mailed_token(email, "verify-email").await;
    let body = json!({"token": token});
    let _ = stage
        .post("/auth/verify-email", &body)
        .await
        .expect_status(200);
}

#[tokio::test]
async fn a_mailed_invitation_lets_in_who_proves_the_address_and_nobody_else() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let asked = json!({"role": "ADULT_MEMBER", "email": "Bob@Example.org"});
    let path = format!("/auth/families/{family}/invitations");
    let forged = stage.host.post(&path).token(owner.access());
    let forged = forged
        .header("x-forwarded-host", "evil.example")
        .json(&asked)
        .send()
        .await;
    let made = forged.expect_status(201).data();
    assert_eq!(made["invitation"]["email"], "bob@example.org");
    assert_eq!(
        (&made["token"], &made["link"]),
        (&json!(null), &json!(null)),
        "told to the mailbox alone"
    );
    let mail = stage
        .mail("bob@example.org", "/auth/invitations/accept?token=")
        .await;
    assert!(
        mail.contains("http://localhost:3000/auth/invitations/accept?token="),
        "{mail}"
    );
    let token = stage
        .mailed_token("bob@example.org", "auth/invitations/accept")
        .await;
    let preview = stage
        .post("/auth/invitations/show", &json!({"token": token}))
        .await;
    let preview = preview.expect_status(200).data();
    assert_eq!(preview["role"], "ADULT_MEMBER");
    assert_eq!(preview["family_name"], "The family of ada@example.org");
    assert_eq!(preview["is_bound_to_address"], true);
    let refused = (401, "CODE_INVALID".to_owned());
    let eve = stage.person("eve@example.org").await;
    prove(&stage, "eve@example.org").await;
    assert_eq!(
        verdict(&stage.accept(&eve, &token).await),
        refused,
        "another's address"
    );
    let bob = stage.person("bob@example.org").await;
    assert_eq!(
        verdict(&stage.accept(&bob, &token).await),
        refused,
        "the address is not proved"
    );
    prove(&stage, "bob@example.org").await;
    let joined = stage.accept(&bob, &token).await.expect_status(201).data();
    assert_eq!(
        (&joined["id"], &joined["role"]),
        (&json!(family), &json!("ADULT_MEMBER"))
    );
    assert_eq!(stage.told(&family, "family.member_added").await, (1, 1));
    stage.host.stop().await;
}

#[tokio::test]
async fn of_many_who_accept_a_link_for_one_at_once_one_gets_in() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let link = stage
        .link(&owner, &family, &json!({"role": "ADULT_MEMBER"}))
        .await;
    let mut people = Vec::new();
    for at in 0..6 {
        people.push(stage.person(&format!("person{at}@example.org")).await);
    }
    let all = people.iter().map(|person| stage.accept(person, &link));
    let mut answers: Vec<_> = futures_util::future::join_all(all)
        .await
        .iter()
        .map(|a| a.status)
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [201, 401, 401, 401, 401, 401]);
    // One person many times at once is one member, too.
    let link = stage
        .link(
            &owner,
            &family,
            &json!({"role": "YOUTH_MEMBER", "uses_max": 5}),
        )
        .await;
    let eve = stage.person("eve@example.org").await;
    let all = (0..5).map(|_| stage.accept(&eve, &link));
    let answers = futures_util::future::join_all(all).await;
    let joined = answers.iter().filter(|answer| answer.status == 201).count();
    let already = answers
        .iter()
        .filter(|answer| answer.code() == "ALREADY_A_MEMBER")
        .count();
    assert_eq!((joined, already), (1, 4));
    let path = format!("/auth/families/{family}/invitations");
    let open = stage
        .get_as(&owner, &path)
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&open[0]["uses"], &open[0]["uses_max"]),
        (&json!(1), &json!(5))
    );
    let members = format!("/auth/families/{family}/members");
    let members = stage
        .get_as(&owner, &members)
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(members.as_array().map(Vec::len), Some(3));
    stage.host.stop().await;
}

#[tokio::test]
async fn an_invitation_that_is_over_is_refused_with_one_answer() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let asked = json!({"role": "ADULT_MEMBER"});
    let used = stage.link(&owner, &family, &asked).await;
    let bob = stage.person("bob@example.org").await;
    let _ = stage.accept(&bob, &used).await.expect_status(201);
    let expired = stage.link(&owner, &family, &asked).await;
    let sql = stage.host.sql().await;
    let later =
        "update auth.invitations set expires_at = now() - interval '1 second' where uses = 0";
    sql.batch_execute(later).await.expect("time passes");
    let made = invite(&stage, &owner, &family, &asked)
        .await
        .expect_status(201)
        .data();
    let revoked = made["token"].as_str().expect("a token").to_owned();
    let path = format!(
        "/auth/families/{family}/invitations/{}",
        id_of(&made["invitation"])
    );
    let _ = stage
        .send_as(&owner, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    let again = stage.send_as(&owner, "DELETE", &path, &json!({})).await;
    assert_eq!(verdict(&again), (404, "INVITATION_NOT_FOUND".into()));
    let declined = stage.link(&owner, &family, &asked).await;
    let _ = stage
        .post("/auth/invitations/decline", &json!({"token": declined}))
        .await
        .expect_status(200);
    let eve = stage.person("eve@example.org").await;
    let unknown = "A".repeat(32);
    let refusal = stage.accept(&eve, &unknown).await;
    assert_eq!(verdict(&refusal), (401, "CODE_INVALID".into()));
    for token in [
        &used,
        &expired,
        &revoked,
        &declined,
        "",
        "x",
        &"y".repeat(200),
    ] {
        let answer = stage.accept(&eve, token).await;
        assert_eq!(
            (answer.status, answer.text()),
            (401, refusal.text()),
            "{token}"
        );
        for path in ["/auth/invitations/show", "/auth/invitations/decline"] {
            let answer = stage.post(path, &json!({"token": token})).await;
            assert_eq!(
                (answer.status, answer.text()),
                (401, refusal.text()),
                "{path}"
            );
        }
    }
    // Many may use a link for many, so one who says no does not say it for all.
    let many = stage
        .link(
            &owner,
            &family,
            &json!({"role": "ADULT_MEMBER", "uses_max": 3}),
        )
        .await;
    let _ = stage
        .post("/auth/invitations/decline", &json!({"token": many}))
        .await
        .expect_status(200);
    let _ = stage.accept(&eve, &many).await.expect_status(201);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn nobody_asks_in_above_what_they_may_give_and_nobody_comes_in_as_more() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let admin = stage
        .member("admin@example.org", &owner, &family, "ADMIN")
        .await;
    let adult = stage
        .member("adult@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let child = stage
        .member("child@example.org", &owner, &family, "CHILD_MEMBER")
        .await;
    let too_low = (403, "ROLE_TOO_LOW".to_owned());
    for (by, role) in [
        (&owner, "OWNER"),
        (&admin, "OWNER"),
        (&admin, "ADMIN"),
        (&adult, "CHILD_MEMBER"),
        (&child, "CHILD_MEMBER"),
    ] {
        let refused = invite(&stage, by, &family, &json!({"role": role})).await;
        assert_eq!(verdict(&refused), too_low, "{role}");
    }
    for odd in [
        json!({"role": "ADMIN", "uses_max": 0}),
        json!({"role": "ADMIN", "uses_max": 101}),
        json!({"role": "ADMIN", "days": 31}),
        json!({"role": "ADMIN", "email": "a@example.org", "uses_max": 2}),
    ] {
        let refused = invite(&stage, &owner, &family, &odd).await;
        assert_eq!(
            verdict(&refused),
            (422, "INVITATION_INVALID".into()),
            "{odd}"
        );
    }
    for role in ["DEVICE", "admin", "user"] {
        let refused = invite(&stage, &owner, &family, &json!({"role": role})).await;
        assert_eq!(verdict(&refused), (422, "BODY_INVALID".into()), "{role}");
    }
    let made = invite(&stage, &owner, &family, &json!({"role": "ADMIN"}))
        .await
        .expect_status(201)
        .data();
    let path = format!(
        "/auth/families/{family}/invitations/{}",
        id_of(&made["invitation"])
    );
    let refused = stage.send_as(&admin, "DELETE", &path, &json!({})).await;
    assert_eq!(
        verdict(&refused),
        too_low,
        "an ADMIN does not touch what makes an ADMIN"
    );
    let token = made["token"].as_str().expect("a token");
    // A member does not make more of themselves by somebody's link.
    assert_eq!(
        verdict(&stage.accept(&child, token).await),
        (409, "ALREADY_A_MEMBER".into())
    );
    let link = stage
        .link(&admin, &family, &json!({"role": "YOUTH_MEMBER"}))
        .await;
    let eve = stage.person("eve@example.org").await;
    let raised = json!({"token": link, "role": "OWNER"});
    let refused = stage
        .post_as(&eve, "/auth/invitations/accept", &raised)
        .await;
    assert_eq!(verdict(&refused), (422, "BODY_INVALID".into()));
    let joined = stage.accept(&eve, &link).await.expect_status(201).data();
    assert_eq!(joined["role"], "YOUTH_MEMBER");
    stage.host.stop().await;
}

#[tokio::test]
async fn an_invitation_is_worth_what_its_maker_may_still_give() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let admin = stage
        .member("admin@example.org", &owner, &family, "ADMIN")
        .await;
    let link = stage
        .link(
            &admin,
            &family,
            &json!({"role": "ADULT_MEMBER", "uses_max": 9}),
        )
        .await;
    let path = format!("/auth/families/{family}/members/{}", admin.member_id());
    let _ = stage
        .send_as(&owner, "PATCH", &path, &json!({"role": "ADULT_MEMBER"}))
        .await
        .expect_status(200);
    let eve = stage.person("eve@example.org").await;
    assert_eq!(
        verdict(&stage.accept(&eve, &link).await),
        (401, "CODE_INVALID".into())
    );
    let _ = stage
        .send_as(&owner, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    assert_eq!(
        verdict(&stage.accept(&eve, &link).await),
        (401, "CODE_INVALID".into())
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn who_was_put_out_does_not_come_back_by_a_link_from_before() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let many = json!({"role": "ADULT_MEMBER", "uses_max": 9});
    let before = stage.link(&owner, &family, &many).await;
    let bob = stage.person("bob@example.org").await;
    let joined = stage.accept(&bob, &before).await.expect_status(201).data();
    let path = format!(
        "/auth/families/{family}/members/{}",
        joined["member_id"].as_str().expect("an id")
    );
    let suspend = json!({"status": "suspended"});
    let _ = stage
        .send_as(&owner, "PATCH", &path, &suspend)
        .await
        .expect_status(200);
    assert_eq!(
        verdict(&stage.accept(&bob, &before).await),
        (409, "ALREADY_A_MEMBER".into())
    );
    let _ = stage
        .send_as(&owner, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    assert_eq!(
        verdict(&stage.accept(&bob, &before).await),
        (401, "CODE_INVALID".into())
    );
    let after = stage.link(&owner, &family, &many).await;
    let _ = stage.accept(&bob, &after).await.expect_status(201);
    stage.host.stop().await;
}

#[tokio::test]
async fn where_sign_up_is_closed_the_invited_register() {
    let stage = Stage::with("[plugins.auth.config]\nsign_up = \"closed\"").await;
    let sql = stage.host.sql().await;
    let first = "with u as (insert into public.users (email, email_verified_at, display_name) \
                   values ('ada@example.org', now(), 'Ada') returning id), \
                 f as (insert into public.families (name) values ('Lovelace') returning id), \
                 m as (insert into public.family_members (family_id, user_id, role) select f.id, u.id, 'OWNER' from f, u) \
                 select f.id::text from f";
    let family: String = sql
        .query_one(first, &[])
        .await
        .expect("there is a family")
        .get(0);
    let _ = stage
        .post(
            "/auth/magic-link/start",
            &json!({"email": "ada@example.org"}),
        )
        .await
        .expect_status(202);
    let token = stage
        .mailed_token("ada@example.org", "magic-link/verify")
        .await;
    let ada = stage
        .post("/auth/magic-link/verify", &json!({"token": token}))
        .await;
    let ada = Session(ada.expect_status(200).data());
    let register = async |email: &str, invitation: &Value| {
        let body = json!({"email": email, "password": PASSWORD, "display_name": "Bob", "invitation": invitation});
        stage.post("/auth/register", &body).await
    };
    let asked = json!({"role": "ADULT_MEMBER", "email": "bob@example.org"});
    let _ = invite(&stage, &ada, &family, &asked)
        .await
        .expect_status(201);
    let token = json!(
        stage
            .mailed_token("bob@example.org", "auth/invitations/accept")
            .await
    );
    let refused = register("bob@example.org", &json!(null)).await;
    assert_eq!(verdict(&refused), (403, "SIGN_UP_CLOSED".into()));
    for (email, token) in [
        ("eve@example.org", &token),
        ("bob@example.org", &json!("A".repeat(32))),
    ] {
        let refused = register(email, token).await;
        assert_eq!(verdict(&refused), (401, "CODE_INVALID".into()), "{email}");
    }
    let _ = register("bob@example.org", &token).await.expect_status(202);
    let proof = stage.mailed_token("bob@example.org", "verify-email").await;
    let bob = stage
        .post("/auth/verify-email", &json!({"token": proof}))
        .await;
    let bob = Session(bob.expect_status(200).data());
    assert_eq!(
        (&bob.0["role"], &bob.0["family_id"]),
        (&json!("ADULT_MEMBER"), &json!(family))
    );
    // Taken back between registering and proving: there is no account.
    let made = invite(&stage, &ada, &family, &json!({"role": "ADULT_MEMBER"}))
        .await
        .expect_status(201)
        .data();
    let _ = register("eve@example.org", &made["token"])
        .await
        .expect_status(202);
    let proof = stage.mailed_token("eve@example.org", "verify-email").await;
    let path = format!(
        "/auth/families/{family}/invitations/{}",
        id_of(&made["invitation"])
    );
    let _ = stage
        .send_as(&ada, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    let late = stage
        .post("/auth/verify-email", &json!({"token": proof}))
        .await;
    assert_eq!(verdict(&late), (401, "CODE_INVALID".into()));
    let eve = "select count(*) from public.users where email = 'eve@example.org'";
    let eve: i64 = sql.query_one(eve, &[]).await.expect("it counts").get(0);
    assert_eq!(eve, 0);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_registers_with_an_invitation_is_a_member_when_the_address_is_proved() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let link = stage
        .link(&owner, &family, &json!({"role": "YOUTH_MEMBER"}))
        .await;
    let body = json!({"email": "bob@example.org", "password": PASSWORD, "invitation": link});
    let bob = Session(
        stage
            .post("/auth/register", &body)
            .await
            .expect_status(201)
            .data(),
    );
    assert_eq!(bob.0["role"], json!(null), "not before");
    prove(&stage, "bob@example.org").await;
    let bob = stage.switch(&bob, &family).await;
    assert_eq!(bob.0["role"], "YOUTH_MEMBER");
    stage.host.stop().await;
}

#[tokio::test]
async fn nobody_mails_many_strangers() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let mut answers = Vec::new();
    for at in 0..15 {
        let asked = json!({"role": "ADULT_MEMBER", "email": format!("stranger{at}@example.org")});
        answers.push(invite(&stage, &owner, &family, &asked).await);
    }
    let throttled = answers
        .iter()
        .filter(|answer| answer.code() == "TOO_MANY_TRIES");
    assert!((1..=5).contains(&throttled.count()));
    let _ = stage
        .link(&owner, &family, &json!({"role": "ADULT_MEMBER"}))
        .await;
    stage.host.stop().await;
}

#[tokio::test]
async fn an_address_has_one_open_invitation_of_a_family() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    for role in ["ADMIN", "YOUTH_MEMBER"] {
        let asked = json!({"role": role, "email": "bob@example.org"});
        let _ = invite(&stage, &owner, &family, &asked)
            .await
            .expect_status(201);
    }
    let path = format!("/auth/families/{family}/invitations");
    let open = stage
        .get_as(&owner, &path)
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&open[0]["role"], open.as_array().map(Vec::len)),
        (&json!("YOUTH_MEMBER"), Some(1))
    );
    stage.host.stop().await;
}
