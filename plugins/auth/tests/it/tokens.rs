//! Tokens that nobody signs in for: a person's scripts, services, and what is said of a token.

use nself_plugin_testkit::{Answer, TestHost, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    oauth4webapi,
    stage::{PASSWORD, Session, Stage, claims},
};

async fn make(stage: &Stage, session: &Session, body: &Value) -> Value {
    let made = stage.post_as(session, "/auth/tokens", body).await;
    assert_eq!(made.headers["cache-control"], "no-store");
    made.expect_status(201).data()
}

async fn exchange(stage: &Stage, token: &Value) -> Answer {
    let body = json!({"token": token});
    stage.post("/auth/tokens/exchange", &body).await
}

async fn session_of(stage: &Stage, token: &Value) -> Session {
    Session(exchange(stage, token).await.expect_status(200).data())
}

/// A family of somebody else's in which a person has a role.
async fn family_of(stage: &Stage, session: &Session, role: &str) -> Uuid {
    let user: Uuid = session.0["user"]["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("a session has a user");
    let sql = stage.host.sql().await;
    let made = "with f as (insert into public.families (name) values ('f') returning id), \
         o as (insert into public.users (display_name) values ('other') returning id), \
         w as (insert into public.family_members (family_id, user_id, role) select f.id, o.id, 'OWNER' from f, o) \
         insert into public.family_members (family_id, user_id, role) select id, $1, $2 from f returning family_id";
    let row = sql.query_one(made, &[&user, &role]).await;
    row.expect("a family is made").get(0)
}

async fn service(stage: &Stage, scopes: &[&str]) -> Value {
    let body = json!({"name": "indexer", "scopes": scopes});
    let request = stage.host.post("/auth/admin/services").operator();
    request.json(&body).send().await.expect_status(201).data()
}

async fn access_of(stage: &Stage, service: &Value) -> Answer {
    let body = json!({"token": service["token"]});
    stage.post("/auth/service-token", &body).await
}

async fn introspect(stage: &Stage, bearer: &str, token: &str) -> Answer {
    let request = stage.host.post("/auth/token/introspect").token(bearer);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(format!("token={token}")).send().await
}

#[tokio::test]
async fn a_script_gets_a_session_that_proves_nothing_more_than_its_token() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let made = make(&stage, &session, &json!({"name": "backup"})).await;
    let token = made["token"].as_str().expect("it is shown once");
    assert!(token.starts_with("nspat_") && token.len() == 49, "{token}");
    let script = session_of(&stage, &made["token"]).await;
    let said = script.claims();
    assert_eq!(
        (&said["amr"], &said["acr"]),
        (&json!(["pat"]), &json!("aal1"))
    );
    let elevated = &said["https://hasura.io/jwt/claims"]["x-hasura-auth-elevated"];
    assert_eq!(elevated, &json!(null));
    let _ = stage
        .get_as(&script, "/auth/me")
        .send()
        .await
        .expect_status(200);
    // Not even with the password: what a script holds is not a person who is there.
    let password = json!({"password": PASSWORD});
    let proved = stage
        .post_as(&script, "/auth/reauthenticate", &password)
        .await;
    let proved = Session(proved.expect_status(200).data());
    for (path, body) in [
        ("/auth/tokens", json!({"name": "another"})),
        ("/auth/email/change", json!({"email": "eve@example.org"})),
    ] {
        let refused = stage.post_as(&proved, path, &body).await;
        let got = (refused.status, refused.code());
        assert_eq!(got, (403, "STEP_UP_REQUIRED".to_owned()), "{path}");
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_is_stored_as_a_mac_and_listed_without_its_secret() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let made = make(&stage, &session, &json!({"name": "backup"})).await;
    let token = made["token"].as_str().expect("a token");
    let listed = stage.get_as(&session, "/auth/tokens").send().await;
    let listed = listed.expect_status(200);
    assert!(!listed.text().contains(token));
    let listed = listed.data();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["name"]),
        (&made["id"], &json!("backup"))
    );
    assert_eq!(listed[0]["prefix"], token[..10]);
    assert_eq!(listed[0]["last_used_at"], json!(null));
    session_of(&stage, &made["token"]).await;
    let listed = stage.get_as(&session, "/auth/tokens").send().await.data();
    assert!(listed[0]["last_used_at"].is_string());
    let sql = stage.host.sql().await;
    let dump = "select t::text || encode(t.token_mac, 'escape') from auth.api_tokens t";
    let row: String = sql.query_one(dump, &[]).await.expect("a row").get(0);
    assert!(!row.contains(&token[10..]));
    let audited =
        "select count(*) from nself.audit_log where action = 'auth.token_made' and target = $1";
    let id = made["id"].as_str().expect("an id");
    let audited: i64 = sql
        .query_one(audited, &[&id])
        .await
        .expect("the log reads")
        .get(0);
    assert_eq!(audited, 1);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_is_ended_by_its_owner_alone_and_its_sessions_end_with_it() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let stranger = stage.person("eve@example.org").await;
    let made = make(&stage, &session, &json!({"name": "backup"})).await;
    let script = session_of(&stage, &made["token"]).await;
    let path = format!("/auth/tokens/{}", made["id"].as_str().expect("an id"));
    let missing = format!("/auth/tokens/{}", Uuid::now_v7());
    let end =
        async |path: &str, by: &Session| stage.host.delete(path).token(by.access()).send().await;
    let foreign = end(&path, &stranger).await;
    let nothing = end(&missing, &stranger).await;
    assert_eq!((foreign.status, &*foreign.code()), (404, "TOKEN_NOT_FOUND"));
    assert_eq!(foreign.text(), nothing.text());
    assert_eq!(stage.host.delete(&path).send().await.status, 401);
    let _ = end(&path, &session).await.expect_status(200);
    let refused = exchange(&stage, &made["token"]).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (401, "API_TOKEN_INVALID")
    );
    let _ = stage.refresh(script.refresh()).await.expect_status(401);
    eventually("the script's access token ends", async || {
        let answer = stage.get_as(&script, "/auth/me").send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    let _ = stage
        .get_as(&session, "/auth/me")
        .send()
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_reset_password_ends_the_tokens_that_were_made_before() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let made = make(&stage, &session, &json!({"name": "backup"})).await;
    let mailbox = json!({"email": "ada@example.org"});
    let asked = stage.post("/auth/password/forgot", &mailbox).await;
    let _ = asked.expect_status(202);
    let token = stage
        .mailed_token("ada@example.org", "password/reset")
        .await;
    let body = json!({"token": token, "password": "another password 7"});
    let reset = stage.post("/auth/password/reset", &body).await;
    let _ = reset.expect_status(200);
    let _ = exchange(&stage, &made["token"]).await.expect_status(401);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_tokens_family_is_one_of_ones_own_and_its_sessions_stay_in_it() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let (mine, other) = (
        family_of(&stage, &session, "ADULT_MEMBER").await,
        family_of(&stage, &session, "ADMIN").await,
    );
    let foreign = json!({"name": "backup", "family_id": Uuid::now_v7()});
    let refused = stage.post_as(&session, "/auth/tokens", &foreign).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (404, "FAMILY_NOT_FOUND")
    );
    let made = make(
        &stage,
        &session,
        &json!({"name": "backup", "family_id": mine}),
    )
    .await;
    let script = session_of(&stage, &made["token"]).await;
    assert_eq!(
        (&script.0["family_id"], &script.0["role"]),
        (&json!(mine), &json!("ADULT_MEMBER"))
    );
    let hasura = script.claims()["https://hasura.io/jwt/claims"].take();
    assert_eq!(
        hasura["x-hasura-family-ids"],
        format!("{{{mine}}}"),
        "it sees no other family"
    );
    let elsewhere = json!({"token": made["token"], "family_id": other});
    let refused = stage.post("/auth/tokens/exchange", &elsewhere).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (404, "FAMILY_NOT_FOUND")
    );
    let switch = json!({"refresh_token": script.refresh(), "family_id": other});
    let refused = stage.post("/auth/refresh", &switch).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (404, "FAMILY_NOT_FOUND")
    );
    let sql = stage.host.sql().await;
    let left = "update public.family_members set status = 'inactive', left_at = now() where family_id = $1 and role <> 'OWNER'";
    sql.execute(left, &[&mine]).await.expect("somebody leaves");
    let refused = exchange(&stage, &made["token"]).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (404, "FAMILY_NOT_FOUND")
    );
    drop(sql);
    stage.host.stop().await;
}

