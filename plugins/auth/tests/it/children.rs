//! Children: their guardians make the account, and show them in.

use serde_json::json;

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
