//! What the audit log tells of who was kept out, and of how sessions end.

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};

use crate::{
    anonymous::sweep,
    stage::{PASSWORD, Session, Stage},
};

const ADA: &str = "ada@example.org";

/// Who acts where it is nobody in particular.
const NOBODY: &str = "/plugins/auth";

/// The entries of an action, the oldest first: who, about what, and the rest.
async fn entries(stage: &Stage, action: &str) -> Vec<(String, Option<String>, Value)> {
    let sql = stage.host.sql().await;
    let read = "select actor, target, details::text from nself.audit_log where action = $1 order by at, id";
    let rows = sql.query(read, &[&action]).await.expect("the log reads");
    let all = rows.iter().map(|row| {
        let details: String = row.get(2);
        let details = serde_json::from_str(&details).expect("details are JSON");
        (row.get(0), row.get(1), details)
    });
    all.collect()
}

/// The counts that are over are written when the task runs again.
async fn a_quarter_of_an_hour_passes(stage: &Stage) {
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.failed_proofs set began_at = began_at - interval '16 minutes'")
        .await
        .expect("time passes");
    drop(sql);
    sweep(stage).await;
    eventually("the counts are written", async || {
        let sql = stage.host.sql().await;
        let row = sql.query_one("select count(*) from auth.failed_proofs", &[]);
        let waiting: i64 = row.await.expect("they are counted").get(0);
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn wrong_passwords_of_an_account_leave_two_entries_however_many_they_are() {
    let stage = Stage::with(
        "[plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 1000\ntries_per_account = 1000",
    )
    .await;
    let ada = stage.person(ADA).await;
    for at in 0..12 {
        let guess = format!("guess number {at}");
        let _ = stage.login(ADA, &guess).await.expect_status(401);
        // Whoever thinks of new addresses fills the log no more than who tries one.
        let nobody = format!("nobody-{at}@example.org");
        let _ = stage.login(&nobody, &guess).await.expect_status(401);
    }
    let at_once = entries(&stage, "auth.proof_failed").await;
    assert_eq!(at_once.len(), 2, "{at_once:?}");
    let (actor, target, details) = &at_once[0];
    assert_eq!(actor, NOBODY, "nobody knows who it was");
    assert_eq!(target.as_deref(), Some(&*ada.user_id()));
    assert_eq!(
        (&details["way"], &details["tries"]),
        (&json!("sign_in"), &json!(1))
    );
    assert_eq!(details["networks"], json!(["127.0.0.1"]));
    assert_eq!(at_once[1].1, None, "and nobody's address is in it");

    a_quarter_of_an_hour_passes(&stage).await;
    let written = entries(&stage, "auth.proof_failed").await;
    assert_eq!(written.len(), 4, "{written:?}");
    assert!(
        written[2..]
            .iter()
            .all(|(_, _, details)| details["tries"] == 12)
    );
    a_quarter_of_an_hour_passes(&stage).await;
    assert_eq!(entries(&stage, "auth.proof_failed").await.len(), 4);
    let _ = stage.login(ADA, "one more").await.expect_status(401);
    assert_eq!(entries(&stage, "auth.proof_failed").await.len(), 5);
    stage.host.stop().await;
}

#[tokio::test]
async fn every_proof_that_is_wrong_is_counted_by_its_way() {
    let stage = Stage::open().await;
    let ada = stage.person(ADA).await;
    let (_, ada) = stage.enroll(&ada).await;
    let _ = stage
        .login(ADA, "a wrong password")
        .await
        .expect_status(401);
    let first = stage.login(ADA, PASSWORD).await.expect_status(200).data();
    let second = json!({"flow_id": first["flow_id"], "code": "000000"});
    let _ = stage
        .post("/auth/mfa/verify", &second)
        .await
        .expect_status(401);
    for (path, body) in [
        (
            "/auth/reauthenticate",
            json!({"password": "wrong", "code": "000000"}),
        ),
        (
            "/auth/password/change",
            json!({"current_password": "wrong", "password": "zwetschgenknoedel"}),
        ),
    ] {
        let _ = stage.post_as(&ada, path, &body).await.expect_status(401);
    }
    let started = stage.post("/auth/otp/start", &json!({"email": ADA})).await;
    let code = json!({"flow_id": started.expect_status(202).data()["flow_id"], "code": "no code"});
    let _ = stage
        .post("/auth/otp/verify", &code)
        .await
        .expect_status(401);
    let entries = entries(&stage, "auth.proof_failed").await;
    let ways: Vec<&Value> = entries
        .iter()
        .map(|(_, _, details)| &details["way"])
        .collect();
    let expected = json!([
        "sign_in",
        "second_factor",
        "reauthentication",
        "password_change",
        "email_code"
    ]);
    assert_eq!(json!(ways), expected);
    assert!(
        entries
            .iter()
            .all(|(_, target, _)| target.as_deref() == Some(&*ada.user_id()))
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn who_is_turned_away_leaves_one_entry_for_each_account_and_way_and_time() {
    let stage = Stage::with(
        "[plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 1000\ntries_per_account = 3",
    )
    .await;
    let ada = stage.person(ADA).await;
    let mut turned_away = 0;
    for _ in 0..8 {
        for email in [ADA, "nobody@example.org", "nobody-else@example.org"] {
            let answer = stage.login(email, "a wrong password").await;
            turned_away += u32::from(answer.status == 429);
        }
    }
    assert!(turned_away > 10, "{turned_away}");
    let written = eventually("those who were turned away are told of", async || {
        let entries = entries(&stage, "auth.throttled").await;
        (entries.len() >= 2).then_some(entries)
    })
    .await;
    let mut targets: Vec<Option<String>> = Vec::new();
    for (actor, target, details) in written {
        assert_eq!(actor, NOBODY);
        assert_eq!(details, json!({"way": "sign-in", "network": "127.0.0.1"}));
        targets.push(target);
    }
    targets.sort();
    // Addresses without an account are one, and are named nowhere.
    assert_eq!(targets, [None, Some(ada.user_id())]);
    stage.host.stop().await;
}

#[tokio::test]
async fn mails_that_are_withheld_leave_one_entry_for_each_account_and_time() {
    let stage =
        Stage::with("[plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 1000").await;
    let ada = stage.person(ADA).await;
    for _ in 0..8 {
        for email in [ADA, "nobody@example.org", "nobody-else@example.org"] {
            let body = json!({"email": email});
            for path in ["/auth/password/forgot", "/auth/otp/start"] {
                let _ = stage.post(path, &body).await.expect_status(202);
            }
        }
    }
    let written = eventually("mails that were withheld are told of", async || {
        let entries = entries(&stage, "auth.throttled").await;
        (entries.len() >= 2).then_some(entries)
    })
    .await;
    let mut targets: Vec<Option<String>> = Vec::new();
    for (actor, target, details) in written {
        assert_eq!((&*actor, details), (NOBODY, json!({"way": "mail"})));
        targets.push(target);
    }
    targets.sort();
    assert_eq!(targets, [None, Some(ada.user_id())]);
    // Five have gone out, the one of the registration among them.
    stage.mail(ADA, "/password/reset?token=").await;
    assert!(stage.mails(ADA).await.len() <= 5);
    stage.host.stop().await;
}

#[tokio::test]
async fn whoever_changes_a_profile_or_renames_a_passkey_leaves_what_was_touched_and_not_what_it_says()
 {
    let stage = Stage::open().await;
    let ada = stage.person(ADA).await;
    let change = async |body: Value| {
        let changed = stage.send_as(&ada, "PATCH", "/auth/me", &body).await;
        let _ = changed.expect_status(200);
    };
    change(json!({"display_name": "Countess", "locale": "de-AT"})).await;
    change(json!({"display_name": "Countess"})).await;
    change(json!({"avatar_url": "https://example.org/a.png", "timezone": "Europe/Vienna"})).await;
    change(json!({})).await;
    let told = entries(&stage, "auth.profile_changed").await;
    let fields: Vec<&Value> = told.iter().map(|(_, _, details)| details).collect();
    let expected = json!([
        {"fields": ["display_name", "locale"]},
        {"fields": ["avatar_url", "timezone"]},
    ]);
    assert_eq!(json!(fields), expected);
    assert!(told.iter().all(|(actor, target, _)| {
        *actor == ada.user_id() && target.as_deref() == Some(&*ada.user_id())
    }));

    let sql = stage.host.sql().await;
    let plant = "insert into auth.passkeys (user_id, credential_id, public_key, name, sign_count, transports, aaguid, \
                   is_backup_eligible, is_backed_up, created_at) \
                 values ($1::text::uuid, 'key', '{}', 'key', 0, '{}', gen_random_uuid(), false, false, now()) \
                 returning id::text";
    let planted = sql.query_one(plant, &[&ada.user_id()]).await;
    let id: String = planted.expect("a passkey").get(0);
    let path = format!("/auth/passkeys/{id}");
    let renamed = stage
        .send_as(&ada, "PATCH", &path, &json!({"name": "Kitchen"}))
        .await;
    assert_eq!(renamed.expect_status(200).data()["name"], "Kitchen");
    let told = entries(&stage, "auth.passkey_renamed").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].2, json!({"passkey_id": id}));
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn every_end_of_a_session_has_its_entry_with_who_has_done_it() {
    let stage = Stage::open().await;
    let ada = stage.person(ADA).await;
    let user = ada.user_id();
    let sign_in = async || {
        let session = stage.login(ADA, PASSWORD).await.expect_status(200).data();
        Session(session)
    };
    let mut expected = Vec::new();
    let id = |session: &Session| session.0["session_id"].as_str().expect("an id").to_owned();

    let out = sign_in().await;
    expected.push((user.clone(), id(&out), "signed_out"));
    let _ = stage
        .post_as(&out, "/auth/logout", &json!({}))
        .await
        .expect_status(200);
    let out = sign_in().await;
    expected.push((user.clone(), id(&out), "signed_out"));
    let token = json!({"refresh_token": out.refresh()});
    let _ = stage.post("/auth/revoke", &token).await.expect_status(200);
    // There is nothing left to end.
    let _ = stage.post("/auth/revoke", &token).await.expect_status(200);
    let out = sign_in().await;
    expected.push((user.clone(), id(&out), "signed_out"));
    let token = json!({"refreshToken": out.refresh()});
    let _ = stage.post("/signout", &token).await.expect_status(200);
    let out = sign_in().await;
    expected.push((user.clone(), id(&out), "signed_out"));
    let path = format!("/auth/sessions/{}", id(&out));
    let _ = stage
        .send_as(&ada, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);
    let out = sign_in().await;
    expected.push(("operator".to_owned(), id(&out), "operator"));
    let path = format!("/auth/admin/sessions/{}", id(&out));
    let ended = stage.host.delete(&path).operator().send().await;
    let _ = ended.expect_status(200);
    let out = sign_in().await;
    expected.push((user.clone(), id(&out), "password"));
    let passwords = json!({"current_password": PASSWORD, "password": "zwetschgenknoedel"});
    let changed = stage
        .post_as(&ada, "/auth/password/change", &passwords)
        .await;
    let _ = changed.expect_status(200);
    let made = stage
        .post_as(&ada, "/auth/tokens", &json!({"name": "script"}))
        .await;
    let made = made.expect_status(201).data();
    let exchange = json!({"token": made["token"]});
    let script = stage.post("/auth/tokens/exchange", &exchange).await;
    let script = Session(script.expect_status(200).data());
    expected.push((user.clone(), id(&script), "token_revoked"));
    let path = format!("/auth/tokens/{}", made["id"].as_str().expect("an id"));
    let _ = stage
        .send_as(&ada, "DELETE", &path, &json!({}))
        .await
        .expect_status(200);

    let entries = entries(&stage, "auth.session_ended").await;
    let told: Vec<(String, String, String)> = entries
        .into_iter()
        .map(|(actor, target, details)| {
            assert_eq!(details["user_id"], json!(user), "{details}");
            let actor = if actor.starts_with("operator/") {
                "operator".to_owned()
            } else {
                actor
            };
            let why = details["why"].as_str().expect("a reason").to_owned();
            (actor, target.expect("a session"), why)
        })
        .collect();
    let expected: Vec<(String, String, String)> = expected
        .into_iter()
        .map(|(actor, session, why)| (actor, session, why.to_owned()))
        .collect();
    assert_eq!(told, expected);
    let sql = stage.host.sql().await;
    let broken = sql.query("select * from nself.verify_audit()", &[]).await;
    assert!(broken.expect("the chain is read").is_empty());
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_sign_out_that_cannot_be_written_down_signs_nobody_out() {
    let stage = Stage::open().await;
    let ada = stage.person(ADA).await;
    let sql = stage.host.sql().await;
    sql.batch_execute(
        "create function public.refuse() returns trigger language plpgsql as \
           $$ begin raise exception 'the log is full'; end $$; \
         create trigger refuse before insert on nself.audit_log for each row execute function public.refuse()",
    )
    .await
    .expect("the log takes nothing");
    let out = stage.post_as(&ada, "/auth/logout", &json!({})).await;
    assert_eq!(out.status, 500, "{}", out.text());
    let wrong = stage.login(ADA, "a wrong password").await;
    assert_eq!(wrong.status, 500, "{}", wrong.text());
    sql.batch_execute("drop trigger refuse on nself.audit_log")
        .await
        .expect("the log takes everything again");
    let _ = stage.refresh(ada.refresh()).await.expect_status(200);
    assert_eq!(entries(&stage, "auth.session_ended").await.len(), 0);
    let _ = stage
        .login(ADA, "a wrong password")
        .await
        .expect_status(401);
    assert_eq!(
        entries(&stage, "auth.proof_failed").await.len(),
        1,
        "none is lost"
    );
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn people_who_sign_out_change_passwords_and_sign_in_at_once_wait_for_nobody_for_ever() {
    let stage = Stage::with(
        "[plugins.auth.config]\nsign_up = \"open\"\ntries_per_address = 1000\ntries_per_account = 1000",
    )
    .await;
    let ada = stage.person(ADA).await;
    for _ in 0..4 {
        let sessions: Vec<Session> =
            futures_util::future::join_all((0..4).map(async |_| {
                Session(stage.login(ADA, PASSWORD).await.expect_status(200).data())
            }))
            .await;
        let outs = futures_util::future::join_all(sessions.iter().map(async |session| {
            let out = stage.post_as(session, "/auth/logout", &json!({})).await;
            out.status
        }));
        let same = json!({"current_password": PASSWORD, "password": PASSWORD});
        let change = stage.post_as(&ada, "/auth/password/change", &same);
        let (outs, changed, again) = tokio::join!(outs, change, stage.login(ADA, PASSWORD));
        // Who was signed out by the change is told so.
        assert!(
            outs.iter().all(|status| [200, 401].contains(status)),
            "{outs:?}"
        );
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert_eq!(again.status, 200, "{}", again.text());
    }
    stage.host.stop().await;
}