/// What a member's two tokens are worth, of which one is bound to the family: the sessions that were exchanged for them.
async fn scripts_of(stage: &Stage, member: &Session, family: &str) -> [(Value, Session); 2] {
    let mut scripts = Vec::new();
    for body in [
        json!({"name": "here", "family_id": family}),
        json!({"name": "anywhere"}),
    ] {
        let token = make(stage, member, &body).await["token"].take();
        let session = session_of(stage, &token).await;
        scripts.push((token, session));
    }
    scripts.try_into().expect("there are two")
}

#[tokio::test]
async fn a_token_for_one_family_ends_with_the_membership_in_it() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let suspended = json!({"status": "suspended"});
    for (email, method, leaves) in [
        ("bob@example.org", "PATCH", false),
        ("cleo@example.org", "DELETE", false),
        ("dora@example.org", "DELETE", true),
    ] {
        let member = stage.member(email, &owner, &family, "ADULT_MEMBER").await;
        let [(here, of_here), (anywhere, of_anywhere)] = scripts_of(&stage, &member, &family).await;
        let path = format!("/auth/families/{family}/members/{}", member.member_id());
        let actor = if leaves { &member } else { &owner };
        let ended = stage.send_as(actor, method, &path, &suspended).await;
        let _ = ended.expect_status(200);
        let refused = exchange(&stage, &here).await;
        let got = (refused.status, refused.code());
        assert_eq!(got, (401, "API_TOKEN_INVALID".to_owned()), "{email}");
        stage.refused(&of_here, "SESSION_REVOKED").await;
        let _ = stage.refresh(of_here.refresh()).await.expect_status(401);
        // The other one is not the family's matter.
        session_of(&stage, &anywhere).await;
        let _ = stage
            .refresh(of_anywhere.refresh())
            .await
            .expect_status(200);
        if method == "PATCH" {
            let active = json!({"status": "active"});
            let back = stage.send_as(&owner, "PATCH", &path, &active).await;
            let _ = back.expect_status(200);
            let still = exchange(&stage, &here).await;
            assert_eq!(still.status, 401, "what was ended stays so");
        }
    }
    let (_, entries) = stage.told(&family, "auth.token_revoked").await;
    assert_eq!(entries, 3);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_for_one_family_ends_with_the_family() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let [(here, of_here), _] = scripts_of(&stage, &owner, &family).await;
    let path = format!("/auth/families/{family}");
    let deleted = stage.send_as(&owner, "DELETE", &path, &json!({})).await;
    let _ = deleted.expect_status(200);
    assert_eq!(exchange(&stage, &here).await.status, 401);
    stage.refused(&of_here, "SESSION_REVOKED").await;
    stage.host.stop().await;
}

