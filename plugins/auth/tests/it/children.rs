//! Children: their guardians make the account, and show them in.

use nself_plugin_testkit::Answer;
use serde_json::{Value, json};

use crate::{
    household::{id_of, verdict},
    stage::{PASSWORD, Session, Stage},
};

#[tokio::test]
async fn a_child_signs_in_by_a_code_that_works_once() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let guardian = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let child = stage.child(&guardian, &family, "Cleo").await;
    assert_eq!(
        (&child["kind"], &child["role"]),
        (&json!("child"), &json!("CHILD_MEMBER"))
    );
    assert_eq!(
        (&child["email"], &child["guardian_id"]),
        (&json!(null), &json!(guardian.user_id()))
    );
    let made = stage
        .child_code(&guardian, &family, &child)
        .await
        .expect_status(201)
        .data();
    let code = made["code"].as_str().expect("a code");
    assert!(code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(made["expires_in"], 600);
    let right = json!({"flow_id": made["flow_id"], "code": code});
    let other = json!({"flow_id": uuid::Uuid::now_v7(), "code": code});
    let refused = stage.post("/auth/children/sign-in", &other).await;
    assert_eq!(
        verdict(&refused),
        (401, "CODE_INVALID".into()),
        "of another flow"
    );
    let session = stage
        .post("/auth/children/sign-in", &right)
        .await
        .expect_status(200);
    let session = Session(session.data());
    assert_eq!(
        session.hasura()["x-hasura-allowed-roles"],
        json!(["CHILD_MEMBER", "user"])
    );
    assert_eq!(session.hasura().get("x-hasura-auth-elevated"), None);
    let again = stage.post("/auth/children/sign-in", &right).await;
    assert_eq!((again.status, again.text()), (401, refused.text()));
    assert_eq!(
        stage
            .told(&family, "family.child_sign_in_code_made")
            .await
            .1,
        1
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_child_changes_nothing_of_how_it_is_reached_or_where_it_belongs() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let (other, other_owner) = stage.owner("eve@example.org").await;
    let account = stage.child(&owner, &family, "Cleo").await;
    let child = stage.signed_in_child(&owner, &family, &account).await;
    let refused = (403, "CHILD_ACCOUNT".to_owned());
    let link = stage
        .link(&other_owner, &other, &json!({"role": "CHILD_MEMBER"}))
        .await;
    for (path, body) in [
        ("/auth/email/change", json!({"email": "cleo@example.org"})),
        (
            "/auth/password/change",
            json!({"password": "zwetschgenknoedel"}),
        ),
        ("/auth/families", json!({"name": "My own"})),
        ("/auth/invitations/accept", json!({"token": link})),
    ] {
        let answer = stage.post_as(&child, path, &body).await;
        assert_eq!(verdict(&answer), refused, "{path}");
    }
    let own = format!("/auth/families/{family}/members/{}", id_of(&account));
    let answer = stage.send_as(&child, "DELETE", &own, &json!({})).await;
    assert_eq!(verdict(&answer), refused, "it does not leave by itself");
    for role in ["ADULT_MEMBER", "ADMIN", "OWNER"] {
        let answer = stage
            .send_as(&owner, "PATCH", &own, &json!({"role": role}))
            .await;
        assert_eq!(verdict(&answer), refused, "{role}");
    }
    let _ = stage
        .send_as(&owner, "PATCH", &own, &json!({"role": "YOUTH_MEMBER"}))
        .await
        .expect_status(200);
    let answer = stage
        .post_as(
            &child,
            "/auth/reauthenticate",
            &json!({"password": PASSWORD}),
        )
        .await;
    assert_eq!(
        answer.status, 401,
        "there is nothing that it could prove again"
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_is_made_by_the_guardian_or_who_manages_the_family() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let guardian = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let adult = stage
        .member("carl@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let youth = stage
        .member("dora@example.org", &owner, &family, "YOUTH_MEMBER")
        .await;
    let child = stage.child(&guardian, &family, "Cleo").await;
    let too_low = (403, "ROLE_TOO_LOW".to_owned());
    for stranger in [&adult, &youth] {
        assert_eq!(
            verdict(&stage.child_code(stranger, &family, &child).await),
            too_low
        );
    }
    let path = format!("/auth/families/{family}/children");
    let refused = stage
        .post_as(&youth, &path, &json!({"display_name": "Doll"}))
        .await;
    assert_eq!(verdict(&refused), too_low);
    let _ = stage
        .child_code(&owner, &family, &child)
        .await
        .expect_status(201);
    let grown_up = json!({"id": youth.member_id()});
    let refused = stage.child_code(&owner, &family, &grown_up).await;
    assert_eq!(
        verdict(&refused),
        (404, "MEMBER_NOT_FOUND".into()),
        "nobody signs in as somebody with an account of their own"
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_childs_code_has_five_tries_and_another_code_gives_no_more() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let child = stage.child(&owner, &family, "Cleo").await;
    let made = stage
        .child_code(&owner, &family, &child)
        .await
        .expect_status(201)
        .data();
    let wrong = json!({"flow_id": made["flow_id"], "code": "x"});
    let many = (0..20).map(|_| stage.post("/auth/children/sign-in", &wrong));
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.status, 401);
    }
    let right = json!({"flow_id": made["flow_id"], "code": made["code"]});
    let late = stage.post("/auth/children/sign-in", &right).await;
    assert_eq!(verdict(&late), (401, "CODE_INVALID".into()));
    let more = stage.child_code(&owner, &family, &child).await;
    assert_eq!(verdict(&more), (429, "TOO_MANY_TRIES".into()));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_child_who_is_put_out_is_out_and_its_code_is_worth_nothing() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let child = stage.child(&owner, &family, "Cleo").await;
    let session = stage.signed_in_child(&owner, &family, &child).await;
    let path = format!("/auth/families/{family}/members/{}", id_of(&child));
    let made = stage
        .child_code(&owner, &family, &child)
        .await
        .expect_status(201)
        .data();
    let suspend = json!({"status": "suspended"});
    let _ = stage
        .send_as(&owner, "PATCH", &path, &suspend)
        .await
        .expect_status(200);
    let right = json!({"flow_id": made["flow_id"], "code": made["code"]});
    let refused = stage.post("/auth/children/sign-in", &right).await;
    assert_eq!(verdict(&refused), (401, "CODE_INVALID".into()));
    let refused = stage.child_code(&owner, &family, &child).await;
    assert_eq!(verdict(&refused), (404, "MEMBER_NOT_FOUND".into()));
    let _ = stage
        .send_as(&owner, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    stage.refused(&session, "SESSION_REVOKED").await;
    let _ = stage.refresh(session.refresh()).await.expect_status(401);
    stage.host.stop().await;
}

/// Takes a child out of its family.
async fn remove(stage: &Stage, session: &Session, family: &str, child: &Value) {
    let path = format!("/auth/families/{family}/members/{}", id_of(child));
    let removed = stage.send_as(session, "DELETE", &path, &json!({})).await;
    let _ = removed.expect_status(200);
}

async fn take_back(stage: &Stage, session: &Session, family: &str, child: &Value) -> Answer {
    let id = id_of(child);
    let path = format!("/auth/families/{family}/children/{id}/take-back");
    stage.post_as(session, &path, &json!({})).await
}

async fn removed(stage: &Stage, session: &Session, family: &str) -> Answer {
    let path = format!("/auth/families/{family}/children/removed");
    stage.get_as(session, &path).send().await
}

#[tokio::test]
async fn a_guardian_takes_a_child_back_that_was_removed() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let guardian = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let child = stage.child(&guardian, &family, "Cleo").await;
    let session = stage.signed_in_child(&guardian, &family, &child).await;
    let raised = format!("/auth/families/{family}/members/{}", id_of(&child));
    let youth = json!({"role": "YOUTH_MEMBER"});
    let _ = stage
        .send_as(&owner, "PATCH", &raised, &youth)
        .await
        .expect_status(200);
    let early = take_back(&stage, &guardian, &family, &child).await;
    assert_eq!(
        verdict(&early),
        (404, "MEMBER_NOT_FOUND".into()),
        "it is there"
    );
    remove(&stage, &owner, &family, &child).await;
    stage.refused(&session, "SESSION_REVOKED").await;
    let listed = removed(&stage, &guardian, &family).await.expect_status(200);
    let listed = listed.data();
    assert_eq!(listed[0]["id"], child["id"]);
    assert_eq!(listed[0]["display_name"], "Cleo");
    assert_eq!(listed[0]["guardian_id"], json!(guardian.user_id()));
    let back = take_back(&stage, &guardian, &family, &child).await;
    let back = back.expect_status(200).data();
    assert_eq!(
        (&back["id"], &back["user_id"], &back["role"]),
        (&child["id"], &child["user_id"], &json!("YOUTH_MEMBER"))
    );
    assert_eq!(stage.told(&family, "family.member_added").await, (3, 3));
    let listed = removed(&stage, &guardian, &family).await.expect_status(200);
    assert_eq!(listed.data(), json!([]));
    let _ = stage.refresh(session.refresh()).await.expect_status(401);
    let again = stage.signed_in_child(&guardian, &family, &child).await;
    assert_eq!(again.user_id(), session.user_id(), "the same child");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_child_is_taken_back_by_its_guardian_or_who_manages_the_family() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let (_, stranger) = stage.owner("eve@example.org").await;
    let adult = stage
        .member("carl@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let youth = stage
        .member("dora@example.org", &owner, &family, "YOUTH_MEMBER")
        .await;
    let child = stage.child(&owner, &family, "Cleo").await;
    remove(&stage, &owner, &family, &child).await;
    let too_low = (403, "ROLE_TOO_LOW".to_owned());
    let shut = (404, "FAMILY_NOT_FOUND".to_owned());
    let list = removed(&stage, &adult, &family).await.expect_status(200);
    assert_eq!(list.data(), json!([]), "it is another's child");
    for (session, listing, expected) in [
        (&adult, None, &too_low),
        (&youth, Some(&too_low), &too_low),
        (&stranger, Some(&shut), &shut),
    ] {
        if let Some(listing) = listing {
            assert_eq!(verdict(&removed(&stage, session, &family).await), *listing);
        }
        let refused = take_back(&stage, session, &family, &child).await;
        assert_eq!(verdict(&refused), *expected);
    }
    // Who has an account of their own comes back by an invitation.
    let own = json!({"id": youth.member_id()});
    remove(&stage, &owner, &family, &own).await;
    let refused = take_back(&stage, &owner, &family, &own).await;
    assert_eq!(verdict(&refused), (404, "MEMBER_NOT_FOUND".into()));
    let _ = take_back(&stage, &owner, &family, &child)
        .await
        .expect_status(200);
    stage.host.stop().await;
}
