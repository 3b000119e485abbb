//! Whose account it is.

use nself_plugin_testkit::eventually;
use serde_json::json;

use super::{
    CHALLENGE, REACH_LOOPBACK, TRUSTED, VERIFIER,
    browser::{Browser, HOME, parameter},
    id_of,
    place::Place,
    stage, with_place,
};
use crate::stage::{PASSWORD, Session, Stage};

const OPEN: &str = "[plugins.auth.config]\nsign_up = \"open\"";

#[tokio::test]
async fn a_trusted_places_word_leads_into_the_account_that_has_the_address() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let alice = stage.person("alice@example.org").await;
    let linked = stage.signed_in_with("place", "alice").await;
    assert_eq!(id_of(&linked), id_of(&alice));
    assert_eq!(
        linked.0["user"]["display_name"], "Ada",
        "the account stays hers"
    );
    let _ = stage
        .login("alice@example.org", PASSWORD)
        .await
        .expect_status(200);
    let told = stage.mail("alice@example.org", "New sign-in").await;
    assert!(told.contains("New sign-in"));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_place_that_is_not_trusted_leads_into_no_account() {
    let (stage, _place) = with_place(&[], "").await;
    let alice = stage.person("alice@example.org").await;
    assert_eq!(
        stage.refused_with("place", "alice").await,
        "LINK_REQUIRES_SIGN_IN"
    );
    assert_eq!(stage.identities(&alice).await.len(), 0);
    // Nobody has this address: an account begins, without the address, which is not proved.
    let bob = stage.signed_in_with("place", "bob").await;
    assert_eq!(bob.0["user"]["email"], json!(null));
    let real = stage.person("bob@example.org").await;
    assert_ne!(id_of(&real), id_of(&bob));
    assert_eq!(
        id_of(&stage.signed_in_with("place", "bob").await),
        id_of(&bob)
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn an_address_that_the_place_does_not_vouch_for_links_nothing_and_tells_nothing() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let alice = stage.person("alice@example.org").await;
    let claimed = stage.signed_in_with("place", "alice+unverified").await;
    let free = stage.signed_in_with("place", "carol+unverified").await;
    assert_ne!(id_of(&claimed), id_of(&alice));
    for session in [&claimed, &free] {
        assert_eq!(session.0["user"]["email"], json!(null));
    }
    assert_eq!(stage.identities(&alice).await.len(), 0);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_registered_a_strangers_address_loses_what_they_planted_when_a_place_proves_it() {
    let (stage, _place) = with_place(&[OPEN], TRUSTED).await;
    let attacker = stage.person("alice@example.org").await;
    let alice = stage.signed_in_with("place", "alice").await;
    assert_eq!(id_of(&alice), id_of(&attacker));
    assert_eq!(alice.0["user"]["is_email_verified"], json!(true));
    let _ = stage
        .login("alice@example.org", PASSWORD)
        .await
        .expect_status(401);
    let _ = stage.refresh(attacker.refresh()).await.expect_status(401);
    eventually("the attacker's token ends", async || {
        let answer = stage.get_as(&attacker, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    assert_eq!(stage.identities(&alice).await.len(), 1);
    stage.host.stop().await;
}

#[tokio::test]
async fn another_address_at_the_place_moves_nobody() {
    let (stage, place) = with_place(&[], TRUSTED).await;
    let alice = stage.signed_in_with("place", "alice").await;
    let bob = stage.person("bob@example.org").await;
    place
        .change("alice", &json!({"email": "bob@example.org"}))
        .await;
    let later = stage.signed_in_with("place", "alice").await;
    assert_eq!(id_of(&later), id_of(&alice));
    assert_ne!(id_of(&later), id_of(&bob));
    assert_eq!(later.0["user"]["email"], "alice@example.org");
    let shown = stage.identities(&later).await;
    assert_eq!(
        shown[0]["email"], "bob@example.org",
        "it is shown as what it is"
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn the_same_name_from_another_issuer_is_another_person() {
    let (place, other) = (Place::open().await, Place::open().await);
    let providers = [place.configured("place", ""), other.configured("other", "")];
    let stage = stage(&[REACH_LOOPBACK, &providers[0], &providers[1]]).await;
    let here = stage.signed_in_with("place", "alice").await;
    let there = stage.signed_in_with("other", "alice").await;
    assert_ne!(id_of(&here), id_of(&there));
    stage.host.stop().await;
}

/// Links a place in a browser, until the app has its code.
async fn linked_up_to_the_code(stage: &Stage, session: &Session, person: &str) -> String {
    let body = json!({"redirect_to": "/linked", "code_challenge": CHALLENGE, "state": "s"});
    let begun = stage
        .post_as(session, "/auth/identities/link/place", &body)
        .await;
    let begun = begun.expect_status(200).data();
    let url = begun["url"].as_str().expect("an address");
    let mut browser = Browser::of(&stage.host, person);
    let arrived = browser.follow_to(url, &format!("{HOME}/linked")).await;
    let again = browser.open(url).await;
    assert_eq!(
        (again.status, &*again.code()),
        (401, "CODE_INVALID"),
        "a ticket is good once"
    );
    parameter(&arrived, "code").expect("a code")
}

#[tokio::test]
async fn who_is_signed_in_links_a_place_and_nobody_else_can_for_them() {
    let (stage, _place) = with_place(&[OPEN], "").await;
    let ada = stage.person("ada@example.org").await;
    let eve = stage.person("eve@example.org").await;
    let exchange = |code: &str| json!({"code": code, "code_verifier": VERIFIER});

    let code = linked_up_to_the_code(&stage, &ada, "alice").await;
    let anonymous = stage.post("/auth/oauth/exchange", &exchange(&code)).await;
    assert_eq!(
        (anonymous.status, &*anonymous.code()),
        (401, "CODE_INVALID")
    );
    let code = linked_up_to_the_code(&stage, &ada, "alice").await;
    let _ = stage
        .post_as(&eve, "/auth/oauth/exchange", &exchange(&code))
        .await
        .expect_status(401);
    assert_eq!(stage.identities(&ada).await.len(), 0);
    assert_eq!(stage.identities(&eve).await.len(), 0);

    let code = linked_up_to_the_code(&stage, &ada, "alice").await;
    let linked = stage
        .post_as(&ada, "/auth/oauth/exchange", &exchange(&code))
        .await;
    assert_eq!(linked.expect_status(200).data()["provider"], "place");
    let by_place = stage.signed_in_with("place", "alice").await;
    assert_eq!(id_of(&by_place), id_of(&ada));
    assert_eq!(by_place.0["user"]["email"], "ada@example.org");

    let code = linked_up_to_the_code(&stage, &eve, "alice").await;
    let taken = stage
        .post_as(&eve, "/auth/oauth/exchange", &exchange(&code))
        .await;
    assert_eq!((taken.status, &*taken.code()), (409, "IDENTITY_TAKEN"));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_that_has_not_heard_of_its_end_links_nothing() {
    let (stage, _place) = with_place(&[OPEN], "").await;
    let ada = stage.person("ada@example.org").await;
    let code = linked_up_to_the_code(&stage, &ada, "alice").await;
    let sql = stage.host.sql().await;
    // Without the notification that tells the hosts.
    sql.batch_execute("update auth.sessions set revoked_at = now(), revoked_why = 'taken_over'")
        .await
        .expect("the session ends");
    let body = json!({"code": code, "code_verifier": VERIFIER});
    let refused = stage.post_as(&ada, "/auth/oauth/exchange", &body).await;
    assert_eq!((refused.status, &*refused.code()), (401, "SESSION_REVOKED"));
    let links = sql
        .query_one("select count(*) from auth.identities", &[])
        .await;
    assert_eq!(links.expect("a count").get::<_, i64>(0), 0);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_link_is_taken_away_by_its_owner_with_a_fresh_proof() {
    let (stage, _place) = with_place(&[OPEN], "").await;
    let ada = stage.person("ada@example.org").await;
    let eve = stage.person("eve@example.org").await;
    let code = linked_up_to_the_code(&stage, &ada, "alice").await;
    let body = json!({"code": code, "code_verifier": VERIFIER});
    let linked = stage.post_as(&ada, "/auth/oauth/exchange", &body).await;
    let id = linked.expect_status(200).data()["id"].clone();
    let path = format!("/auth/identities/{}", id.as_str().expect("an id"));
    let unlink = async |session: &Session, path: &str| {
        stage.host.delete(path).token(session.access()).send().await
    };
    let foreign = unlink(&eve, &path).await;
    assert_eq!(
        (foreign.status, &*foreign.code()),
        (404, "IDENTITY_NOT_FOUND")
    );
    let missing = format!("/auth/identities/{}", uuid::Uuid::now_v7());
    assert_eq!(unlink(&eve, &missing).await.text(), foreign.text());

    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.sessions set elevated_until = now() - interval '1 minute'")
        .await
        .expect("time passes");
    let later = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    let refused = unlink(&later, &path).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (403, "STEP_UP_REQUIRED")
    );
    let body = json!({"redirect_to": "/linked", "code_challenge": CHALLENGE});
    let refused = stage
        .post_as(&later, "/auth/identities/link/place", &body)
        .await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (403, "STEP_UP_REQUIRED")
    );

    sql.batch_execute("update public.users set kind = 'child'")
        .await
        .expect("she is a child");
    sql.batch_execute("update auth.sessions set elevated_until = now() + interval '5 minutes'")
        .await
        .expect("her guardian proved it");
    let child = Session(
        stage
            .refresh(later.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let refused = unlink(&child, &path).await;
    assert_eq!((refused.status, &*refused.code()), (403, "CHILD_ACCOUNT"));
    sql.batch_execute("update public.users set kind = 'human'")
        .await
        .expect("she has grown up");

    let fresh = stage
        .post_as(
            &later,
            "/auth/reauthenticate",
            &json!({"password": PASSWORD}),
        )
        .await;
    let fresh = Session(fresh.expect_status(200).data());
    let _ = unlink(&fresh, &path).await.expect_status(200);
    let _ = unlink(&fresh, &path).await.expect_status(404);
    let entries = sql
        .query(
            "select action from nself.audit_log where action like 'auth.identity%' order by sequence",
            &[],
        )
        .await
        .expect("the audit log");
    let entries: Vec<&str> = entries.iter().map(|row| row.get(0)).collect();
    assert_eq!(entries, ["auth.identity_linked", "auth.identity_unlinked"]);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn the_last_way_to_sign_in_stays() {
    let (stage, _place) = with_place(&[], "").await;
    let alice = stage.signed_in_with("place", "alice").await;
    let linked = linked_up_to_the_code(&stage, &alice, "alice-too").await;
    let body = json!({"code": linked, "code_verifier": VERIFIER});
    let _ = stage
        .post_as(&alice, "/auth/oauth/exchange", &body)
        .await
        .expect_status(200);
    let identities = stage.identities(&alice).await;
    let both = identities.iter().map(|identity| {
        let path = format!(
            "/auth/identities/{}",
            identity["id"].as_str().expect("an id")
        );
        let (stage, alice) = (&stage, &alice);
        async move { stage.host.delete(&path).token(alice.access()).send().await }
    });
    let mut answers: Vec<(u16, String)> = futures_util::future::join_all(both)
        .await
        .iter()
        .map(|answer| (answer.status, answer.code()))
        .collect();
    answers.sort();
    let expected = [
        (200, String::new()),
        (409, "LAST_SIGN_IN_METHOD".to_owned()),
    ];
    assert_eq!(answers, expected, "also when both go at once");
    stage.host.stop().await;
}