#[tokio::test]
async fn a_client_that_others_wrote_finds_and_uses_the_endpoints_about_tokens() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let service = service(&stage, &["auth.introspect"]).await;
    let bearer = access_of(&stage, &service).await.expect_status(200).data();
    let bearer = bearer["access_token"].as_str().expect("a token").to_owned();
    let told = oauth4webapi::step(&stage, &["introspect", session.access(), &bearer]).await;
    assert_eq!(told["active"], true, "{told}");
    assert_eq!(told["sub"], session.0["user"]["id"]);
    let revoked = oauth4webapi::step(&stage, &["revoke", session.refresh()]).await;
    assert_eq!(revoked, json!("revoked"));
    let told = oauth4webapi::step(&stage, &["introspect", session.access(), &bearer]).await;
    assert_eq!(told, json!({"active": false}));
    let again = oauth4webapi::step(&stage, &["revoke", session.refresh()]).await;
    assert_eq!(
        again, revoked,
        "one that is good for nothing is answered the same"
    );
    // By the access token, too.
    let another = stage.login("ada@example.org", PASSWORD).await;
    let another = Session(another.expect_status(200).data());
    oauth4webapi::step(&stage, &["revoke", another.access()]).await;
    stage.refused(&another, "SESSION_REVOKED").await;
    let nothing = stage.host.post("/oauth/revoke");
    let nothing = nothing.header("content-type", "application/x-www-form-urlencoded");
    let nothing = nothing.body("token=").send().await;
    assert_eq!(nothing.status, 400);
    assert_eq!(nothing.json()["error"], "invalid_request");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_its_session_not_later() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    for (body, code) in [
        (json!({"name": " "}), "TOKEN_NAME_INVALID"),
        (json!({"name": "a\u{7}b"}), "TOKEN_NAME_INVALID"),
        (
            json!({"name": "a", "expires_at": "2001-01-01T00:00:00Z"}),
            "TOKEN_END_INVALID",
        ),
        (
            json!({"name": "a", "expires_at": "2999-01-01T00:00:00Z"}),
            "TOKEN_END_INVALID",
        ),
        (json!({"name": "a", "expires_at": "soon"}), "BODY_INVALID"),
        (json!({"name": "a", "scopes": ["*"]}), "BODY_INVALID"),
    ] {
        let refused = stage.post_as(&session, "/auth/tokens", &body).await;
        assert_eq!((refused.status, &*refused.code()), (422, code), "{body}");
    }
    let made = make(&stage, &session, &json!({"name": "backup"})).await;
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.api_tokens set expires_at = now() + interval '1 hour'")
        .await
        .expect("it ends in an hour");
    session_of(&stage, &made["token"]).await;
    let late = "select count(*) from auth.sessions s join auth.api_tokens t on t.id = s.api_token_id \
                where s.absolute_expiry > t.expires_at";
    let late: i64 = sql
        .query_one(late, &[])
        .await
        .expect("it is counted")
        .get(0);
    assert_eq!(late, 0);
    sql.batch_execute("update auth.api_tokens set expires_at = now() - interval '1 second'")
        .await
        .expect("time passes");
    let _ = exchange(&stage, &made["token"]).await.expect_status(401);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_of_a_closed_account_is_like_no_token() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let made = make(&stage, &session, &json!({"name": "backup"})).await;
    let sql = stage.host.sql().await;
    sql.batch_execute("update public.users set status = 'suspended'")
        .await
        .expect("suspended");
    let token = made["token"].as_str().expect("a token");
    let other = format!("{}AAAA", &token[..token.len() - 4]);
    let suspended = exchange(&stage, &made["token"]).await;
    for wrong in [
        &other,
        "nspat_",
        "",
        &token.replace("nspat_", "nssvc_"),
        &"x".repeat(100),
    ] {
        let refused = exchange(&stage, &json!(wrong)).await;
        assert_eq!(
            (refused.status, refused.text()),
            (401, suspended.text()),
            "{wrong}"
        );
    }
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_person_has_fifty_tokens_at_most_also_when_many_are_made_at_once() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let sql = stage.host.sql().await;
    sql.batch_execute(
        "insert into auth.api_tokens (user_id, name, prefix, token_mac, created_at) \
         select u.id, 'old', '', int4send(n), now() from public.users u, generate_series(1, 48) n",
    )
    .await
    .expect("there are 48");
    let body = json!({"name": "one more"});
    let five = (0..5).map(|_| stage.post_as(&session, "/auth/tokens", &body));
    let mut answers: Vec<u16> = futures_util::future::join_all(five)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [201, 201, 409, 409, 409]);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_service_is_made_by_the_operator_and_reaches_what_its_scopes_name() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let body = json!({"name": "indexer", "scopes": ["auth.introspect"]});
    let refused = stage.post_as(&session, "/auth/admin/services", &body).await;
    assert_eq!(refused.status, 403);
    for scopes in [json!([]), json!(["*"]), json!(["auth.introspect *"])] {
        let body = json!({"name": "indexer", "scopes": scopes});
        let request = stage.host.post("/auth/admin/services").operator();
        let refused = request.json(&body).send().await;
        assert_eq!((refused.status, &*refused.code()), (422, "SCOPE_INVALID"));
    }
    let made = service(&stage, &["auth.introspect", "mail.send"]).await;
    let access = access_of(&stage, &made).await.expect_status(200).data();
    assert_eq!(access["scope"], "auth.introspect mail.send");
    let token = access["access_token"].as_str().expect("an access token");
    let said = claims(token);
    assert_eq!(
        (&said["sub"], &said["scope"]),
        (&made["id"], &access["scope"])
    );
    for absent in ["https://hasura.io/jwt/claims", "acr", "amr", "auth_time"] {
        assert_eq!(said.get(absent), None, "{absent}");
    }
    assert!(!said["aud"].to_string().contains("hasura"));
    let asked = introspect(&stage, token, session.access()).await;
    assert_eq!(asked.expect_status(200).json()["active"], true);
    // It is nobody, and no operator.
    let me = stage.host.get("/auth/me").token(token).send().await;
    assert_eq!((me.status, &*me.code()), (403, "USER_REQUIRED"));
    let keys = stage.host.get("/auth/admin/keys").token(token).send().await;
    assert_eq!(keys.status, 403);
    let other = service(&stage, &["mail.send"]).await;
    let other = access_of(&stage, &other).await.expect_status(200).data();
    let other = other["access_token"].as_str().expect("an access token");
    assert_eq!(
        introspect(&stage, other, session.access()).await.status,
        403
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_service_that_is_ended_is_out_on_every_host() {
    let stage = Stage::open().await;
    let made = service(&stage, &["auth.introspect"]).await;
    let access = access_of(&stage, &made).await.expect_status(200).data();
    let token = access["access_token"].as_str().expect("an access token");
    let beside = stage.host.beside().start().await;
    let list = stage
        .host
        .get("/auth/admin/services")
        .operator()
        .send()
        .await
        .data();
    assert_eq!(list[0]["id"], made["id"]);
    let path = format!(
        "/auth/admin/services/{}",
        made["id"].as_str().expect("an id")
    );
    let end = async || stage.host.delete(&path).operator().send().await;
    let _ = end().await.expect_status(200);
    assert_eq!(end().await.status, 404);
    let refused = access_of(&stage, &made).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (401, "API_TOKEN_INVALID")
    );
    eventually("its access token ends everywhere", async || {
        let here = introspect(&stage, token, "x").await;
        let there = beside.post("/auth/token/introspect").token(token);
        let there = there.body("token=x").send().await;
        ((here.status, there.status) == (401, 401)).then_some(())
    })
    .await;
    beside.stop().await;
    let later = stage.host.beside().start().await;
    let there = later.post("/auth/token/introspect").token(token);
    let there = there.body("token=x").send().await;
    assert_eq!(
        there.status, 401,
        "a host that started afterwards knows it, too"
    );
    later.stop().await;
    stage.host.stop().await;
}

