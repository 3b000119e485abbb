//! Families and their members: who may do what to whom, and when others learn of it.

use serde_json::{Value, json};

use crate::{
    household::{id_of, verdict},
    stage::{Session, Stage},
};

/// A family with somebody of every role but the owner's, the highest first.
async fn everybody(stage: &Stage, owner: &Session, family: &str) -> Vec<(&'static str, Session)> {
    let mut people = Vec::new();
    for (role, email) in [
        ("ADMIN", "admin@example.org"),
        ("ADULT_MEMBER", "adult@example.org"),
        ("YOUTH_MEMBER", "youth@example.org"),
        ("CHILD_MEMBER", "child@example.org"),
    ] {
        people.push((role, stage.member(email, owner, family, role).await));
    }
    people
}

fn member_path(family: &str, session: &Session) -> String {
    format!("/auth/families/{family}/members/{}", session.member_id())
}

#[tokio::test]
async fn a_family_is_made_shown_and_renamed() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let path = format!("/auth/families/{family}");
    let shown = stage.get_as(&owner, &path).send().await.expect_status(200);
    assert_eq!(shown.headers["cache-control"], "no-store");
    assert_eq!(
        (&shown.data()["id"], &shown.data()["role"]),
        (&json!(family), &json!("OWNER"))
    );
    let renamed = stage
        .send_as(&owner, "PATCH", &path, &json!({"name": " Lovelace "}))
        .await;
    assert_eq!(renamed.expect_status(200).data()["name"], "Lovelace");
    for name in ["", " ", "a\u{0}b", &"x".repeat(201)] {
        let refused = stage
            .send_as(&owner, "PATCH", &path, &json!({"name": name}))
            .await;
        assert_eq!(verdict(&refused), (422, "NAME_INVALID".into()), "{name:?}");
    }
    let list = stage
        .get_as(&owner, "/auth/families")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    assert_eq!(list[0]["name"], "Lovelace");
    assert_eq!(stage.told(&family, "family.created").await, (1, 1));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_deleted_family_takes_down_what_stands_on_it() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let adult = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let child = stage.child(&adult, &family, "Cleo").await;
    let child = stage.signed_in_child(&adult, &family, &child).await;
    let link = stage.link(&owner, &family, &json!({"role": "ADMIN"})).await;
    let path = format!("/auth/families/{family}");
    let refused = stage.send_as(&adult, "DELETE", &path, &json!({})).await;
    assert_eq!(verdict(&refused), (403, "ROLE_TOO_LOW".into()));
    let _ = stage
        .send_as(&owner, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    stage.refused(&child, "SESSION_REVOKED").await;
    stage.refused(&owner, "TOKEN_OUTDATED").await;
    stage.refused(&adult, "TOKEN_OUTDATED").await;
    let adult = Session(
        stage
            .refresh(adult.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_eq!(adult.hasura()["x-hasura-allowed-roles"], json!(["user"]));
    assert_eq!(adult.hasura()["x-hasura-family-ids"], "{}");
    let gone = stage.get_as(&adult, &path).send().await;
    assert_eq!(verdict(&gone), (404, "FAMILY_NOT_FOUND".into()));
    let late = stage.person("eve@example.org").await;
    assert_eq!(
        verdict(&stage.accept(&late, &link).await),
        (401, "CODE_INVALID".into())
    );
    assert_eq!(stage.told(&family, "family.deleted").await, (1, 1));
    stage.host.stop().await;
}

#[tokio::test]
async fn nobody_gives_takes_or_touches_a_role_that_is_not_below_their_own() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let people = everybody(&stage, &owner, &family).await;
    let admin = &people[0].1;
    let too_low = (403, "ROLE_TOO_LOW".to_owned());
    // Whoever is below ADMIN changes nobody, not even themselves.
    for (actor_role, actor) in &people[1..] {
        for (target_role, target) in &people {
            let path = member_path(&family, target);
            for body in [
                json!({"role": "CHILD_MEMBER"}),
                json!({"status": "suspended"}),
            ] {
                let refused = stage.send_as(actor, "PATCH", &path, &body).await;
                assert_eq!(
                    verdict(&refused),
                    too_low,
                    "{actor_role} on {target_role}: {body}"
                );
            }
            if target_role != actor_role {
                let refused = stage.send_as(actor, "DELETE", &path, &json!({})).await;
                assert_eq!(
                    verdict(&refused),
                    too_low,
                    "{actor_role} removes {target_role}"
                );
            }
        }
    }
    let second = stage
        .member("admin2@example.org", &owner, &family, "ADMIN")
        .await;
    for (target, body) in [
        (&owner, json!({"role": "ADULT_MEMBER"})),
        (&owner, json!({"status": "suspended"})),
        (&second, json!({"role": "ADULT_MEMBER"})),
        (&second, json!({"status": "suspended"})),
        (admin, json!({"role": "OWNER"})),
        (admin, json!({"role": "ADULT_MEMBER"})),
        (&people[1].1, json!({"role": "ADMIN"})),
        (&people[1].1, json!({"role": "OWNER"})),
    ] {
        let path = member_path(&family, target);
        let refused = stage.send_as(admin, "PATCH", &path, &body).await;
        assert_eq!(verdict(&refused), too_low, "ADMIN: {body}");
    }
    for target in [&owner, &second] {
        let path = member_path(&family, target);
        let refused = stage.send_as(admin, "DELETE", &path, &json!({})).await;
        assert_eq!(verdict(&refused), too_low);
    }
    // Who may do what is the policy's: an ADMIN manages members, and roles are the OWNER's to change.
    let path = member_path(&family, &people[3].1);
    let raise = json!({"role": "ADULT_MEMBER"});
    let refused = stage.send_as(admin, "PATCH", &path, &raise).await;
    assert_eq!(verdict(&refused), too_low);
    for status in ["suspended", "active"] {
        let changed = json!({"status": status});
        let changed = stage.send_as(admin, "PATCH", &path, &changed).await;
        assert_eq!(changed.expect_status(200).data()["status"], status);
    }
    let raised = stage.send_as(&owner, "PATCH", &path, &raise).await;
    assert_eq!(raised.expect_status(200).data()["role"], "ADULT_MEMBER");
    let path = member_path(&family, &second);
    let _ = stage
        .send_as(&owner, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    assert_eq!(stage.told(&family, "family.member_changed").await, (3, 3));
    assert_eq!(stage.told(&family, "family.member_removed").await, (1, 1));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_does_not_say_more_than_the_database() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let admin = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    // Whoever lost the role in the database has lost it, whatever the token still says.
    let sql = stage.host.sql().await;
    let demote = "update public.family_members set role = 'CHILD_MEMBER' where role = 'ADMIN'";
    sql.batch_execute(demote)
        .await
        .expect("somebody is demoted");
    let path = format!("/auth/families/{family}/invitations");
    let refused = stage
        .post_as(&admin, &path, &json!({"role": "CHILD_MEMBER"}))
        .await;
    assert_eq!(verdict(&refused), (403, "ROLE_TOO_LOW".into()));
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_change_is_known_to_every_host_at_once_and_the_client_goes_on_by_a_refresh() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let beside = Stage {
        host: stage.host.beside().start().await,
    };
    let _ = beside
        .get_as(&bob, "/auth/me")
        .send()
        .await
        .expect_status(200);
    let path = member_path(&family, &bob);
    let _ = stage
        .send_as(&owner, "PATCH", &path, &json!({"role": "ADMIN"}))
        .await
        .expect_status(200);
    stage.refused(&bob, "TOKEN_OUTDATED").await;
    beside.refused(&bob, "TOKEN_OUTDATED").await;
    let bob = Session(
        beside
            .refresh(bob.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_eq!(
        bob.hasura()["x-hasura-allowed-roles"],
        json!(["ADMIN", "user"])
    );
    let _ = stage
        .get_as(&bob, "/auth/me")
        .send()
        .await
        .expect_status(200);
    let _ = stage
        .send_as(&owner, "PATCH", &path, &json!({"status": "suspended"}))
        .await
        .expect_status(200);
    beside.refused(&bob, "TOKEN_OUTDATED").await;
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    assert_eq!(
        bob.hasura()["x-hasura-allowed-roles"],
        json!(["user"]),
        "a suspended member has no role"
    );
    let shut = stage
        .get_as(&bob, &format!("/auth/families/{family}"))
        .send()
        .await;
    assert_eq!(verdict(&shut), (404, "FAMILY_NOT_FOUND".into()));
    let _ = stage
        .send_as(&owner, "PATCH", &path, &json!({"status": "active"}))
        .await
        .expect_status(200);
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    assert_eq!(bob.hasura()["x-hasura-default-role"], "ADMIN");
    beside.host.stop().await;
    stage.host.stop().await;
}

#[tokio::test]
async fn who_leaves_is_out_and_comes_back_in_the_same_row() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    let before = bob.member_id();
    let left = stage
        .send_as(&bob, "DELETE", &member_path(&family, &bob), &json!({}))
        .await;
    assert_eq!(left.expect_status(200).data()["status"], "left");
    stage.refused(&bob, "TOKEN_OUTDATED").await;
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    assert_eq!(bob.hasura()["x-hasura-allowed-roles"], json!(["user"]));
    let members = format!("/auth/families/{family}/members");
    let out = stage.get_as(&bob, &members).send().await;
    assert_eq!(verdict(&out), (404, "FAMILY_NOT_FOUND".into()));
    let link = stage
        .link(&owner, &family, &json!({"role": "YOUTH_MEMBER"}))
        .await;
    let again = stage.accept(&bob, &link).await.expect_status(201).data();
    assert_eq!(
        (&again["member_id"], &again["role"]),
        (&json!(before), &json!("YOUTH_MEMBER"))
    );
    let list = stage
        .get_as(&owner, &members)
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    stage.host.stop().await;
}

#[tokio::test]
async fn who_is_suspended_may_leave_and_nothing_else() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    let carl = stage
        .member("carl@example.org", &owner, &family, "CHILD_MEMBER")
        .await;
    let (own, other) = (member_path(&family, &bob), member_path(&family, &carl));
    let suspended = stage
        .send_as(&owner, "PATCH", &own, &json!({"status": "suspended"}))
        .await;
    let _ = suspended.expect_status(200);
    stage.refused(&bob, "TOKEN_OUTDATED").await;
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    let families = async |session: &Session| {
        let families = stage.get_as(session, "/auth/families").send().await;
        families.expect_status(200).data()
    };
    let shown = families(&bob).await;
    assert_eq!(
        (&shown[0]["id"], &shown[0]["status"]),
        (&json!(family), &json!("suspended"))
    );
    assert!(own.ends_with(shown[0]["member_id"].as_str().expect("a membership")));
    let shut = (404, "FAMILY_NOT_FOUND".to_owned());
    for (method, path, body) in [
        ("DELETE", &other, json!({})),
        ("PATCH", &own, json!({"status": "active"})),
        ("GET", &format!("/auth/families/{family}"), json!({})),
    ] {
        let refused = stage.send_as(&bob, method, path, &body).await;
        assert_eq!(verdict(&refused), shut, "{method} {path}");
    }
    let left = stage.send_as(&bob, "DELETE", &own, &json!({})).await;
    assert_eq!(left.expect_status(200).data()["status"], "left");
    stage.refused(&bob, "TOKEN_OUTDATED").await;
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    assert_eq!(families(&bob).await, json!([]));
    assert_eq!(stage.told(&family, "family.member_removed").await, (1, 1));
    let again = stage.send_as(&bob, "DELETE", &own, &json!({})).await;
    assert_eq!(verdict(&again), shut, "who is out has nothing to leave");
    stage.host.stop().await;
}

#[tokio::test]
async fn addresses_are_told_to_those_who_manage_the_family() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let path = format!("/auth/families/{family}/members");
    let told = async |session: &Session| -> Vec<Value> {
        let list = stage
            .get_as(session, &path)
            .send()
            .await
            .expect_status(200)
            .data();
        let members = list.as_array().expect("a list").clone();
        members
            .into_iter()
            .map(|mut member| member["email"].take())
            .collect()
    };
    assert_eq!(
        told(&owner).await,
        [json!("ada@example.org"), json!("bob@example.org")]
    );
    assert_eq!(told(&bob).await, [json!(null), json!("bob@example.org")]);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_family_keeps_an_owner() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    let last_owner = (409, "LAST_OWNER".to_owned());
    let path = member_path(&family, &owner);
    for (method, body) in [
        ("DELETE", json!({})),
        ("PATCH", json!({"role": "ADMIN"})),
        ("PATCH", json!({"status": "suspended"})),
    ] {
        let refused = stage.send_as(&owner, method, &path, &body).await;
        assert_eq!(verdict(&refused), last_owner, "{method} {body}");
    }
    // Two owners leave in the same moment: one of them stays.
    let raised = json!({"role": "OWNER"});
    let _ = stage
        .send_as(&owner, "PATCH", &member_path(&family, &bob), &raised)
        .await
        .expect_status(200);
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    let bobs = member_path(&family, &bob);
    let nothing = json!({});
    let (one, other) = futures_util::future::join(
        stage.send_as(&owner, "DELETE", &path, &nothing),
        stage.send_as(&bob, "DELETE", &bobs, &nothing),
    )
    .await;
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    stage.host.stop().await;
}

#[tokio::test]
async fn the_database_has_the_last_word_on_owners() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    // Something behind the plugin's back takes the owner's role in the same transaction.
    let sql = stage.host.sql().await;
    let behind = "create function public.intrigue() returns trigger language plpgsql security definer as $$ \
                  begin update public.family_members set role = 'ADMIN' where role = 'OWNER'; return null; end $$; \
                  create trigger intrigue after update on public.family_members for each row \
                  when (pg_trigger_depth() = 0) execute function public.intrigue();";
    sql.batch_execute(behind).await.expect("there is intrigue");
    let path = member_path(&family, &bob);
    let refused = stage
        .send_as(&owner, "PATCH", &path, &json!({"role": "YOUTH_MEMBER"}))
        .await;
    assert_eq!(verdict(&refused), (409, "LAST_OWNER".into()));
    let roles =
        "select count(*) from public.family_members where role in ('OWNER', 'ADULT_MEMBER')";
    let roles: i64 = sql.query_one(roles, &[]).await.expect("it counts").get(0);
    assert_eq!(roles, 2, "nothing has changed");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn ownership_is_handed_over_in_one_step() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let child = stage.child(&owner, &family, "Cleo").await;
    let path = format!("/auth/families/{family}/transfer");
    let to = |member: &str| json!({"member_id": member});
    let refused = stage.post_as(&bob, &path, &to(&bob.member_id())).await;
    assert_eq!(verdict(&refused), (403, "ROLE_TOO_LOW".into()));
    let refused = stage.post_as(&owner, &path, &to(&owner.member_id())).await;
    assert_eq!(verdict(&refused), (404, "MEMBER_NOT_FOUND".into()));
    let refused = stage.post_as(&owner, &path, &to(&id_of(&child))).await;
    assert_eq!(verdict(&refused), (403, "CHILD_ACCOUNT".into()));
    let done = stage
        .post_as(&owner, &path, &to(&bob.member_id()))
        .await
        .expect_status(200);
    assert_eq!(done.data()["role"], "ADMIN");
    stage.refused(&owner, "TOKEN_OUTDATED").await;
    stage.refused(&bob, "TOKEN_OUTDATED").await;
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    let owner = Session(
        stage
            .refresh(owner.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    assert_eq!(bob.hasura()["x-hasura-default-role"], "OWNER");
    assert_eq!(owner.hasura()["x-hasura-default-role"], "ADMIN");
    assert_eq!(
        stage.told(&family, "family.ownership_transferred").await,
        (1, 1)
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn deleting_and_handing_over_a_family_need_a_fresh_proof() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    let sql = stage.host.sql().await;
    let later = "update auth.sessions set elevated_until = now() - interval '1 minute'";
    sql.batch_execute(later).await.expect("time passes");
    let plain = Session(
        stage
            .refresh(owner.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let bobs = member_path(&family, &bob);
    for (method, path, body) in [
        ("DELETE", format!("/auth/families/{family}"), json!({})),
        (
            "POST",
            format!("/auth/families/{family}/transfer"),
            json!({"member_id": bob.member_id()}),
        ),
        ("PATCH", bobs, json!({"role": "OWNER"})),
    ] {
        let refused = stage.send_as(&plain, method, &path, &body).await;
        assert_eq!(
            verdict(&refused),
            (403, "STEP_UP_REQUIRED".into()),
            "{method} {path}"
        );
    }
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_person_acts_in_one_family_at_a_time_with_the_role_of_that_family() {
    let stage = Stage::open().await;
    let (first, ada) = stage.owner("ada@example.org").await;
    let (second, bob) = stage.owner("bob@example.org").await;
    let link = stage
        .link(&bob, &second, &json!({"role": "CHILD_MEMBER"}))
        .await;
    let _ = stage.accept(&ada, &link).await.expect_status(201);
    let switch = |family: &str| format!("/auth/families/{family}/switch");
    let with = |session: &Session| json!({"refresh_token": session.refresh()});
    let foreign = stage.post_as(&bob, &switch(&first), &with(&bob)).await;
    assert_eq!(verdict(&foreign), (404, "FAMILY_NOT_FOUND".into()));
    let stolen = stage.post_as(&bob, &switch(&second), &with(&ada)).await;
    assert_eq!(verdict(&stolen), (401, "REFRESH_TOKEN_INVALID".into()));
    let child = stage
        .post_as(&ada, &switch(&second), &with(&ada))
        .await
        .expect_status(200);
    let child = Session(child.data());
    let owner = stage
        .post_as(&child, &switch(&first), &with(&child))
        .await
        .expect_status(200);
    let owner = Session(owner.data());
    for (session, role, family) in [(&child, "CHILD_MEMBER", &second), (&owner, "OWNER", &first)] {
        let hasura = session.hasura();
        assert_eq!(hasura["x-hasura-allowed-roles"], json!([role, "user"]));
        assert_eq!(hasura["x-hasura-family-id"], json!(family));
        let text = session.claims().to_string();
        assert!(!text.contains("\"admin\""), "{text}");
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn families_members_and_invitations_have_a_limit() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let link = stage
        .link(&owner, &family, &json!({"role": "ADULT_MEMBER"}))
        .await;
    let bob = stage.person("bob@example.org").await;
    let sql = stage.host.sql().await;
    let fill = format!(
        "with f as (insert into public.families (name) select 'f' from generate_series(1, 63) returning id) \
           insert into public.family_members (family_id, user_id, role) select id, '{ada}', 'OWNER' from f; \
         with u as (insert into public.users (display_name) select 'u' from generate_series(1, 199) returning id) \
           insert into public.family_members (family_id, user_id, role) select '{family}', id, 'CHILD_MEMBER' from u; \
         insert into auth.invitations (family_id, role, token_mac, invited_by, created_at, expires_at) \
           select '{family}', 'ADMIN', decode(lpad(n::text, 8, '0'), 'hex'), '{ada}', now(), now() + interval '1 day' \
           from generate_series(1, 199) n",
        ada = owner.user_id(),
    );
    sql.batch_execute(&fill).await.expect("there are many");
    let limit = (409, "FAMILY_LIMIT".to_owned());
    let another = stage
        .post_as(&owner, "/auth/families", &json!({"name": "Another"}))
        .await;
    assert_eq!(verdict(&another), limit);
    assert_eq!(verdict(&stage.accept(&bob, &link).await), limit);
    let path = format!("/auth/families/{family}/children");
    let child = stage
        .post_as(&owner, &path, &json!({"display_name": "Cleo"}))
        .await;
    assert_eq!(verdict(&child), limit);
    let path = format!("/auth/families/{family}/invitations");
    let invitation = stage
        .post_as(&owner, &path, &json!({"role": "ADMIN"}))
        .await;
    assert_eq!(verdict(&invitation), limit);
    drop(sql);
    stage.host.stop().await;
}
