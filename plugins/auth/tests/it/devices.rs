//! Machines: paired by a person (RFC 8628), theirs is one family, and they only look.

use nself_plugin_testkit::{Answer, Schema, library};
use serde_json::{Value, json};

use crate::{
    household::{id_of, verdict},
    oauth4webapi,
    rows::rows,
    stage::{Session, Stage, claims},
};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn form(stage: &Stage, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = serde_urlencoded::to_string(fields).expect("a form");
    let sent = stage
        .host
        .post(path)
        .header("content-type", "application/x-www-form-urlencoded");
    sent.body(body).send().await
}

/// A machine that shows its code.
pub(crate) async fn begin(stage: &Stage) -> Value {
    let fields = [
        ("client_id", "tv-app"),
        ("name", "Television"),
        ("kind", "tv"),
    ];
    let begun = form(stage, "/oauth/device_authorization", &fields)
        .await
        .expect_status(200);
    assert_eq!(begun.headers["cache-control"], "no-store");
    begun.json()
}

async fn poll_as(stage: &Stage, client: &str, begun: &Value) -> Answer {
    let code = begun["device_code"].as_str().expect("a device code");
    let fields = [
        ("grant_type", DEVICE_CODE),
        ("client_id", client),
        ("device_code", code),
    ];
    form(stage, "/oauth/token", &fields).await
}

pub(crate) async fn poll(stage: &Stage, begun: &Value) -> Answer {
    poll_as(stage, "tv-app", begun).await
}

/// The standard's name of an error.
#[track_caller]
fn refused(answer: &Answer, error: &str) {
    let told = answer.json();
    assert_eq!(
        (answer.status, &told["error"]),
        (400, &json!(error)),
        "{told}"
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(told["error_description"].is_string());
}

fn path_of(begun: &Value) -> String {
    format!(
        "/auth/device/{}",
        begun["user_code"].as_str().expect("a user code")
    )
}

pub(crate) async fn decide(stage: &Stage, by: &Session, begun: &Value, decision: &str) -> Answer {
    stage
        .post_as(by, &path_of(begun), &json!({"decision": decision}))
        .await
}

async fn pass_time(stage: &Stage, change: &str) {
    let sql = stage.host.sql().await;
    let change = format!("update auth.device_codes set {change}");
    sql.batch_execute(&change).await.expect("time passes");
}

/// A machine of a family: as the family has it, and its tokens.
async fn paired(stage: &Stage, by: &Session) -> (String, Session) {
    let begun = begin(stage).await;
    let decided = decide(stage, by, &begun, "approve")
        .await
        .expect_status(200);
    let tokens = poll(stage, &begun).await.expect_status(200).json();
    (id_of(&decided.data()["device"]), Session(tokens))
}

async fn refresh(stage: &Stage, client: &str, token: &str) -> Answer {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", client),
        ("refresh_token", token),
    ];
    form(stage, "/oauth/token", &fields).await
}

#[tokio::test]
async fn a_stock_client_pairs_and_renews() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let begun = oauth4webapi::step(&stage, &["begin"]).await;
    assert_eq!(
        (&begun["expires_in"], &begun["interval"]),
        (&json!(600), &json!(5))
    );
    assert_eq!(
        begun["verification_uri"],
        "http://localhost:3000/auth/device"
    );
    let code = begun["device_code"].as_str().expect("a device code");
    let pending = oauth4webapi::step(&stage, &["poll", code]).await;
    assert_eq!(pending["error"], "authorization_pending");
    pass_time(&stage, "polled_at = now() + interval '1 hour'").await;
    let soon = oauth4webapi::step(&stage, &["poll", code]).await;
    assert_eq!(soon["error"], "slow_down");
    let _ = decide(&stage, &owner, &begun, "approve")
        .await
        .expect_status(200);
    let tokens = oauth4webapi::step(&stage, &["poll", code]).await;
    assert_eq!(tokens["token_type"], "bearer");
    let access = tokens["access_token"].as_str().expect("an access token");
    assert_eq!(
        claims(access)["https://hasura.io/jwt/claims"]["x-hasura-family-id"],
        json!(family)
    );
    let used = oauth4webapi::step(&stage, &["poll", code]).await;
    assert_eq!(used["error"], "invalid_grant", "a code is good once");
    let token = tokens["refresh_token"].as_str().expect("a refresh token");
    let renewed = oauth4webapi::step(&stage, &["refresh", token]).await;
    assert!(
        renewed["access_token"].is_string() && renewed["refresh_token"] != tokens["refresh_token"]
    );
    let forged = oauth4webapi::step(&stage, &["refresh", "rt1.forged"]).await;
    assert_eq!(forged["error"], "invalid_grant");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_machine_shows_a_code_that_people_can_read() {
    let stage = Stage::open().await;
    let (_, owner) = stage.owner("ada@example.org").await;
    let begun = begin(&stage).await;
    let code = begun["user_code"].as_str().expect("a user code");
    let letters = code.replace('-', "");
    assert!(code.len() == 9 && &code[4..5] == "-", "{code}");
    assert!(
        letters.chars().all(|c| "BCDFGHJKLMNPQRSTVWXZ".contains(c)),
        "{code}"
    );
    let complete = format!("http://localhost:3000/auth/device?user_code={code}");
    assert_eq!(begun["verification_uri_complete"], json!(complete));
    let typed = format!("/auth/device/{}", letters.to_lowercase());
    let shown = stage
        .get_as(&owner, &typed)
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&shown["name"], &shown["kind"]),
        (&json!("Television"), &json!("tv"))
    );
    assert_eq!(
        (&shown["client_id"], &shown["ip"]),
        (&json!("tv-app"), &json!("127.0.0.1"))
    );
    assert!(shown["age_seconds"].is_i64());
    stage.host.stop().await;
}

