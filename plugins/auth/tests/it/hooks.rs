//! What another plugin has to say when somebody registers or signs in. The plugin `fixture-hooks` does with each hook what a
//! test tells it.

use nself_plugin_testkit::{Answer, LIMIT, TestHost, eventually};
use serde_json::{Value, json};

use crate::{
    authenticator::Key,
    devices,
    stage::{PASSWORD, Session, Stage},
};

const ADA: &str = "ada@example.org";

pub(crate) const HOOKS: &str = "nself-plugin-fixture-hooks";

impl Stage {
    /// With somebody who is asked.
    pub(crate) async fn hooked(config: &str) -> Self {
        let host = Self::builder(config).plugin(HOOKS).start().await;
        Self { host }
    }

    /// From now on the hook does that.
    pub(crate) async fn hook(&self, hook: &str, act: &Value) {
        let told = self.host.put(&format!("/hooks/{hook}")).json(act).send();
        let _ = told.await.expect_status(204);
    }

    /// What the hook was asked so far.
    pub(crate) async fn asked(&self, hook: &str) -> Vec<Value> {
        let asked = self.host.get(&format!("/hooks/{hook}")).send().await;
        let asked = asked.expect_status(200).data();
        asked.as_array().expect("a list of questions").clone()
    }

    /// How many sessions go on.
    pub(crate) async fn sessions(&self) -> i64 {
        let sql = "select count(*) from auth.sessions where revoked_at is null";
        let row = self.host.sql().await.query_one(sql, &[]).await;
        row.expect("the sessions are counted").get(0)
    }
}

pub(crate) fn refusal() -> Value {
    json!({"refuse": {"code": "CHORES_NOT_DONE", "message": "do your chores first"}})
}

#[track_caller]
fn check_refused(answer: &Answer) {
    let said = answer.json();
    assert_eq!(answer.status, 403, "{said}");
    assert_eq!(said["code"], "CHORES_NOT_DONE", "{said}");
    assert_eq!(said["error"], "do your chores first", "{said}");
}

#[track_caller]
fn check_unavailable(answer: &Answer) {
    let said = answer.json();
    assert_eq!(answer.status, 503, "{said}");
    assert_eq!(said["code"], "HOOK_UNAVAILABLE", "{said}");
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(said["details"], json!({}), "{said}");
}

#[tokio::test]
async fn claims_of_another_plugin_stand_in_every_token_and_change_nothing_else() {
    let stage = Stage::hooked("").await;
    let plain = stage.person(ADA).await.claims();
    stage
        .hook(
            "claims",
            &json!({"answer": {"chores.points": 7, "x-hasura-plan": "pro"}}),
        )
        .await;
    let login = stage.login(ADA, PASSWORD).await.expect_status(200);
    let session = Session(login.data());
    let refreshed = stage.refresh(session.refresh()).await.expect_status(200);
    let refreshed = Session(refreshed.data());
    let again = json!({"password": PASSWORD});
    let again = stage
        .post_as(&refreshed, "/auth/reauthenticate", &again)
        .await;
    let again = Session(again.expect_status(200).data());
    for session in [&session, &refreshed, &again] {
        let claims = session.claims();
        assert_eq!(claims["chores.points"], 7);
        let variables = &claims["https://hasura.io/jwt/claims"];
        assert_eq!(variables["x-hasura-plan"], "pro");
        let named = |claims: &Value| -> Vec<String> {
            let all = claims.as_object().expect("claims");
            all.keys()
                .filter(|name| !["chores.points", "x-hasura-plan"].contains(&name.as_str()))
                .cloned()
                .collect()
        };
        assert_eq!(named(&claims), named(&plain));
        let hasura = "https://hasura.io/jwt/claims";
        assert_eq!(named(variables), named(&plain[hasura]));
        let me = stage.get_as(session, "/auth/me").send().await;
        let _ = me.expect_status(200);
    }
    let asked = stage.asked("claims").await;
    let last = asked.last().expect("it was asked");
    assert_eq!(last["session_id"], session.0["session_id"]);
    assert_eq!(last["user_id"], plain["sub"]);
    stage.host.stop().await;
}