#[tokio::test]
async fn a_tokens_state_is_told_to_services_alone() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let user = &session.0["user"]["id"];
    let made = make(&stage, &session, &json!({"name": "backup"})).await;
    let ask = async |token: &str| {
        let answer = introspect(&stage, TestHost::SERVICE_KEY, token).await;
        assert_eq!(answer.headers["cache-control"], "no-store");
        answer.expect_status(200).json()
    };
    for (token, kind) in [
        (session.access(), "access_token"),
        (session.refresh(), "refresh_token"),
        (made["token"].as_str().expect("a token"), "personal_token"),
    ] {
        let told = ask(token).await;
        let got = (&told["active"], &told["token_type"], &told["sub"]);
        assert_eq!(got, (&json!(true), &json!(kind), user), "{told}");
        assert!(told["exp"].is_i64());
    }
    let inactive = json!({"active": false});
    let changed = format!("{}AAAA", &session.access()[..session.access().len() - 4]);
    for token in [
        "",
        "x",
        "a.b.c",
        "rt1.x",
        "nspat_x",
        &changed,
        &"x".repeat(60_000),
    ] {
        assert_eq!(ask(token).await, inactive, "{token:.40}");
    }
    let _ = stage
        .post_as(&session, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    assert_eq!(ask(session.access()).await, inactive, "at once");
    assert_eq!(ask(session.refresh()).await, inactive);
    let by_person = introspect(&stage, session.access(), "x").await;
    assert_ne!(by_person.status, 200);
    let by_nobody = stage
        .host
        .post("/auth/token/introspect")
        .body("token=x")
        .send()
        .await;
    assert_eq!(by_nobody.status, 401);
    let nothing = stage
        .host
        .post("/auth/token/introspect")
        .token(TestHost::SERVICE_KEY);
    assert_eq!(nothing.body("tok=x").send().await.status, 400);
    stage.host.stop().await;
}
