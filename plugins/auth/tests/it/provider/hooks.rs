//! What another plugin has to say when somebody comes from another place.

use serde_json::json;

use super::{
    REACH_LOOPBACK, TRUSTED,
    app_tokens::{NONCE, claims, configured},
    arrive,
    browser::{Browser, HOME, parameter},
    builder,
    fake::{Issuer, Key},
    id_of,
    place::Place,
};
use crate::{
    hooks::{HOOKS, refusal},
    stage::Stage,
};

#[tokio::test]
async fn who_may_not_register_or_sign_in_is_sent_back_with_the_reason() {
    let place = Place::open().await;
    let provider = place.configured("place", TRUSTED);
    let host = builder(&[REACH_LOOPBACK, &*provider]).plugin(HOOKS);
    let stage = Stage {
        host: host.start().await,
    };
    stage.hook("register", &refusal()).await;
    let reason = stage.refused_with("place", "alice").await;
    assert_eq!(reason, "CHORES_NOT_DONE");
    let asked = stage.asked("register").await;
    assert_eq!(
        (&asked[0]["way"], &asked[0]["provider"]),
        (&json!("provider"), &json!("place"))
    );
    stage.hook("register", &json!("hang")).await;
    let reason = stage.refused_with("place", "alice").await;
    assert_eq!(reason, "HOOK_UNAVAILABLE");
    let people = "select count(*) from public.users";
    let row = stage.host.sql().await.query_one(people, &[]).await;
    assert_eq!(row.expect("it counts").get::<_, i64>(0), 0);

    stage.hook("register", &json!({})).await;
    let alice = stage.signed_in_with("place", "alice").await;
    // Who has an account is not asked about as a newcomer again.
    let asked = stage.asked("register").await.len();
    stage.hook("register", &refusal()).await;
    let again = stage.signed_in_with("place", "alice").await;
    assert_eq!(id_of(&again), id_of(&alice));
    assert_eq!(stage.asked("register").await.len(), asked);

    stage.hook("sign-in", &refusal()).await;
    let arrived = arrive(&mut Browser::of(&stage.host, "alice"), "place").await;
    let refused = stage.exchange(&arrived).await;
    assert_eq!((refused.status, &*refused.code()), (403, "CHORES_NOT_DONE"));
    stage.host.stop().await;
}

const APP: &str = "https://app.example/signed-in";

/// Where a browser ends that signs in for an app which is written for Nhost.
async fn arrive_in_app(stage: &Stage, person: &str) -> String {
    let start = format!("{HOME}/signin/provider/place?redirectTo={APP}&displayName=Ali");
    Browser::of(&stage.host, person)
        .follow_to(&start, APP)
        .await
}

#[tokio::test]
async fn an_app_written_for_nhost_gets_the_reason_too() {
    let place = Place::open().await;
    let provider = place.configured("place", TRUSTED);
    let app = format!("[plugins.auth.config]\nredirect_urls = [\"{APP}\"]");
    let host = builder(&[REACH_LOOPBACK, &*provider, &*app]).plugin(HOOKS);
    let stage = Stage {
        host: host.start().await,
    };
    for hook in ["register", "sign-in"] {
        stage.hook(hook, &refusal()).await;
        let arrived = arrive_in_app(&stage, "alice").await;
        assert_eq!(parameter(&arrived, "refreshToken"), None);
        let reason = parameter(&arrived, "errorDescription");
        assert_eq!(reason.as_deref(), Some("do your chores first"), "{arrived}");
        stage.hook(hook, &json!({})).await;
    }
    let asked = stage.asked("register").await;
    assert_eq!(
        (&asked[0]["way"], &asked[0]["display_name"]),
        (&json!("provider"), &json!("Ali")),
        "as the account will say"
    );
    let arrived = arrive_in_app(&stage, "alice").await;
    assert!(parameter(&arrived, "refreshToken").is_some(), "{arrived}");
    stage.host.stop().await;
}

#[tokio::test]
async fn who_brings_an_id_token_is_asked_about_too() {
    let key = Key::new("one");
    let issuer = Issuer::open(vec![key.jwk.clone()], |_, _| ()).await;
    let host = builder(&[REACH_LOOPBACK, &configured(issuer.issuer())]).plugin(HOOKS);
    let stage = Stage {
        host: host.start().await,
    };
    // A token is taken once.
    let shown = || {
        let token = key.sign("one", &claims(issuer.issuer()));
        json!({"provider": "place", "idToken": token, "nonce": NONCE})
    };
    for hook in ["register", "sign-in"] {
        stage.hook(hook, &refusal()).await;
        for path in ["/signup/idtoken", "/signin/idtoken"] {
            let refused = stage.post(path, &shown()).await;
            let message = &refused.json()["message"];
            assert_eq!(
                (refused.status, message),
                (403, &json!("do your chores first"))
            );
        }
        let body = json!({"id_token": shown()["idToken"], "nonce": NONCE});
        let refused = stage.post("/auth/oauth/place/id-token", &body).await;
        assert_eq!((refused.status, &*refused.code()), (403, "CHORES_NOT_DONE"));
        stage.hook(hook, &json!({})).await;
    }
    let _ = stage
        .post("/signin/idtoken", &shown())
        .await
        .expect_status(200);
    stage.host.stop().await;
}