#[tokio::test]
async fn claims_that_say_who_somebody_is_are_a_failure_and_nobody_gets_a_token() {
    let stage = Stage::hooked("").await;
    let session = stage.person(ADA).await;
    let before = stage.sessions().await;
    for answer in [
        json!({"x-hasura-default-role": "OWNER"}),
        json!({"X-Hasura-User-Id": "somebody"}),
        json!({"x-hasura-family-ids": "{}"}),
        json!({"sub": "somebody"}),
        json!({"scope": "auth.introspect"}),
        json!({"https://hasura.io/jwt/claims": {}}),
        json!(["no", "object"]),
    ] {
        stage.hook("claims", &json!({"answer": answer})).await;
        check_unavailable(&stage.login(ADA, PASSWORD).await);
        check_unavailable(&stage.refresh(session.refresh()).await);
    }
    assert_eq!(
        stage.sessions().await,
        before,
        "what got no token has ended"
    );
    // Asked before the session turns: the token that was refused for a while is still good.
    stage.hook("claims", &json!({})).await;
    let _ = stage.refresh(session.refresh()).await.expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_switch_of_the_family_asks_for_the_claims_in_the_new_one() {
    let stage = Stage::hooked("").await;
    let (family, owner) = stage.owner(ADA).await;
    assert_eq!(owner.0["role"], "OWNER");
    let asked = stage.asked("claims").await;
    let last = asked.last().expect("it was asked");
    assert_eq!(
        (&last["family_id"], &last["role"]),
        (&json!(family), &json!("OWNER"))
    );
    // Somebody else's family is told to nobody.
    let bob = stage.person("bob@example.org").await;
    let body = json!({"refresh_token": bob.refresh(), "family_id": family});
    let _ = stage.post("/auth/refresh", &body).await.expect_status(404);
    let asked = stage.asked("claims").await;
    assert_eq!(
        asked.last().expect("it was asked")["family_id"],
        Value::Null
    );
    stage.host.stop().await;
}

/// Ways in, each as far as it can come: the answer that would carry tokens.
async fn ways(stage: &Stage, ada: &Session) -> Vec<(&'static str, Answer)> {
    let known = json!({"email": ADA, "password": PASSWORD});
    let mut ways = vec![("password", stage.login(ADA, PASSWORD).await)];
    ways.push(("nhost", stage.post("/signin/email-password", &known).await));
    let made = json!({"name": "script"});
    let made = stage.post_as(ada, "/auth/tokens", &made).await;
    let token = json!({"token": made.expect_status(201).data()["token"]});
    ways.push(("script", stage.post("/auth/tokens/exchange", &token).await));
    ways.push(("anonymous", stage.post("/auth/anonymous", &json!({})).await));
    let begun = devices::begin(stage).await;
    let decided = devices::decide(stage, ada, &begun, "approve").await;
    let _ = decided.expect_status(200);
    ways.push(("machine", devices::poll(stage, &begun).await));
    ways
}

/// The same by the mailbox.
async fn ways_by_mail(stage: &Stage) -> Vec<(&'static str, Answer)> {
    let mailbox = json!({"email": ADA});
    let _ = stage.post("/auth/magic-link/start", &mailbox).await;
    let token = stage.mailed_token(ADA, "magic-link/verify").await;
    let link = json!({"token": token});
    let link = stage.post("/auth/magic-link/verify", &link).await;
    let flow = stage.post("/auth/otp/start", &mailbox).await.data();
    let code = json!({"flow_id": flow["flow_id"], "code": stage.mailed_code(ADA).await});
    vec![
        ("link", link),
        ("code", stage.post("/auth/otp/verify", &code).await),
    ]
}

#[tokio::test]
async fn every_way_of_signing_in_is_asked_about_and_can_be_refused() {
    let stage = Stage::hooked("[plugins.auth.config]\nanonymous_sign_in = true").await;
    let (family, ada) = stage.owner(ADA).await;
    let before = stage.sessions().await;
    let asked_before = stage.asked("sign-in").await.len();

    stage.hook("sign-in", &refusal()).await;
    let mut refused = ways(&stage, &ada).await;
    refused.extend(ways_by_mail(&stage).await);
    for (way, answer) in &refused {
        match *way {
            "nhost" => {
                let said = answer.json();
                assert_eq!(answer.status, 403, "{way}: {said}");
                assert_eq!(said["message"], "do your chores first", "{way}: {said}");
            }
            _ => check_refused(answer),
        }
    }
    assert_eq!(stage.sessions().await, before, "nobody is in");
    let asked = stage.asked("sign-in").await.split_off(asked_before);
    let amr: Vec<Value> = asked.iter().map(|asked| asked["amr"].clone()).collect();
    let expected = json!([
        ["pwd"],
        ["pwd"],
        ["pat"],
        ["anonymous"],
        [],
        ["otp"],
        ["otp"]
    ]);
    assert_eq!(json!(amr), expected);
    let (person, machine) = (&asked[0], &asked[4]);
    assert_eq!(person["email"], ADA);
    assert_eq!(person["from"]["ip"], "127.0.0.1");
    assert_eq!(
        (&machine["user_id"], &machine["family_id"]),
        (&Value::Null, &json!(family))
    );

    // It says yes: each of them signs in.
    stage.hook("sign-in", &json!({})).await;
    for (way, answer) in ways(&stage, &ada).await {
        assert!(answer.status < 300, "{way}: {}", answer.text());
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_second_factor_and_a_passkey_are_asked_about_once_all_is_shown() {
    let stage = Stage::hooked("").await;
    let ada = stage.person(ADA).await;
    let (_, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    let (app, _) = stage.enroll(&ada).await;
    stage.hook("sign-in", &refusal()).await;
    let asked_before = stage.asked("sign-in").await.len();
    // The first factor alone lets nobody in, so nobody is asked.
    let flow = stage.first_factor(ADA, PASSWORD).await;
    assert_eq!(stage.asked("sign-in").await.len(), asked_before);
    let body = json!({"flow_id": flow, "code": app.code()});
    check_refused(&stage.post("/auth/mfa/verify", &body).await);
    let proof = stage.proof(&mut passkey).await;
    check_refused(&stage.post("/auth/passkeys/login/verify", &proof).await);
    let asked = stage.asked("sign-in").await.split_off(asked_before);
    let amr: Vec<&Value> = asked.iter().map(|asked| &asked["amr"]).collect();
    assert_eq!(amr, [&json!(["pwd", "otp", "mfa"]), &json!(["hwk", "mfa"])]);
    stage.host.stop().await;
}

#[tokio::test]
async fn while_a_hook_hangs_fails_panics_or_says_something_else_nobody_gets_a_token() {
    let stage = Stage::hooked("").await;
    let session = stage.person(ADA).await;
    let before = stage.sessions().await;
    for act in [
        json!("hang"),
        json!("fail"),
        json!("panic"),
        json!({"answer": {"allow": false}}),
        json!({"answer": "yes"}),
    ] {
        stage.hook("sign-in", &act).await;
        check_unavailable(&stage.login(ADA, PASSWORD).await);
    }
    stage.hook("sign-in", &json!({})).await;
    for act in [json!("hang"), json!("fail"), json!("panic")] {
        stage.hook("claims", &act).await;
        check_unavailable(&stage.login(ADA, PASSWORD).await);
        check_unavailable(&stage.refresh(session.refresh()).await);
    }
    assert_eq!(stage.sessions().await, before);
    // Who is in already is not asked about.
    let _ = stage
        .get_as(&session, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_may_not_register_gets_neither_account_nor_mail() {
    let stage = Stage::hooked("[plugins.auth.config]\nanonymous_sign_in = true").await;
    stage.hook("register", &refusal()).await;
    let body = json!({"email": "eve@example.org", "password": PASSWORD, "display_name": "Eve"});
    check_refused(&stage.post("/auth/register", &body).await);
    check_refused(&stage.post("/auth/anonymous", &json!({})).await);
    let operator = json!({"email": "eve@example.org", "display_name": "Eve"});
    let made = stage
        .host
        .post("/auth/admin/users")
        .operator()
        .json(&operator);
    check_refused(&made.send().await);
    let nhost = json!({"email": "eve@example.org", "password": PASSWORD});
    let nhost = stage.post("/signup/email-password", &nhost).await;
    assert_eq!(
        (nhost.status, &nhost.json()["message"]),
        (403, &json!("do your chores first"))
    );

    let people = "select count(*) from public.users";
    let row = stage.host.sql().await.query_one(people, &[]).await;
    assert_eq!(row.expect("the people are counted").get::<_, i64>(0), 0);
    assert!(stage.mails("eve@example.org").await.is_empty());
    let asked = stage.asked("register").await;
    let ways: Vec<&Value> = asked.iter().map(|asked| &asked["way"]).collect();
    assert_eq!(ways, ["address", "anonymous", "operator", "address"]);
    assert_eq!(asked[0]["email"], "eve@example.org");

    stage.hook("register", &json!("hang")).await;
    check_unavailable(&stage.post("/auth/register", &body).await);
    stage.hook("register", &json!({})).await;
    let _ = stage.post("/auth/register", &body).await.expect_status(202);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_child_is_an_account_too() {
    let stage = Stage::hooked("").await;
    let (family, ada) = stage.owner(ADA).await;
    let path = format!("/auth/families/{family}/children");
    let child = json!({"display_name": "Byron"});
    stage.hook("register", &refusal()).await;
    check_refused(&stage.post_as(&ada, &path, &child).await);
    stage.hook("register", &json!({})).await;
    let made = stage
        .post_as(&ada, &path, &child)
        .await
        .expect_status(201)
        .data();
    assert_eq!(
        stage.asked("register").await.last().expect("asked")["way"],
        "child"
    );
    let told = events(&stage.host, "auth.user_created").await;
    assert!(
        told.iter().any(|data| data["user_id"] == made["user_id"]),
        "{told:?}"
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_hook_that_comes_and_goes_is_asked_while_it_is_there() {
    let stage = Stage::hooked("").await;
    let _ = stage.person(ADA).await;
    stage.hook("sign-in", &refusal()).await;
    check_refused(&stage.login(ADA, PASSWORD).await);
    let registry = stage.host.registry();
    let gone = registry.disable("fixture-hooks", LIMIT, false).await;
    gone.expect("nobody depends on it");
    let _ = stage.login(ADA, PASSWORD).await.expect_status(200);
    registry
        .enable("fixture-hooks")
        .await
        .expect("it comes back");
    stage.hook("sign-in", &refusal()).await;
    check_refused(&stage.login(ADA, PASSWORD).await);
    stage.host.stop().await;
}

#[tokio::test]
async fn without_hooks_nothing_is_waited_for_and_the_facts_are_told_as_events() {
    let stage = Stage::set().await;
    let session = stage.person(ADA).await;
    let user = session.claims()["sub"].clone();
    let signed_in = events(&stage.host, "auth.signed_in").await;
    let expected = json!({
        "user_id": user, "session_id": session.0["session_id"], "amr": ["otp"],
    });
    assert_eq!(signed_in, [expected]);
    let created = events(&stage.host, "auth.user_created").await;
    assert_eq!(created, [json!({"user_id": user})]);
    // A failed sign-in is none.
    let _ = stage
        .login(ADA, "a wrong password")
        .await
        .expect_status(401);
    assert_eq!(events(&stage.host, "auth.signed_in").await.len(), 1);
    stage.host.stop().await;
}

/// What the events of a type say, the oldest first.
async fn events(host: &TestHost, kind: &str) -> Vec<Value> {
    let sql = "select data::text from nself.events where type = $1 order by position";
    eventually("the events", async || {
        let rows = host.sql().await.query(sql, &[&kind]).await.ok()?;
        let texts = rows.iter().map(|row| row.get::<_, String>(0));
        Some(
            texts
                .map(|text| serde_json::from_str(&text).expect("JSON"))
                .collect(),
        )
    })
    .await
}