#[tokio::test]
async fn a_machine_that_asks_too_often_has_to_wait_longer() {
    let stage = Stage::open().await;
    let begun = begin(&stage).await;
    refused(&poll(&stage, &begun).await, "authorization_pending");
    for longer in [10, 15] {
        pass_time(&stage, "polled_at = now() + interval '1 hour'").await;
        refused(&poll(&stage, &begun).await, "slow_down");
        let sql = stage.host.sql().await;
        let interval = "select interval_seconds from auth.device_codes";
        let interval: i32 = sql.query_one(interval, &[]).await.expect("it waits").get(0);
        assert_eq!(interval, longer);
    }
    pass_time(&stage, "polled_at = now() - interval '16 seconds'").await;
    refused(&poll(&stage, &begun).await, "authorization_pending");
    pass_time(&stage, "expires_at = now() - interval '1 second'").await;
    refused(&poll(&stage, &begun).await, "expired_token");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_machine_that_is_turned_away_gets_nothing() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let begun = begin(&stage).await;
    let denied = decide(&stage, &owner, &begun, "deny")
        .await
        .expect_status(200);
    assert_eq!(denied.data(), json!({"status": "denied", "device": null}));
    refused(&poll(&stage, &begun).await, "access_denied");
    let late = decide(&stage, &owner, &begun, "approve").await;
    assert_eq!(verdict(&late), (404, "DEVICE_CODE_NOT_FOUND".into()));
    assert_eq!(stage.told(&family, "family.device_denied").await, (1, 1));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_machine_belongs_to_the_family_of_who_let_it_in_and_to_no_other() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let (other, bob) = stage.owner("bob@example.org").await;
    let begun = begin(&stage).await;
    let forced = json!({"decision": "approve", "family_id": other});
    let forced = stage.post_as(&owner, &path_of(&begun), &forced).await;
    assert_eq!(verdict(&forced), (422, "BODY_INVALID".into()));
    let named = json!({"decision": "approve", "name": "Living room"});
    let approved = stage
        .post_as(&owner, &path_of(&begun), &named)
        .await
        .expect_status(200)
        .data();
    assert_eq!(approved["device"]["name"], "Living room");
    assert_eq!(approved["device"]["approved_by"], json!(owner.member_id()));
    for second in [&bob, &owner] {
        let late = decide(&stage, second, &begun, "approve").await;
        assert_eq!(
            verdict(&late),
            (404, "DEVICE_CODE_NOT_FOUND".into()),
            "nobody decides twice"
        );
        let late = stage.get_as(second, &path_of(&begun)).send().await;
        assert_eq!(late.status, 404);
    }
    refused(
        &poll_as(&stage, "another-app", &begun).await,
        "invalid_grant",
    );
    let tokens = Session(poll(&stage, &begun).await.expect_status(200).json());
    let hasura = tokens.hasura();
    assert_eq!(hasura["x-hasura-allowed-roles"], json!(["DEVICE"]));
    assert_eq!(hasura["x-hasura-family-id"], json!(family));
    assert_eq!(hasura["x-hasura-device-id"], approved["device"]["id"]);
    for absent in [
        "x-hasura-user-id",
        "x-hasura-family-ids",
        "x-hasura-member-id",
        "x-hasura-auth-elevated",
    ] {
        assert_eq!(hasura.get(absent), None, "{absent}");
    }
    refused(
        &refresh(&stage, "another-app", tokens.refresh()).await,
        "invalid_grant",
    );
    let renewed = refresh(&stage, "tv-app", tokens.refresh())
        .await
        .expect_status(200)
        .json();
    let access = renewed["access_token"].as_str().expect("an access token");
    assert_eq!(
        claims(access)["https://hasura.io/jwt/claims"]["x-hasura-family-id"],
        json!(family)
    );
    let body = json!({"refresh_token": renewed["refresh_token"], "family_id": other});
    let foreign = stage.post("/auth/refresh", &body).await;
    assert_eq!(verdict(&foreign), (404, "FAMILY_NOT_FOUND".into()));
    assert_eq!(stage.told(&family, "family.device_paired").await, (1, 1));
    stage.host.stop().await;
}

