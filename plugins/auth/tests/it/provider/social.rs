//! Discord's and Facebook's ways to say who somebody is, on servers of the test's own.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{
    REACH_LOOPBACK, Session,
    browser::{Browser, parameter},
    callback_of,
    fake::{Fake, Told, told},
    id_of, stage, start_of,
};
use crate::stage::Stage;

/// A place that says of whoever comes what stands in `person`; it keeps the addresses that it was asked for.
async fn place(person: &Arc<Mutex<Value>>, asked_for: &Arc<Mutex<Vec<String>>>) -> Fake {
    let (person, asked_for) = (Arc::clone(person), Arc::clone(asked_for));
    Fake::open(move |_, asked| {
        asked_for.lock().expect("whole").push(asked.path.clone());
        let is_bearer = asked.text.contains("authorization: Bearer the-token\r\n");
        match asked.path.split('?').next().unwrap_or_default() {
            "/token" if asked.text.contains("code=good") && asked.text.contains("code_verifier=") => told(
                &json!({"access_token": "the-token", "token_type": "Bearer", "expires_in": 604_800, "scope": "identify email"}),
            ),
            "/me" if is_bearer => told(&person.lock().expect("whole")),
            _ => Told {
                head: "HTTP/1.1 401 Unauthorized\r\n".to_owned(),
                body: String::new(),
            },
        }
    })
    .await
}

fn configured(slug: &str, preset: &str, place: &Fake, userinfo: &str) -> String {
    let root = &place.root;
    format!(
        "[plugins.auth.config.providers.{slug}]\npreset = \"{preset}\"\nclient_id = \"nself\"\ntrusts_email = true\n\
         [plugins.auth.config.providers.{slug}.endpoints]\nauthorization = \"{root}/authorize\"\n\
         token = \"{root}/token\"\nuserinfo = \"{root}{userinfo}\""
    )
}

/// Somebody says yes there, and what is asked for.
async fn signed_in(stage: &Stage, slug: &str) -> (Session, String) {
    let mut browser = Browser::of(&stage.host, "");
    let asked = browser.open(&start_of(slug)).await;
    let asked = asked.leads_to();
    let scope = parameter(asked, "scope").expect("a scope");
    let state = parameter(asked, "state").expect("a state");
    let answer = format!("{}?code=good&state={state}", callback_of(slug));
    let arrived = browser.open(&answer).await.leads_to().to_owned();
    let session = stage.exchange(&arrived).await.expect_status(200).data();
    (Session(session), scope)
}

#[tokio::test]
async fn discord_vouches_for_addresses_and_facebook_does_not() {
    let nelly = Arc::new(Mutex::new(json!({
        "id": "80351110224678912", "username": "nelly", "global_name": "Nelly", "discriminator": "0",
        "email": "Nelly@Example.org", "verified": true,
    })));
    let at_facebook = Arc::new(Mutex::new(
        json!({"id": "10158", "name": "Nelly F.", "email": "nelly@example.org"}),
    ));
    let asked_for = Arc::new(Mutex::new(Vec::new()));
    let discord = place(&nelly, &asked_for).await;
    let facebook = place(&at_facebook, &asked_for).await;
    let stage = stage(&[
        REACH_LOOPBACK,
        &configured("hub", "discord", &discord, "/me"),
        &configured("place", "facebook", &facebook, "/me?fields=id,name,email"),
    ])
    .await;
    let ada = stage.person("nelly@example.org").await;
    let (first, scope) = signed_in(&stage, "hub").await;
    assert_eq!(scope, "identify email");
    assert_eq!(
        id_of(&first),
        id_of(&ada),
        "the address is proved at both ends"
    );

    // Facebook says an address and nothing of whether it was shown to be theirs: it is nobody's yet.
    let (second, scope) = signed_in(&stage, "place").await;
    assert_eq!(scope, "public_profile email");
    assert_ne!(id_of(&second), id_of(&ada));
    assert_eq!(second.0["user"]["email"], json!(null));
    assert_eq!(second.0["user"]["display_name"], "Nelly F.");
    let (again, _) = signed_in(&stage, "place").await;
    assert_eq!(id_of(&again), id_of(&second));
    assert!(
        asked_for
            .lock()
            .expect("whole")
            .contains(&"/me?fields=id,name,email".to_owned())
    );

    // Another account there that has not shown the address, and whose name has gone to somebody else.
    *nelly.lock().expect("whole") = json!({"id": "2", "username": "nelly", "global_name": null, "email": "nelly@example.org", "verified": false});
    let (third, _) = signed_in(&stage, "hub").await;
    assert!(![id_of(&ada), id_of(&second)].contains(&id_of(&third)));
    assert_eq!(third.0["user"]["email"], json!(null));
    assert_eq!(third.0["user"]["display_name"], "nelly");

    let configured = stage.host.get("/auth/admin/providers").operator();
    let configured = configured.send().await.expect_status(200).data();
    let told = |name: &str| [&configured[0][name], &configured[1][name]].map(Clone::clone);
    assert_eq!(json!(told("label")), json!(["Discord", "Facebook"]));
    assert_eq!(json!(told("people")), json!([2, 1]));
    assert_eq!(json!(told("issuer")), json!([discord.root, facebook.root]));
    assert_eq!(configured[0]["callback_urls"][0], callback_of("hub"));
    assert!(
        !configured.to_string().contains("the secret"),
        "{configured}"
    );
    stage.host.stop().await;
}
