//! Passkeys, shown by an authenticator in software that does what it should, and then does not.

use ciborium::Value as Cbor;
use serde_json::{Value, json};

use crate::{
    authenticator::{Creation, Key, Passkey, Usage, cbor, flag},
    stage::{PASSWORD, Session, Stage},
};

const ADA: &str = "ada@example.org";

/// Where the page stands: the origin of `public_url` as it is without configuration.
const ORIGIN: &str = "http://localhost:3000";

/// One thing that is changed in a registration, and in a use.
type Making = fn(&mut Creation);
type Using = fn(&mut Usage<'_>);

impl Stage {
    async fn creation_options(&self, session: &Session) -> Value {
        let options = self
            .post_as(session, "/auth/passkeys/register/options", &json!({}))
            .await;
        options.expect_status(200).data()
    }

    async fn request_options(&self) -> Value {
        let options = self.post("/auth/passkeys/login/options", &json!({})).await;
        options.expect_status(200).data()
    }

    /// Registers a passkey; what the server shows of it, and the authenticator's half.
    pub(crate) async fn passkey(&self, session: &Session, key: Key) -> (Value, Passkey) {
        let begun = self.creation_options(session).await;
        let creation = Creation::new(&begun["options"], ORIGIN, &key);
        let body = json!({
            "flow_id": begun["flow_id"], "name": "Key", "credential": creation.response(),
        });
        let kept = self
            .post_as(session, "/auth/passkeys/register/verify", &body)
            .await;
        (kept.expect_status(201).data(), creation.passkey(key))
    }

    /// A proof by a passkey, as a page sends it.
    pub(crate) async fn proof(&self, passkey: &mut Passkey) -> Value {
        let begun = self.request_options().await;
        let usage = Usage::new(&begun["options"], ORIGIN, passkey);
        json!({"flow_id": begun["flow_id"], "credential": usage.response()})
    }
}

#[tokio::test]
async fn a_passkey_signs_in_without_an_address_and_counts_as_two_factors() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (_, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    for key in [Key::eddsa(), Key::rs256()] {
        let (_, mut other) = stage.passkey(&ada, key).await;
        let proof = stage.proof(&mut other).await;
        let _ = stage
            .post("/auth/passkeys/login/verify", &proof)
            .await
            .expect_status(200);
    }
    let (_, ada) = stage.enroll(&ada).await;
    let proof = stage.proof(&mut passkey).await;
    let session = stage.post("/auth/passkeys/login/verify", &proof).await;
    assert_eq!(session.headers["cache-control"], "no-store");
    let session = Session(session.expect_status(200).data());
    assert_eq!(session.0["user"]["id"], ada.0["user"]["id"]);
    let claims = session.claims();
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("aal2"), &json!(["hwk", "mfa"]))
    );
    let replayed = stage.post("/auth/passkeys/login/verify", &proof).await;
    assert_eq!(
        (replayed.status, &*replayed.code()),
        (401, "PASSKEY_INVALID")
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn passkeys_are_listed_renamed_and_removed_by_their_owner() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let eve = stage.person("eve@example.org").await;
    let (shown, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    assert_eq!(shown["transports"], json!(["internal", "hybrid"]));
    assert_eq!(shown.get("public_key"), None);
    let path = format!("/auth/passkeys/{}", shown["id"].as_str().expect("an id"));
    let nowhere = format!("/auth/passkeys/{}", uuid::Uuid::now_v7());
    let name = json!({"name": " Phone "});
    for (session, path) in [(&eve, &path), (&ada, &nowhere)] {
        for method in ["GET", "PATCH", "DELETE"] {
            let request = stage.host.request(method, path).token(session.access());
            let answer = request.json(&name).send().await;
            let expected = (404, "PASSKEY_NOT_FOUND");
            assert_eq!(
                (answer.status, &*answer.code()),
                expected,
                "{method} {path}"
            );
        }
    }
    let patch = stage.host.request("PATCH", &path).token(ada.access());
    let renamed = patch.json(&name).send().await.expect_status(200).data();
    assert_eq!(renamed["name"], "Phone");
    let list = stage
        .get_as(&ada, "/auth/passkeys")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(list, json!([renamed]));
    let none = stage
        .get_as(&eve, "/auth/passkeys")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(none, json!([]));

    let proof = stage.proof(&mut passkey).await;
    let _ = stage
        .post("/auth/passkeys/login/verify", &proof)
        .await
        .expect_status(200);
    let removed = stage.host.delete(&path).token(ada.access()).send().await;
    let _ = removed.expect_status(200);
    let proof = stage.proof(&mut passkey).await;
    let refused = stage.post("/auth/passkeys/login/verify", &proof).await;
    assert_eq!((refused.status, &*refused.code()), (401, "PASSKEY_INVALID"));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_registration_is_refused_with_its_reason_and_its_challenge_is_used_up() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let changes: [(&str, Making); 6] = [
        ("origin", |creation| {
            creation.client.0["origin"] = json!("https://evil.example");
        }),
        ("challenge", |creation| {
            creation.client.0["challenge"] = json!("AAAA");
        }),
        ("ceremony", |creation| {
            creation.client.0["type"] = json!("webauthn.get");
        }),
        ("relying party", |creation| {
            creation.rp_id = "evil.example".into();
        }),
        ("verified", |creation| creation.flags &= !flag::VERIFIED),
        ("attestation", |creation| creation.format = "fido-u2f"),
    ];
    for (word, change) in changes {
        let begun = stage.creation_options(&ada).await;
        let key = Key::es256();
        let mut creation = Creation::new(&begun["options"], ORIGIN, &key);
        let right = json!({"flow_id": begun["flow_id"], "credential": creation.response()});
        change(&mut creation);
        let wrong = json!({"flow_id": begun["flow_id"], "credential": creation.response()});
        let refused = stage
            .post_as(&ada, "/auth/passkeys/register/verify", &wrong)
            .await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (422, "PASSKEY_REFUSED"),
            "{word}"
        );
        assert!(refused.text().contains(word), "{word}: {}", refused.text());
        let late = stage
            .post_as(&ada, "/auth/passkeys/register/verify", &right)
            .await;
        assert_eq!(late.status, 422, "{word}: a challenge is good once");
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_use_is_refused_without_a_reason() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let eve = stage.person("eve@example.org").await;
    let (_, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    let (_, others) = stage.passkey(&eve, Key::es256()).await;
    let changes: [(&str, Using); 8] = [
        ("origin", |usage| {
            usage.client.0["origin"] = json!("http://localhost:3001");
        }),
        ("challenge", |usage| {
            usage.client.0["challenge"] = json!("AAAA");
        }),
        ("type", |usage| {
            usage.client.0["type"] = json!("webauthn.create");
        }),
        ("relying party", |usage| usage.rp_id = "evil.example".into()),
        ("verified", |usage| usage.flags &= !flag::VERIFIED),
        ("signature", |usage| usage.is_forged = true),
        ("unknown", |usage| usage.id = vec![1; 32]),
        ("handle", |usage| usage.user_handle = Some(vec![1; 16])),
    ];
    let mut answers = Vec::new();
    for (what, change) in changes {
        let begun = stage.request_options().await;
        let mut usage = Usage::new(&begun["options"], ORIGIN, &mut passkey);
        change(&mut usage);
        let body = json!({"flow_id": begun["flow_id"], "credential": usage.response()});
        answers.push((what, stage.post("/auth/passkeys/login/verify", &body).await));
    }
    // Somebody else's credential with one's own key.
    let begun = stage.request_options().await;
    let mut usage = Usage::new(&begun["options"], ORIGIN, &mut passkey);
    usage.id.clone_from(&others.id);
    usage.user_handle = Some(others.user_handle.clone());
    let body = json!({"flow_id": begun["flow_id"], "credential": usage.response()});
    answers.push((
        "other key",
        stage.post("/auth/passkeys/login/verify", &body).await,
    ));
    let first = answers[0].1.text();
    for (what, answer) in &answers {
        assert_eq!(
            (answer.status, answer.text()),
            (401, first.clone()),
            "{what}"
        );
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_challenge_belongs_to_one_ceremony_one_person_and_five_minutes() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let eve = stage.person("eve@example.org").await;
    let key = Key::es256();
    let begun = stage.creation_options(&ada).await;
    let creation = Creation::new(&begun["options"], ORIGIN, &key);
    let body = json!({"flow_id": begun["flow_id"], "credential": creation.response()});
    let foreign = stage
        .post_as(&eve, "/auth/passkeys/register/verify", &body)
        .await;
    assert_eq!((foreign.status, &*foreign.code()), (422, "PASSKEY_REFUSED"));

    let (_, mut passkey) = stage.passkey(&ada, key).await;
    let begun = stage.creation_options(&ada).await;
    let usage = Usage::new(&begun["options"], ORIGIN, &mut passkey);
    let body = json!({"flow_id": begun["flow_id"], "credential": usage.response()});
    let _ = stage
        .post("/auth/passkeys/login/verify", &body)
        .await
        .expect_status(401);

    let proof = stage.proof(&mut passkey).await;
    let sql = stage.host.sql().await;
    let life = "select extract(epoch from expires_at - created_at)::int from auth.one_time where purpose = 'passkey_login'";
    let life: i32 = sql.query_one(life, &[]).await.expect("it reads").get(0);
    assert_eq!(life, 300);
    sql.batch_execute("update auth.one_time set expires_at = now()")
        .await
        .expect("time passes");
    let _ = stage
        .post("/auth/passkeys/login/verify", &proof)
        .await
        .expect_status(401);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn of_many_who_send_one_proof_at_once_one_gets_in() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (_, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    let proof = stage.proof(&mut passkey).await;
    let many = (0..10).map(|_| stage.post("/auth/passkeys/login/verify", &proof));
    let answers = futures_util::future::join_all(many).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 401).count(),
        9
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_counter_that_stands_still_is_noted_and_nobody_is_locked_out() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (_, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    passkey.sign_count = 40;
    for count in [40, 6] {
        passkey.sign_count = count;
        let proof = stage.proof(&mut passkey).await;
        let _ = stage
            .post("/auth/passkeys/login/verify", &proof)
            .await
            .expect_status(200);
    }
    let sql = stage.host.sql().await;
    let noted = "select details from nself.audit_log where action = 'auth.passkey_counter_behind'";
    let noted: Vec<Value> = sql
        .query(noted, &[])
        .await
        .expect("the log reads")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(noted.len(), 1);
    assert_eq!(
        (&noted[0]["stored"], &noted[0]["received"]),
        (&json!(41), &json!(7))
    );
    let kept = "select sign_count from auth.passkeys";
    let kept: i64 = sql.query_one(kept, &[]).await.expect("it reads").get(0);
    assert_eq!(kept, 41, "the copy stays behind");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_person_has_at_most_ten_and_each_belongs_to_one() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let eve = stage.person("eve@example.org").await;
    let (_, first) = stage.passkey(&ada, Key::es256()).await;
    let begun = stage.creation_options(&eve).await;
    let mut creation = Creation::new(&begun["options"], ORIGIN, &first.key);
    creation.credential_id.clone_from(&first.id);
    let body = json!({"flow_id": begun["flow_id"], "credential": creation.response()});
    let taken = stage
        .post_as(&eve, "/auth/passkeys/register/verify", &body)
        .await;
    assert_eq!((taken.status, &*taken.code()), (409, "PASSKEY_KNOWN"));

    for _ in 0..8 {
        stage.passkey(&ada, Key::eddsa()).await;
    }
    let begun = stage.creation_options(&ada).await;
    let excluded = begun["options"]["excludeCredentials"]
        .as_array()
        .expect("a list");
    assert_eq!(excluded.len(), 9);
    stage.passkey_with(&ada, begun).await.expect("the tenth");
    let more = stage
        .post_as(&ada, "/auth/passkeys/register/options", &json!({}))
        .await;
    assert_eq!((more.status, &*more.code()), (409, "PASSKEY_LIMIT"));
    stage.host.stop().await;
}

impl Stage {
    async fn passkey_with(&self, session: &Session, begun: Value) -> Result<Value, String> {
        let creation = Creation::new(&begun["options"], ORIGIN, &Key::eddsa());
        let body = json!({"flow_id": begun["flow_id"], "credential": creation.response()});
        let kept = self
            .post_as(session, "/auth/passkeys/register/verify", &body)
            .await;
        if kept.status == 201 {
            Ok(kept.data())
        } else {
            Err(kept.text())
        }
    }
}

#[tokio::test]
async fn a_passkey_answers_for_its_owner_only_beside_a_password_and_alone() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let eve = stage.person("eve@example.org").await;
    let (_, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    let (_, mut others) = stage.passkey(&eve, Key::es256()).await;
    let (_, ada) = stage.enroll(&ada).await;

    let signing_in = stage.login(ADA, PASSWORD).await.expect_status(200).data();
    assert_eq!(
        signing_in["methods"],
        json!(["totp", "recovery", "passkey"])
    );
    let show = async |proof: Value| {
        let body = json!({"flow_id": signing_in["flow_id"], "passkey": proof});
        stage.post("/auth/mfa/verify", &body).await
    };
    let foreign = show(stage.proof(&mut others).await)
        .await
        .expect_status(401);
    assert_eq!(foreign.code(), "CODE_INVALID");
    let session = show(stage.proof(&mut passkey).await)
        .await
        .expect_status(200);
    let claims = Session(session.data()).claims();
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("aal2"), &json!(["pwd", "hwk", "mfa"]))
    );

    for (proof, status) in [
        (json!({"passkey": stage.proof(&mut others).await}), 401),
        (json!({"passkey": stage.proof(&mut passkey).await}), 200),
        (
            json!({"password": "wrong password", "passkey": stage.proof(&mut passkey).await}),
            401,
        ),
        (
            json!({"password": PASSWORD, "passkey": stage.proof(&mut passkey).await}),
            200,
        ),
    ] {
        let answer = stage.post_as(&ada, "/auth/reauthenticate", &proof).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_key_that_is_copied_to_other_devices_is_called_a_software_key() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let begun = stage.creation_options(&ada).await;
    let key = Key::es256();
    let mut creation = Creation::new(&begun["options"], ORIGIN, &key);
    creation.flags |= flag::BACKUP_ELIGIBLE | flag::EXTENSIONS;
    creation.tail = cbor(&Cbor::Map(vec![("credProtect".into(), 2.into())]));
    // Attested by itself, as browsers pass it on.
    creation.format = "packed";
    let signature = key.sign(&creation.signed());
    creation.statement = vec![
        ("alg".into(), (-7).into()),
        ("sig".into(), signature.into()),
    ];
    let body = json!({"flow_id": begun["flow_id"], "credential": creation.response()});
    let kept = stage
        .post_as(&ada, "/auth/passkeys/register/verify", &body)
        .await
        .expect_status(201)
        .data();
    assert_eq!(
        (&kept["name"], &kept["is_backed_up"]),
        (&json!("Passkey"), &json!(false))
    );

    let mut passkey = creation.passkey(key);
    let begun = stage.request_options().await;
    let mut usage = Usage::new(&begun["options"], ORIGIN, &mut passkey);
    usage.flags |= flag::BACKUP_ELIGIBLE | flag::BACKED_UP;
    let body = json!({"flow_id": begun["flow_id"], "credential": usage.response()});
    let session = stage.post("/auth/passkeys/login/verify", &body).await;
    let session = Session(session.expect_status(200).data());
    assert_eq!(session.claims()["amr"], json!(["swk", "mfa"]));
    let list = stage.get_as(&session, "/auth/passkeys").send().await;
    assert_eq!(list.expect_status(200).data()[0]["is_backed_up"], true);
    stage.host.stop().await;
}

#[tokio::test]
async fn options_tell_nothing_of_an_address() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    stage.passkey(&ada, Key::es256()).await;
    let mut answers = Vec::new();
    for body in [
        json!({}),
        json!({"email": ADA}),
        json!({"email": "nobody@example.org"}),
    ] {
        let mut answer = stage
            .post("/auth/passkeys/login/options", &body)
            .await
            .expect_status(200)
            .data();
        let challenge = answer["options"]["challenge"].take();
        assert_eq!(
            challenge.as_str().map(str::len),
            Some(64),
            "32 bytes of chance after the flow's id"
        );
        answer["flow_id"] = Value::Null;
        answers.push(answer);
    }
    assert_eq!((&answers[0], &answers[0]), (&answers[1], &answers[2]));
    let options = &answers[0]["options"];
    assert_eq!(
        (&options["rpId"], &options["allowCredentials"]),
        (&json!("localhost"), &json!([]))
    );
    assert_eq!(options["userVerification"], "required");
    stage.host.stop().await;
}

#[tokio::test]
async fn who_is_suspended_does_not_get_in_by_a_passkey() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (_, mut passkey) = stage.passkey(&ada, Key::es256()).await;
    let proof = stage.proof(&mut passkey).await;
    let sql = stage.host.sql().await;
    sql.batch_execute("update public.users set status = 'suspended'")
        .await
        .expect("it changes");
    let refused = stage.post("/auth/passkeys/login/verify", &proof).await;
    assert_eq!((refused.status, &*refused.code()), (401, "PASSKEY_INVALID"));
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn where_it_is_configured_the_domain_and_the_pages_are_others() {
    let config = "[plugins.auth.config]\npasskey_rp_id = \"home.example\"\n\
         passkey_origins = [\"https://app.home.example\", \"https://tv.home.example\"]";
    let stage = Stage::with(config).await;
    let ada = stage.person(ADA).await;
    for (origin, status) in [
        ("https://app.home.example", 201),
        ("https://tv.home.example", 201),
        ("https://home.example", 422),
        (ORIGIN, 422),
    ] {
        let begun = stage.creation_options(&ada).await;
        assert_eq!(begun["options"]["rp"]["id"], "home.example");
        let creation = Creation::new(&begun["options"], origin, &Key::es256());
        let body = json!({"flow_id": begun["flow_id"], "credential": creation.response()});
        let answer = stage
            .post_as(&ada, "/auth/passkeys/register/verify", &body)
            .await;
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
    }
    stage.host.stop().await;
}