#[tokio::test]
async fn of_many_who_decide_and_many_who_poll_at_once_one_succeeds() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let (_, bob) = stage.owner("bob@example.org").await;
    let begun = begin(&stage).await;
    let all = (0..6).map(|at| {
        decide(
            &stage,
            if at % 2 == 0 { &owner } else { &bob },
            &begun,
            "approve",
        )
    });
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
    let all = (0..6).map(|_| poll(&stage, &begun));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
    let sql = stage.host.sql().await;
    let counts = "select (select count(*) from public.devices), (select count(*) from auth.sessions where device_id is not null)";
    let row = sql.query_one(counts, &[]).await.expect("it counts");
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1)),
        (1, 1),
        "{family}"
    );
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn only_who_manages_devices_lets_machines_in() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let youth = stage
        .member("youth@example.org", &owner, &family, "YOUTH_MEMBER")
        .await;
    let adult = stage
        .member("adult@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let admin = stage
        .member("admin@example.org", &owner, &family, "ADMIN")
        .await;
    let begun = begin(&stage).await;
    for other in [&youth, &adult] {
        let _ = decide(&stage, other, &begun, "approve")
            .await
            .expect_status(403);
        let _ = stage
            .get_as(other, &path_of(&begun))
            .send()
            .await
            .expect_status(403);
    }
    // A token that is older than the loss of the role does not help.
    let sql = stage.host.sql().await;
    let demote = "update public.family_members set role = 'ADULT_MEMBER' where role = 'ADMIN'";
    sql.batch_execute(demote)
        .await
        .expect("somebody is demoted");
    let stale = decide(&stage, &admin, &begun, "approve").await;
    assert_eq!(verdict(&stale), (403, "ROLE_TOO_LOW".into()));
    let _ = decide(&stage, &owner, &begun, "approve")
        .await
        .expect_status(200);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn codes_are_not_guessed() {
    let stage = Stage::open().await;
    let (_, owner) = stage.owner("ada@example.org").await;
    let (_, eve) = stage.owner("eve@example.org").await;
    let begun = begin(&stage).await;
    let approve = json!({"decision": "approve"});
    let many = (0..20).map(|_| stage.post_as(&eve, "/auth/device/BBBB-BBBB", &approve));
    let answers = futures_util::future::join_all(many).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 404).count();
    let throttled = answers
        .iter()
        .filter(|answer| answer.code() == "TOO_MANY_TRIES")
        .count();
    assert_eq!((looked_at, throttled), (5, 15));
    let right = decide(&stage, &eve, &begun, "approve").await;
    assert_eq!(
        verdict(&right),
        (429, "TOO_MANY_TRIES".into()),
        "even when it is right"
    );
    let right = stage.get_as(&eve, &path_of(&begun)).send().await;
    assert_eq!(right.status, 429);
    // Somebody else's guesses shut out nobody, and right codes cost nothing.
    for _ in 0..8 {
        let _ = stage
            .get_as(&owner, &path_of(&begun))
            .send()
            .await
            .expect_status(200);
    }
    let _ = decide(&stage, &owner, &begun, "approve")
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_the_words_of_the_standard() {
    let stage = Stage::open().await;
    let token = "/oauth/token";
    let begin = "/oauth/device_authorization";
    let long = "x".repeat(101);
    for (path, fields, error) in [
        (begin, vec![], "invalid_request"),
        (begin, vec![("client_id", "")], "invalid_request"),
        (begin, vec![("client_id", " ")], "invalid_request"),
        (begin, vec![("client_id", &*long)], "invalid_request"),
        (
            begin,
            vec![("client_id", "a"), ("client_id", "b")],
            "invalid_request",
        ),
        (
            begin,
            vec![("client_id", "a"), ("kind", "toaster")],
            "invalid_request",
        ),
        (begin, vec![("client_id", "a\u{0}")], "invalid_request"),
        (token, vec![], "invalid_request"),
        (
            token,
            vec![("grant_type", "password"), ("client_id", "a")],
            "unsupported_grant_type",
        ),
        (
            token,
            vec![("grant_type", DEVICE_CODE), ("client_id", "a")],
            "invalid_request",
        ),
        (
            token,
            vec![("grant_type", DEVICE_CODE), ("device_code", "x")],
            "invalid_request",
        ),
        (
            token,
            vec![
                ("grant_type", DEVICE_CODE),
                ("client_id", "a"),
                ("device_code", "x"),
            ],
            "invalid_grant",
        ),
        (
            token,
            vec![("grant_type", "refresh_token"), ("client_id", "a")],
            "invalid_request",
        ),
        (
            token,
            vec![
                ("grant_type", "refresh_token"),
                ("client_id", "a"),
                ("refresh_token", "x"),
            ],
            "invalid_grant",
        ),
    ] {
        refused(&form(&stage, path, &fields).await, error);
    }
    for path in [begin, token] {
        let answer = stage
            .post(path, &json!({"client_id": "a", "grant_type": DEVICE_CODE}))
            .await;
        refused(&answer, "invalid_request");
    }
    let asked = [
        ("client_id", "a"),
        ("scope", "openid whatever"),
        ("unknown", "passed over"),
    ];
    let _ = form(&stage, begin, &asked).await.expect_status(200);
    stage.host.stop().await;
}

/// A value that a schema takes, whatever it is about.
fn sample(shape: &Value, name: &str) -> Value {
    // A field's shape stands beside its description.
    let shape = shape["allOf"].get(0).unwrap_or(shape);
    let text = |key: &str| shape[key].as_str().unwrap_or_default();
    let choice = shape["enum"].get(0).cloned();
    match name {
        "email" => json!("device@example.org"),
        "password" => json!("zwetschgenknoedel"),
        "signInMethod" => json!("passwordless"),
        _ if text("format") == "uuid" => json!(uuid::Uuid::now_v7()),
        _ if text("format") == "date-time" => json!("2099-01-01T00:00:00Z"),
        _ if shape["type"] == "boolean" => json!(true),
        _ if shape["type"] == "integer" => json!(1),
        _ if shape["type"] == "object" => body_of(Some(shape.clone())),
        _ if shape["type"] == "array" => json!([]),
        _ => choice.unwrap_or_else(|| json!("x")),
    }
}

/// A body with everything that a route must have.
fn body_of(request: Option<Value>) -> Value {
    let shape = request.unwrap_or_default();
    let required = shape["required"].as_array().cloned().unwrap_or_default();
    let names = required.iter().filter_map(Value::as_str);
    let fields = names.map(|name| (name.to_owned(), sample(&shape["properties"][name], name)));
    Value::Object(fields.collect())
}

#[tokio::test]
async fn a_machine_only_looks() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let (device, tokens) = paired(&stage, &owner).await;
    let me = stage.get_as(&tokens, "/auth/me").send().await;
    assert_eq!(verdict(&me), (403, "USER_REQUIRED".into()));
    let before = rows(&stage).await;
    let mut tried = 0;
    for route in library("nself-plugin-auth").manifest.routes {
        let name = format!("{} {}", route.method, route.path);
        let access = serde_json::to_value(&route.access).expect("a rule is JSON");
        let own = ["POST /auth/devices/heartbeat", "POST /auth/logout"];
        if access == json!("public") || own.contains(&&*name) {
            continue;
        }
        let parts = route.path.split('/').map(|part| match part {
            "{id}" if route.path.starts_with("/auth/families") => family.clone(),
            "{id}" if route.path.starts_with("/auth/devices") => device.clone(),
            "{member_id}" => owner.member_id(),
            part if part.starts_with('{') => uuid::Uuid::now_v7().to_string(),
            part => part.to_owned(),
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let body = body_of(route.request.as_ref().map(Schema::read));
        let answer = stage.send_as(&tokens, &route.method, &path, &body).await;
        let is_refused = matches!(answer.status, 401 | 403 | 404);
        assert!(is_refused, "{name}: {} {}", answer.status, answer.text());
        tried += 1;
    }
    assert!(tried > 25, "{tried} routes were tried");
    assert_eq!(rows(&stage).await, before);
    let _ = stage
        .post_as(&tokens, "/auth/devices/heartbeat", &json!({}))
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_machine_is_heard_of_at_most_once_a_minute() {
    let stage = Stage::open().await;
    let (_, owner) = stage.owner("ada@example.org").await;
    let (_, tokens) = paired(&stage, &owner).await;
    let seen = async || {
        let _ = stage
            .post_as(&tokens, "/auth/devices/heartbeat", &json!({}))
            .await
            .expect_status(200);
        let list = stage
            .get_as(&owner, "/auth/devices")
            .send()
            .await
            .expect_status(200)
            .data();
        list[0]["last_seen_at"]
            .as_str()
            .expect("it was seen")
            .to_owned()
    };
    let first = seen().await;
    assert_eq!(seen().await, first);
    let sql = stage.host.sql().await;
    let later = "update public.devices set last_seen_at = now() - interval '61 seconds' returning last_seen_at::text";
    let _ = sql.query_one(later, &[]).await.expect("time passes");
    assert!(seen().await > first);
    let person = stage
        .post_as(&owner, "/auth/devices/heartbeat", &json!({}))
        .await;
    assert_eq!(person.status, 403, "a person is no machine");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn machines_are_renamed_trusted_and_let_out() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let admin = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    let (device, tokens) = paired(&stage, &admin).await;
    let path = format!("/auth/devices/{device}");
    let renamed = stage
        .send_as(&admin, "PATCH", &path, &json!({"name": "Hall"}))
        .await;
    assert_eq!(renamed.expect_status(200).data()["name"], "Hall");
    let trust = json!({"is_trusted": true});
    let other = stage
        .member("eve@example.org", &owner, &family, "ADULT_MEMBER")
        .await;
    let refusal = stage.send_as(&other, "PATCH", &path, &trust).await;
    let _ = refusal.expect_status(403);
    let trusted = stage
        .send_as(&owner, "PATCH", &path, &trust)
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&trusted["is_trusted"], &trusted["name"]),
        (&json!(true), &json!("Hall"))
    );
    let beside = Stage {
        host: stage.host.beside().start().await,
    };
    let beat = async |stage: &Stage| {
        stage
            .post_as(&tokens, "/auth/devices/heartbeat", &json!({}))
            .await
    };
    let _ = beat(&beside).await.expect_status(200);
    let _ = stage
        .send_as(&admin, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    for host in [&stage, &beside] {
        host.refused(&tokens, "SESSION_REVOKED").await;
    }
    refused(
        &refresh(&stage, "tv-app", tokens.refresh()).await,
        "invalid_grant",
    );
    let again = stage.send_as(&admin, "DELETE", &path, &json!({})).await;
    assert_eq!(verdict(&again), (404, "DEVICE_NOT_FOUND".into()));
    let list = stage
        .get_as(&owner, "/auth/devices")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(list, json!([]));
    beside.host.stop().await;
    stage.host.stop().await;
}

#[tokio::test]
async fn a_machine_ends_with_its_family_also_between_yes_and_its_first_tokens() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let (_, tokens) = paired(&stage, &owner).await;
    let waiting = begin(&stage).await;
    let _ = decide(&stage, &owner, &waiting, "approve")
        .await
        .expect_status(200);
    let path = format!("/auth/families/{family}");
    let _ = stage
        .send_as(&owner, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    stage.refused(&tokens, "SESSION_REVOKED").await;
    refused(&poll(&stage, &waiting).await, "access_denied");
    refused(
        &refresh(&stage, "tv-app", tokens.refresh()).await,
        "invalid_grant",
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_machines_tokens_are_revoked_by_its_own_client_alone() {
    let stage = Stage::open().await;
    let (_, owner) = stage.owner("ada@example.org").await;
    let (_, machine) = paired(&stage, &owner).await;
    for token in [machine.refresh(), machine.access()] {
        for fields in [
            &[("token", token), ("client_id", "another")][..],
            &[("token", token)],
        ] {
            refused(
                &form(&stage, "/oauth/revoke", fields).await,
                "invalid_grant",
            );
        }
    }
    let _ = refresh(&stage, "tv-app", machine.refresh())
        .await
        .expect_status(200);
    let fields = [("token", machine.access()), ("client_id", "tv-app")];
    let revoked = form(&stage, "/oauth/revoke", &fields).await;
    assert_eq!(revoked.headers["cache-control"], "no-store");
    let _ = revoked.expect_status(200);
    stage.refused(&machine, "SESSION_REVOKED").await;
    stage.host.stop().await;
}
