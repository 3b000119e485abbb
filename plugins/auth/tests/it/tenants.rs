//! The sweep: whatever has an id in its path or body is called with the ids of another family, by everybody. Nobody learns
//! whether there is such a thing, and no row changes.
//!
//! The routes are read from the plugin's manifest. One that is not taught here fails the sweep, so none is forgotten.

use std::fs;

use nself_plugin_testkit::{Answer, Schema, eventually, library};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    household::id_of,
    rows::rows,
    stage::{PASSWORD, Session, Stage},
};

/// The roles of people.
const ROLES: [&str; 5] = [
    "OWNER",
    "ADMIN",
    "ADULT_MEMBER",
    "YOUTH_MEMBER",
    "CHILD_MEMBER",
];

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Family,
    Member,
    User,
    Invitation,
    Session,
    Device,
    /// A child's membership.
    Child,
    /// Of a machine that was let in: nobody else can decide on it any more.
    UserCode,
    Passkey,
    Identity,
    ApiToken,
}

/// How a route is called with somebody else's ids.
enum Lesson {
    /// Its path's ids, in their order, the body that it takes beside them, and the id in the body.
    Path(&'static [Kind], fn(&Session) -> Value),
    Body(&'static [Kind], &'static str, Kind, fn(&Session) -> Value),
    /// It takes a secret beside the id, and has a call of its own below.
    ByHand,
    /// It takes a whole ceremony beside the id: the file with its tests tries a stranger's.
    In(&'static str),
    /// What its path names belongs to nobody.
    Public,
}

fn nothing(_: &Session) -> Value {
    json!({})
}

/// What the sweep knows of a route.
fn lesson(method: &str, path: &str) -> Lesson {
    use Kind::{ApiToken, Child, Device, Family, Identity, Invitation, Member, Passkey, UserCode};
    match (method, path) {
        ("DELETE", "/auth/sessions/{id}") => Lesson::Path(&[Kind::Session], nothing),
        ("GET" | "DELETE", "/auth/families/{id}")
        | (
            "GET",
            "/auth/families/{id}/members"
            | "/auth/families/{id}/invitations"
            | "/auth/families/{id}/children/removed",
        ) => Lesson::Path(&[Family], nothing),
        ("POST", "/auth/families/{id}/export" | "/auth/families/{id}/take-back") => {
            Lesson::Path(&[Family], nothing)
        }
        ("PATCH", "/auth/families/{id}") => Lesson::Path(&[Family], |_| json!({"name": "Ours"})),
        ("POST", "/auth/families/{id}/switch") => Lesson::Path(
            &[Family],
            |session| json!({"refresh_token": session.refresh()}),
        ),
        ("POST", "/auth/families/{id}/transfer") => {
            Lesson::Body(&[Family], "member_id", Member, nothing)
        }
        ("PATCH", "/auth/families/{id}/members/{member_id}") => {
            Lesson::Path(&[Family, Member], |_| json!({"role": "CHILD_MEMBER"}))
        }
        ("DELETE", "/auth/families/{id}/members/{member_id}") => {
            Lesson::Path(&[Family, Member], nothing)
        }
        ("POST", "/auth/families/{id}/invitations") => {
            Lesson::Path(&[Family], |_| json!({"role": "CHILD_MEMBER"}))
        }
        ("DELETE", "/auth/families/{id}/invitations/{invitation_id}") => {
            Lesson::Path(&[Family, Invitation], nothing)
        }
        ("POST", "/auth/families/{id}/children") => {
            Lesson::Path(&[Family], |_| json!({"display_name": "Ours"}))
        }
        (
            "POST",
            "/auth/families/{id}/children/{member_id}/sign-in-code"
            | "/auth/families/{id}/children/{member_id}/take-back",
        ) => Lesson::Path(&[Family, Child], nothing),
        ("PATCH", "/auth/devices/{id}") => Lesson::Path(&[Device], |_| json!({"name": "Ours"})),
        ("DELETE", "/auth/devices/{id}") => Lesson::Path(&[Device], nothing),
        ("GET", "/auth/device/{user_code}") => Lesson::Path(&[UserCode], nothing),
        ("POST", "/auth/device/{user_code}") => {
            Lesson::Path(&[UserCode], |_| json!({"decision": "approve"}))
        }
        ("POST", "/auth/refresh") => Lesson::Body(
            &[],
            "family_id",
            Family,
            |session| json!({"refresh_token": session.refresh()}),
        ),
        ("GET" | "DELETE", "/auth/passkeys/{id}") => Lesson::Path(&[Passkey], nothing),
        ("PATCH", "/auth/passkeys/{id}") => Lesson::Path(&[Passkey], |_| json!({"name": "Ours"})),
        ("DELETE", "/auth/identities/{id}") => Lesson::Path(&[Identity], nothing),
        ("DELETE", "/auth/tokens/{id}") => Lesson::Path(&[ApiToken], nothing),
        ("POST", "/auth/tokens") => {
            Lesson::Body(&[], "family_id", Family, |_| json!({"name": "Ours"}))
        }
        (
            "POST",
            "/auth/login" | "/auth/otp/verify" | "/auth/children/sign-in" | "/auth/mfa/verify",
        ) => Lesson::ByHand,
        (
            "POST",
            "/auth/reauthenticate"
            | "/auth/passkeys/register/verify"
            | "/auth/passkeys/login/verify",
        ) => Lesson::In("passkeys.rs"),
        (
            "POST",
            "/signin/webauthn/verify"
            | "/signup/webauthn/verify"
            | "/user/webauthn/verify"
            | "/elevate/webauthn/verify",
        ) => Lesson::In("nhost/passkeys.rs"),
        ("POST", "/auth/tokens/exchange") => Lesson::In("tokens.rs"),
        ("POST", "/auth/oauth/exchange" | "/auth/oauth/{provider}/id-token") => {
            Lesson::In("provider.rs")
        }
        (
            "GET",
            "/auth/assets/{name}"
            | "/auth/oauth/{provider}/start"
            | "/signin/provider/{provider}"
            | "/signup/provider/{provider}",
        )
        | (
            "GET" | "POST",
            "/auth/oauth/{provider}/callback" | "/signin/provider/{provider}/callback",
        )
        | ("POST", "/auth/identities/link/{provider}") => Lesson::Public,
        _ => panic!("teach the sweep about {method} {path}"),
    }
}

/// Whether a body or query names something by an id.
fn has_id(shape: &Value) -> bool {
    match shape {
        Value::Object(fields) => {
            let names = fields.get("properties").and_then(Value::as_object);
            let is_id =
                |name: &String| name == "id" || name.ends_with("_id") || name.ends_with("_ids");
            fields.get("format") == Some(&json!("uuid"))
                || names.is_some_and(|names| names.keys().any(is_id))
                || fields.values().any(has_id)
        }
        Value::Array(all) => all.iter().any(has_id),
        _ => false,
    }
}

/// A family with two people of every role, and one of everything that has an id.
struct House {
    people: Vec<(&'static str, Session)>,
    ids: Vec<(Kind, String)>,
}

impl House {
    async fn new(stage: &Stage, name: &str) -> Self {
        let email = |role: &str, at: u32| format!("{name}-{role}-{at}@example.org").to_lowercase();
        let (family, owner) = stage.owner(&email("owner", 0)).await;
        let mut people = Vec::new();
        for role in ROLES {
            for at in 1..=2 {
                // Nobody is asked in as an owner: an ADMIN becomes one.
                let asked = if role == "OWNER" { "ADMIN" } else { role };
                let person = stage.member(&email(role, at), &owner, &family, asked).await;
                people.push((role, person));
            }
        }
        for (_, session) in &mut people[..2] {
            let path = format!("/auth/families/{family}/members/{}", session.member_id());
            let raised = stage
                .send_as(&owner, "PATCH", &path, &json!({"role": "OWNER"}))
                .await;
            let _ = raised.expect_status(200);
            *session = Session(
                stage
                    .refresh(session.refresh())
                    .await
                    .expect_status(200)
                    .data(),
            );
        }
        let child = stage.child(&owner, &family, "Cleo").await;
        let path = format!("/auth/families/{family}/invitations");
        let invited = stage
            .post_as(&owner, &path, &json!({"role": "CHILD_MEMBER"}))
            .await;
        let invited = invited.expect_status(201).data();
        let form = stage
            .host
            .post("/oauth/device_authorization")
            .body("client_id=tv");
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let begun = form.send().await.expect_status(200).json();
        let user_code = begun["user_code"].as_str().expect("a user code").to_owned();
        let approve = json!({"decision": "approve"});
        let approved = stage
            .post_as(&owner, &format!("/auth/device/{user_code}"), &approve)
            .await;
        let device = approved.expect_status(200).data();
        let [passkey, identity, api_token] = planted(stage, &owner.user_id()).await;
        let ids = vec![
            (Kind::Passkey, passkey),
            (Kind::Identity, identity),
            (Kind::ApiToken, api_token),
            (Kind::Family, family),
            (Kind::Member, owner.member_id()),
            (Kind::Child, id_of(&child)),
            (Kind::User, owner.user_id()),
            (Kind::Invitation, id_of(&invited["invitation"])),
            (
                Kind::Session,
                owner.0["session_id"]
                    .as_str()
                    .expect("a session")
                    .to_owned(),
            ),
            (Kind::Device, id_of(&device["device"])),
            (Kind::UserCode, user_code),
        ];
        Self { people, ids }
    }

    fn id(&self, kind: Kind) -> &str {
        let (_, id) = self
            .ids
            .iter()
            .find(|(known, _)| *known == kind)
            .expect("it has one");
        id
    }

    /// What may stand where an id of `kind` stands: from a few callers everything, from the others what fits.
    fn foreign(&self, kind: Kind, caller: usize) -> Vec<&str> {
        let is_code = |kind: Kind| kind == Kind::UserCode;
        let fits =
            |known: Kind| known == kind || (caller == 0 && !is_code(kind) && !is_code(known));
        let ids = self.ids.iter().filter(|(known, _)| fits(*known));
        ids.map(|(_, id)| id.as_str()).collect()
    }
}

/// A passkey, a link to another place and a token for scripts: rows, because how they are made is tried elsewhere.
async fn planted(stage: &Stage, user: &str) -> [String; 3] {
    let sql = stage.host.sql().await;
    let mut ids = Vec::new();
    for insert in [
        "insert into auth.passkeys (user_id, credential_id, public_key, name, sign_count, transports, aaguid, \
           is_backup_eligible, is_backed_up, created_at) \
         values ($1::text::uuid, convert_to($1::text, 'UTF8'), '{}', 'key', 0, '{}', gen_random_uuid(), false, false, now()) \
         returning id::text",
        "insert into auth.identities (user_id, provider, issuer, subject, created_at) \
         values ($1::text::uuid, 'place', 'https://place.example', $1::text, now()) returning id::text",
        "insert into auth.api_tokens (user_id, name, prefix, token_mac, created_at, expires_at) \
         values ($1::text::uuid, 'script', 'nspat_', convert_to($1::text, 'UTF8'), now(), now() + interval '1 day') \
         returning id::text",
    ] {
        let row = sql.query_one(insert, &[&user]).await;
        ids.push(
            row.unwrap_or_else(|error| panic!("{insert}: {error:?}"))
                .get(0),
        );
    }
    ids.try_into().expect("three rows were made")
}

/// Something that is nowhere, in the form of `kind`.
fn missing(kind: Kind) -> String {
    match kind {
        Kind::UserCode => "BBBB-BBBB".to_owned(),
        _ => Uuid::now_v7().to_string(),
    }
}

/// An answer without the ids that were asked for: they are all that may differ.
fn told(answer: &Answer, ids: &[&str]) -> (u16, String) {
    let mut text = answer.text();
    for id in ids {
        text = text.replace(id, "ID");
    }
    (answer.status, text)
}

fn fill(path: &str, ids: &[&str]) -> String {
    let mut ids = ids.iter();
    let parts = path.split('/').map(|part| {
        if part.starts_with('{') {
            ids.next()
                .expect("the lesson has an id for each of the path")
        } else {
            part
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// One call, and the same with an id of nothing in the place of the foreign one.
struct Pair<'a> {
    method: &'a str,
    path: &'a str,
    body: Value,
    field: Option<&'a str>,
    caller: &'a Session,
}

impl Pair<'_> {
    async fn call(&self, stage: &Stage, ids: &[&str]) -> (u16, String) {
        let mut body = self.body.clone();
        let in_path = self.path.matches('{').count();
        if let Some(field) = self.field {
            body[field] = json!(ids[in_path]);
        }
        let path = fill(self.path, &ids[..in_path]);
        let answer = stage.send_as(self.caller, self.method, &path, &body).await;
        told(&answer, ids)
    }

    /// Puts a foreign id in each place, and in all at once.
    async fn check(
        &self,
        stage: &Stage,
        kinds: &[Kind],
        ours: &House,
        theirs: &House,
        caller: usize,
    ) {
        let name = format!("{} {}", self.method, self.path);
        let own: Vec<&str> = kinds.iter().map(|kind| ours.id(*kind)).collect();
        for (at, kind) in kinds.iter().enumerate() {
            let nowhere = missing(*kind);
            let mut ids = own.clone();
            ids[at] = &nowhere;
            let expected = self.call(stage, &ids).await;
            let is_refused = matches!(expected.0, 403 | 404);
            assert!(is_refused, "{name} with an id of nothing: {expected:?}");
            for foreign in theirs.foreign(*kind, caller) {
                ids[at] = foreign;
                let got = self.call(stage, &ids).await;
                assert_eq!(
                    got, expected,
                    "{name}: {kind:?} {foreign} can be told from nothing"
                );
            }
        }
        if kinds.len() > 1 {
            let all: Vec<&str> = kinds.iter().map(|kind| theirs.id(*kind)).collect();
            let nowhere: Vec<String> = kinds.iter().map(|kind| missing(*kind)).collect();
            let nowhere: Vec<&str> = nowhere.iter().map(String::as_str).collect();
            let (got, expected) = (
                self.call(stage, &all).await,
                self.call(stage, &nowhere).await,
            );
            assert_eq!(
                got, expected,
                "{name}: another family can be told from none"
            );
            assert!(matches!(got.0, 403 | 404), "{name}: {got:?}");
        }
    }
}

#[tokio::test]
async fn no_id_of_another_family_is_worth_more_than_an_id_of_nothing() {
    let stage = Stage::open().await;
    let ours = House::new(&stage, "ours").await;
    let theirs = House::new(&stage, "theirs").await;
    let before = rows(&stage).await;
    let mut swept = 0;
    for route in library("nself-plugin-auth").manifest.routes {
        let shapes = [&route.request, &route.query].into_iter().flatten();
        let mut shapes = shapes.map(Schema::read);
        if !route.path.contains('{') && !shapes.any(|shape| has_id(&shape)) {
            continue;
        }
        swept += 1;
        if route.path.starts_with("/auth/admin/") {
            let access = serde_json::to_value(&route.access).expect("a rule is JSON");
            assert_eq!(access, json!("operator"), "{}", route.path);
            continue;
        }
        let (path_kinds, field, body): (_, _, fn(&Session) -> Value) =
            match lesson(&route.method, &route.path) {
                Lesson::Path(kinds, body) => (kinds.to_vec(), None, body),
                Lesson::Body(kinds, field, kind, body) => {
                    ([kinds, &[kind]].concat(), Some(field), body)
                }
                Lesson::In(file) => {
                    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/");
                    assert!(fs::exists(format!("{tests}{file}")).expect("a directory"));
                    continue;
                }
                Lesson::ByHand | Lesson::Public => continue,
            };
        for (at, (_, caller)) in ours.people.iter().enumerate() {
            let pair = Pair {
                method: &route.method,
                path: &route.path,
                body: body(caller),
                field,
                caller,
            };
            pair.check(&stage, &path_kinds, &ours, &theirs, at).await;
        }
    }
    assert!(swept >= 20, "{swept} routes have ids");
    assert_eq!(rows(&stage).await, before, "no row has changed");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_family_that_is_not_ones_own_is_not_signed_in_to() {
    let stage = Stage::open().await;
    let _ = stage.owner("ada@example.org").await;
    let (foreign, _) = stage.owner("eve@example.org").await;
    let families = [foreign, missing(Kind::Family)];
    let mut answers = Vec::new();
    for family in &families {
        let body = json!({"email": "ada@example.org", "password": PASSWORD, "family_id": family});
        answers.push(told(&stage.post("/auth/login", &body).await, &[family]));
    }
    let mut used = Vec::new();
    for family in &families {
        let mailbox = json!({"email": "ada@example.org"});
        let started = stage
            .post("/auth/otp/start", &mailbox)
            .await
            .expect_status(202)
            .data();
        let code = eventually("another code", async || {
            let code = stage.mailed_code("ada@example.org").await;
            (!used.contains(&code)).then_some(code)
        })
        .await;
        let body = json!({"flow_id": started["flow_id"], "code": code, "family_id": family});
        answers.push(told(
            &stage.post("/auth/otp/verify", &body).await,
            &[family],
        ));
        used.push(code);
    }
    for answer in &answers {
        assert_eq!((answer.0, answer), (404, &answers[0]));
    }
    assert_eq!(answers.len(), 4);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_flow_of_somebody_else_is_worth_nothing_without_its_code() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner("ada@example.org").await;
    let child = stage.child(&owner, &family, "Cleo").await;
    let made = stage
        .child_code(&owner, &family, &child)
        .await
        .expect_status(201)
        .data();
    let mailbox = json!({"email": "ada@example.org"});
    let started = stage
        .post("/auth/otp/start", &mailbox)
        .await
        .expect_status(202)
        .data();
    for (path, foreign) in [
        ("/auth/children/sign-in", &made["flow_id"]),
        ("/auth/otp/verify", &started["flow_id"]),
        ("/auth/mfa/verify", &started["flow_id"]),
        // Nor is the code of one kind of flow good for another.
        ("/auth/otp/verify", &made["flow_id"]),
    ] {
        let ids = [foreign.clone(), json!(Uuid::now_v7())];
        let mut answers = Vec::new();
        for id in ids {
            let code = if path.contains("otp") {
                &made["code"]
            } else {
                &json!("x")
            };
            let body = json!({"flow_id": id, "code": code});
            answers.push(told(&stage.post(path, &body).await, &[]));
        }
        assert_eq!((answers[0].0, &answers[0]), (401, &answers[1]), "{path}");
    }
    stage.host.stop().await;
}

#[test]
#[should_panic(expected = "teach the sweep about POST /auth/news/{id}")]
fn a_route_that_nobody_has_taught_fails_the_sweep() {
    lesson("POST", "/auth/news/{id}");
}

#[test]
fn an_id_is_found_wherever_a_body_has_it() {
    for shape in [
        json!({"properties": {"member_id": {"type": "string"}}}),
        json!({"properties": {"whom": {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}}}),
        json!({"properties": {"all": {"items": {"properties": {"id": {}}}}}}),
    ] {
        assert!(has_id(&shape), "{shape}");
    }
    assert!(!has_id(
        &json!({"properties": {"token": {"type": "string"}}})
    ));
}
