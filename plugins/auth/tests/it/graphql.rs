//! Routes that GraphQL reaches too: asked as Hasura asks them by its metadata, with the caller's own token.

use serde_json::{Value, json};

use crate::stage::{Session, Stage};

/// What a caller of GraphQL gets.
async fn asked(
    stage: &Stage,
    session: &Session,
    field: &str,
    arguments: Value,
) -> Result<Value, Value> {
    stage.host.action(field, session.access(), arguments).await
}

#[tokio::test]
async fn a_family_is_managed_by_graphql_as_by_its_routes() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let me = asked(&stage, &owner, "auth_me", json!({})).await;
    let me = me.expect("who is signed in");
    assert_eq!(
        (&me["family_id"], &me["role"]),
        (&json!(family), &json!("OWNER"))
    );
    let name = json!({"input": {"display_name": "Ada L."}});
    let changed = asked(&stage, &owner, "auth_change_me", name).await;
    assert_eq!(
        changed.expect("the change")["user"]["display_name"],
        "Ada L."
    );
    let families = asked(&stage, &owner, "auth_families", json!({})).await;
    assert_eq!(families.expect("a list")[0]["id"], family);

    let input = json!({"id": family, "input": {"role": "ADULT_MEMBER", "days": 3}});
    let made = asked(&stage, &owner, "auth_invite", input)
        .await
        .expect("an invitation");
    let open = asked(&stage, &owner, "auth_invitations", json!({"id": family})).await;
    assert_eq!(open.expect("a list")[0]["id"], made["invitation"]["id"]);
    let place = json!({"id": family, "invitation_id": made["invitation"]["id"]});
    let revoked = asked(&stage, &owner, "auth_revoke_invitation", place).await;
    assert_eq!(revoked.expect("done")["status"], "revoked");

    let youth = stage
        .member("bob@example.org", &owner, &family, "YOUTH_MEMBER")
        .await;
    let place =
        json!({"id": family, "member_id": youth.member_id(), "input": {"role": "ADULT_MEMBER"}});
    let member = asked(&stage, &owner, "auth_change_member", place).await;
    assert_eq!(member.expect("a member")["role"], "ADULT_MEMBER");
    let members = asked(&stage, &owner, "auth_members", json!({"id": family})).await;
    assert_eq!(members.expect("a list").as_array().map(Vec::len), Some(2));
    let devices = asked(&stage, &owner, "auth_devices", json!({})).await;
    assert_eq!(devices.expect("a list"), json!([]));
    stage.host.stop().await;
}

#[tokio::test]
async fn what_a_route_refuses_graphql_refuses_with_the_same_code() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let (other, _) = stage.owner("eve@example.org").await;
    let youth = stage
        .member("bob@example.org", &owner, &family, "YOUTH_MEMBER")
        .await;
    let code = |answer: Result<Value, Value>| {
        let error = answer.expect_err("a refusal");
        assert!(error["message"].is_string(), "{error}");
        error["extensions"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let invite = json!({"id": family, "input": {"role": "ADULT_MEMBER"}});
    assert_eq!(
        code(asked(&stage, &youth, "auth_invite", invite).await),
        "ROLE_TOO_LOW"
    );
    // The metadata does not show it to this role; the route would not let it in either.
    assert_eq!(
        code(asked(&stage, &youth, "auth_devices", json!({})).await),
        "FORBIDDEN"
    );
    // Another family is not there.
    let members = asked(&stage, &owner, "auth_members", json!({"id": other})).await;
    assert_eq!(code(members), "FAMILY_NOT_FOUND");
    // An argument stays within its place of the path.
    let around = asked(&stage, &owner, "auth_members", json!({"id": "x/../../me"})).await;
    let around = around.expect_err("no family");
    assert_ne!(around["extensions"]["code"], json!(null), "{around}");
    let nobody = stage.host.action("auth_me", "no-token", json!({})).await;
    assert!(nobody.is_err(), "{nobody:?}");
    stage.host.stop().await;
}
