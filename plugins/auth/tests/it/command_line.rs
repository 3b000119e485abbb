//! `nself auth ..`: the built program beside a running host, as an operator calls it.

use std::fs;

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{PASSWORD, Stage};

const ADA: &str = "ada@example.org";
const BCRYPT: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const PASSWORD_OF_BCRYPT: &str = "U*U";

async fn stage() -> Stage {
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .program()
        .config("[plugins.mail.listen]\n1025 = 0")
        .config("[plugins.auth.config]\nsign_up = \"open\"\ntries_per_account = 3");
    Stage {
        host: host.start().await,
    }
}

/// What a command answers.
async fn asked(stage: &Stage, words: &[&str]) -> Value {
    let words = [&["auth"], words, &["--json", "--yes"]].concat();
    let (said, _) = stage.host.command_line(&words).await;
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    said["data"].clone()
}

fn first_id(rows: &Value) -> &str {
    rows[0]["id"].as_str().expect("a row with an id")
}

#[tokio::test]
async fn an_operator_looks_after_accounts_sessions_machines_and_keys() {
    let stage = stage().await;
    let ada = stage.person(ADA).await;
    let added = asked(&stage, &["users", "add", "--email", "bob@example.org"]).await;
    let bob = added["user"]["id"].as_str().expect("an account").to_owned();
    stage
        .mail("bob@example.org", "/password/reset?token=")
        .await;
    let users = asked(&stage, &["users", "--query", "bob"]).await;
    assert_eq!(
        (first_id(&users), users.as_array().map(Vec::len)),
        (&*bob, Some(1))
    );
    let (table, _) = stage.host.command_line(&["auth", "users"]).await;
    assert!(table.starts_with("ID ") && table.contains(ADA), "{table}");

    let sessions = asked(&stage, &["sessions", "--user", &ada.user_id()]).await;
    asked(&stage, &["sessions", "end", first_id(&sessions)]).await;
    let _ = stage.refresh(ada.refresh()).await.expect_status(401);
    assert_eq!(asked(&stage, &["devices"]).await, json!([]));
    asked(&stage, &["users", "suspend", &ada.user_id()]).await;
    let _ = stage.login(ADA, PASSWORD).await.expect_status(401);
    asked(&stage, &["users", "activate", &ada.user_id()]).await;

    // No other plugin has keys, so its name can be left out.
    let (rotated, _) = stage.host.command_line(&["keys", "rotate", "--now"]).await;
    assert!(
        rotated.contains("retiring") && rotated.contains("active"),
        "{rotated}"
    );
    assert_eq!(
        asked(&stage, &["keys"]).await.as_array().map(Vec::len),
        Some(2)
    );
    let measured = asked(&stage, &["tune"]).await;
    assert_eq!(measured["parameters"], "argon2id v=19 m=19456,t=2,p=1");

    while stage.login(ADA, "a wrong password").await.status == 401 {}
    eventually("the account is listed", async || {
        let listed = asked(&stage, &["lockouts"]).await;
        (listed[0]["email"] == ADA).then_some(())
    })
    .await;
    asked(&stage, &["lockouts", "lift", &ada.user_id()]).await;
    let _ = stage.login(ADA, PASSWORD).await.expect_status(200);
    assert_eq!(asked(&stage, &["providers"]).await, json!([]));
    asked(&stage, &["users", "delete", &bob]).await;
    let audit = asked(&stage, &["audit", "--action", "auth.account_*"]).await;
    let entries = audit["entries"].as_array().expect("entries").iter();
    let actions: Vec<&Value> = entries.map(|entry| &entry["action"]).collect();
    let expected = ["deleted", "activated", "suspended", "made"];
    let expected = expected.map(|what| format!("auth.account_{what}"));
    assert_eq!(json!(actions), json!(expected));
    stage.host.stop().await;
}

/// Exports as each system writes them: the name of the file, what stands in it, how many rows are no account.
fn exports() -> [(&'static str, String, u64); 5] {
    let hashed =
        "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
    let config = json!({
        "algorithm": "SCRYPT", "rounds": 8, "mem_cost": 14, "base64_salt_separator": "Bw==",
        "base64_signer_key": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
    });
    let firebase = json!({"hash_config": config, "users": [
        {"localId": "1", "email": "fire@example.org", "emailVerified": true, "salt": "42xEC+ixf3L2lw==",
         "passwordHash": hashed, "createdAt": "1486324645000", "providerUserInfo": [{"providerId": "google.com", "email": "x"}]},
        {"localId": "2", "phoneNumber": "+4312345", "providerUserInfo": []},
    ]});
    let supabase = json!([
        {"id": "1", "email": "supa@example.org", "encrypted_password": BCRYPT, "email_confirmed_at": "2024-01-01 00:00:00+00",
         "banned_until": "2024-02-01 00:00:00+00", "raw_user_meta_data": {"full_name": "S"}, "deleted_at": null},
        {"id": "2", "email": "gone@example.org", "deleted_at": "2024-01-01 00:00:00+00"},
    ]);
    let nhost = json!({"email": "nhost@example.org", "password_hash": BCRYPT, "email_verified": true, "disabled": false, "metadata": {}});
    let config = json!({"hash_config": config});
    let places = ",".repeat(20);
    [
        (
            "users.json",
            serde_json::to_string_pretty(&firebase).expect("JSON"),
            1,
        ),
        (
            "users.csv",
            format!("{config}\n3,fires@example.org,true,{hashed},42xEC+ixf3L2lw==,Fire{places}\n"),
            0,
        ),
        (
            "supabase.json",
            serde_json::to_string_pretty(&supabase).expect("JSON"),
            1,
        ),
        (
            "supabase.csv",
            format!(
                "email,encrypted_password,email_confirmed_at\nsupas@example.org,{BCRYPT},2024-01-01\n"
            ),
            0,
        ),
        ("nhost.ndjson", format!("{nhost}\n"), 0),
    ]
}

#[tokio::test]
async fn exports_of_other_systems_are_imported_as_they_are() {
    let stage = stage().await;
    let directory = tempfile::tempdir().expect("there is room for files");
    for (name, text, refused) in exports() {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("the directory is writable");
        let path = path.to_str().expect("a path is text");
        let imported = asked(&stage, &["import", path]).await;
        assert_eq!(
            (&imported["made"], &imported["refused"]),
            (&json!(1), &json!(refused)),
            "{name}: {imported}"
        );
    }
    for (email, password) in [
        ("fire@example.org", "user1password"),
        ("fires@example.org", "user1password"),
        ("supa@example.org", PASSWORD_OF_BCRYPT),
        ("supas@example.org", PASSWORD_OF_BCRYPT),
        ("nhost@example.org", PASSWORD_OF_BCRYPT),
    ] {
        let session = stage.login(email, password).await.expect_status(200).data();
        assert_eq!(session["user"]["is_email_verified"], true, "{email}");
    }
    stage.host.stop().await;
}
