//! What another plugin has to say when somebody comes from another place.

use serde_json::json;

use super::{REACH_LOOPBACK, TRUSTED, arrive, browser::Browser, builder, id_of, place::Place};
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
