//! Places that are no OpenID providers: GitHub's ways, on a server of the test's own.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{
    REACH_LOOPBACK, TRUSTED,
    browser::{Browser, parameter},
    callback_of,
    fake::{Asked, Fake, Told, told},
    id_of, stage, start_of,
};
use crate::stage::{PASSWORD, Stage};

/// Who is signed in at the fake GitHub.
#[derive(Clone)]
struct Person {
    user: Value,
    emails: Value,
}

/// GitHub as far as signing in goes: the page, the token, the user, the addresses.
async fn hub(person: Arc<Mutex<Person>>) -> (Fake, Arc<Mutex<Vec<Asked>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let fake = Fake::open(move |_, asked| {
        hearing.lock().expect("whole").push(asked.clone());
        let person = person.lock().expect("whole").clone();
        let (page, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let is_bearer = asked.text.contains("authorization: Bearer gho_abc\r\n");
        match page {
            "/authorize" => Told {
                head: "HTTP/1.1 404 Not Found\r\n".to_owned(),
                body: query.to_owned(),
            },
            // It answers 200 whatever happens.
            "/token" if asked.text.contains("code=good") => told(
                &json!({"access_token": "gho_abc", "token_type": "bearer", "scope": "user:email"}),
            ),
            "/token" => told(&json!({"error": "bad_verification_code"})),
            "/user" if is_bearer => told(&person.user),
            "/user/emails" if is_bearer => told(&person.emails),
            _ => Told {
                head: "HTTP/1.1 401 Unauthorized\r\n".to_owned(),
                body: String::new(),
            },
        }
    })
    .await;
    (fake, heard)
}

async fn with_hub(person: &Arc<Mutex<Person>>) -> (Stage, Fake, Arc<Mutex<Vec<Asked>>>) {
    let (fake, heard) = hub(Arc::clone(person)).await;
    let root = &fake.root;
    let provider = format!(
        "[plugins.auth.config.providers.hub]\npreset = \"github\"\nclient_id = \"nself\"\n{TRUSTED}\n\
         [plugins.auth.config.providers.hub.endpoints]\nauthorization = \"{root}/authorize\"\n\
         token = \"{root}/token\"\nuserinfo = \"{root}/user\"\nemails = \"{root}/user/emails\""
    );
    (stage(&[REACH_LOOPBACK, &provider]).await, fake, heard)
}

/// Somebody says yes there; where that leads.
async fn said_yes(stage: &Stage, code: &str) -> String {
    let mut browser = Browser::of(&stage.host, "");
    let asked = browser.open(&start_of("hub")).await;
    let state = parameter(asked.leads_to(), "state").expect("a state");
    let answer = format!("{}?code={code}&state={state}", callback_of("hub"));
    browser.open(&answer).await.leads_to().to_owned()
}

#[tokio::test]
async fn github_names_people_by_number_and_vouches_for_their_chosen_address() {
    let person = Arc::new(Mutex::new(Person {
        user: json!({"id": 583_231, "login": "octocat", "name": null, "email": "for-show@example.org"}),
        emails: json!([
            {"email": "old@example.org", "primary": false, "verified": true},
            {"email": "Ada@Example.org", "primary": true, "verified": true},
        ]),
    }));
    let (stage, _hub, heard) = with_hub(&person).await;
    let ada = stage.person("ada@example.org").await;
    let arrived = said_yes(&stage, "good").await;
    let session = super::Session(stage.exchange(&arrived).await.expect_status(200).data());
    assert_eq!(id_of(&session), id_of(&ada));
    let asked = heard.lock().expect("whole").clone();
    let token = &asked[0];
    assert_eq!(token.path, "/token");
    for part in [
        "code=good",
        "code_verifier=",
        "client_id=nself",
        "client_secret=the+secret%3A+of+nself",
        "redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fauth%2Foauth%2Fhub%2Fcallback",
    ] {
        assert!(token.text.contains(part), "{part} in {}", token.text);
    }
    // Another person takes the name and the address there: that is somebody else.
    {
        let mut person = person.lock().expect("whole");
        person.user["id"] = json!(2);
        person.emails = json!([{"email": "ada@example.org", "primary": true, "verified": false}]);
    }
    let arrived = said_yes(&stage, "good").await;
    let other = super::Session(stage.exchange(&arrived).await.expect_status(200).data());
    assert_ne!(id_of(&other), id_of(&ada));
    assert_eq!(other.0["user"]["email"], json!(null));
    assert_eq!(other.0["user"]["display_name"], "octocat");
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_wrong_code_is_no_person_although_the_answer_is_200() {
    let person = Arc::new(Mutex::new(Person {
        user: json!({"id": 1}),
        emails: json!([]),
    }));
    let (stage, _hub, heard) = with_hub(&person).await;
    let refused = said_yes(&stage, "bad").await;
    assert_eq!(
        parameter(&refused, "error").as_deref(),
        Some("PROVIDER_FAILED")
    );
    person.lock().expect("whole").user = json!({"login": "nobody", "id": {"a": 1}});
    let refused = said_yes(&stage, "good").await;
    assert_eq!(
        parameter(&refused, "error").as_deref(),
        Some("PROVIDER_FAILED")
    );
    assert!(
        heard
            .lock()
            .expect("whole")
            .iter()
            .all(|asked| asked.path != "/user/emails")
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn the_way_to_a_place_without_discovery_says_what_it_must() {
    let person = Arc::new(Mutex::new(Person {
        user: json!({"id": 1}),
        emails: json!([]),
    }));
    let (stage, hub, _) = with_hub(&person).await;
    let asked = Browser::of(&stage.host, "").open(&start_of("hub")).await;
    let asked = asked.leads_to();
    assert!(
        asked.starts_with(&format!("{}/authorize?", hub.root)),
        "{asked}"
    );
    assert_eq!(
        parameter(asked, "scope").as_deref(),
        Some("read%3Auser user%3Aemail")
    );
    assert_eq!(
        parameter(asked, "code_challenge_method").as_deref(),
        Some("S256")
    );
    assert_eq!(parameter(asked, "nonce"), None);
    let body = json!({"id_token": "a.b.c", "nonce": "of the app"});
    let none = stage.post("/auth/oauth/hub/id-token", &body).await;
    assert_eq!((none.status, &*none.code()), (404, "PROVIDER_NOT_FOUND"));
    stage.host.stop().await;
}
