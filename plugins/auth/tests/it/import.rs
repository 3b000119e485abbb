//! Accounts from elsewhere sign in with the passwords that they had there.

use nself_plugin_testkit::Answer;
use serde_json::{Value, json};

use crate::stage::Stage;

async fn import(stage: &Stage, content_type: &str, body: String) -> Answer {
    let request = stage.host.post("/auth/admin/import").operator();
    request
        .header("content-type", content_type)
        .body(body)
        .send()
        .await
}

async fn hash_of(stage: &Stage, email: &str) -> String {
    let sql = stage.host.sql().await;
    let row = sql
        .query_one(
            "select c.secret from auth.credentials c join public.users u on u.id = c.user_id where u.email = $1",
            &[&email],
        )
        .await
        .expect("there is a password");
    row.get(0)
}

#[tokio::test]
async fn hashes_of_other_systems_sign_in_once_and_are_argon2id_from_then_on() {
    let stage = Stage::set().await;
    let firebase = json!({"hash_config": {
        "algorithm": "SCRYPT", "rounds": 8, "mem_cost": 14, "base64_salt_separator": "Bw==",
        "base64_signer_key": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
    }});
    let rows = [
        json!({"email": "nhost@example.org", "email_verified": true, "display_name": "N",
            "password_hash": "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"}),
        firebase,
        json!({"email": "fire@example.org", "emailVerified": true, "salt": "42xEC+ixf3L2lw==",
            "passwordHash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="}),
        json!({"email": "waits@example.org", "email_verified": false,
            "password_hash": "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"}),
        json!({"email": "no address", "password_hash": "x"}),
    ];
    let body = rows.map(|row| row.to_string()).join("\n");
    let answer = import(&stage, "application/x-ndjson", body)
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&answer["made"], &answer["refused"]),
        (&json!(3), &json!(1)),
        "{answer}"
    );
    assert_eq!(answer["refusals"][0]["row"], 5);
    for (email, password) in [
        ("nhost@example.org", "U*U*U"),
        ("fire@example.org", "user1password"),
    ] {
        let _ = stage
            .login(email, "another password")
            .await
            .expect_status(401);
        let _ = stage.login(email, password).await.expect_status(200);
        assert!(
            // The parameters with which an unknown account is compared, too.
            hash_of(&stage, email)
                .await
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{email}"
        );
        let _ = stage.login(email, password).await.expect_status(200);
    }
    assert!(
        hash_of(&stage, "waits@example.org")
            .await
            .starts_with("$2b$")
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn an_import_that_is_sent_again_changes_nothing() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let before = hash_of(&stage, "ada@example.org").await;
    let names = "email,encrypted_password,email_confirmed_at\r\n";
    let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let rows: Vec<String> = (0..1_200)
        .map(|at| format!("p{at}@example.org,{hash},2024-01-01\r\n"))
        .collect();
    let rows = rows.concat();
    let twice = format!("P7@example.org,{hash},\r\nada@example.org,{hash},\r\n");
    let body = format!("{names}{rows}{twice}");
    let first = import(&stage, "text/csv", body.clone())
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&first["made"], &first["known"]),
        (&json!(1_200), &json!(2)),
        "{first}"
    );
    let again = import(&stage, "text/csv", body)
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&again["made"], &again["known"]),
        (&json!(0), &json!(1_202)),
        "{again}"
    );
    assert_eq!(
        hash_of(&stage, "ada@example.org").await,
        before,
        "an account that is there is left alone"
    );
    let _ = stage
        .get_as(&ada, "/auth/me")
        .send()
        .await
        .expect_status(200);
    let sql = stage.host.sql().await;
    let row = sql
        .query_one(
            "select count(*) from nself.events where type = 'auth.user_created'",
            &[],
        )
        .await
        .expect("events are counted");
    assert_eq!(row.get::<_, i64>(0), 1_201);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_no_import_is_refused_and_only_an_operator_imports() {
    let stage = Stage::open().await;
    let wrong = import(&stage, "text/plain", "{}".to_owned()).await;
    assert_eq!((wrong.status, &*wrong.code()), (415, "CONTENT_TYPE"));
    for other in [
        "{}",
        "",
        "{\"people\": []}",
        "[{\"email\": \"bob@example.org\"},",
    ] {
        let none = import(&stage, "application/json", other.to_owned()).await;
        assert_eq!(
            (none.status, &*none.code()),
            (422, "IMPORT_INVALID"),
            "{other}"
        );
    }
    let open = import(
        &stage,
        "text/csv",
        format!("email\n\"{}", "x".repeat(70_000)),
    )
    .await;
    assert_eq!((open.status, &*open.code()), (422, "IMPORT_INVALID"));
    let empty = import(&stage, "text/csv", String::new())
        .await
        .expect_status(200);
    assert_eq!(empty.data()["made"], Value::from(0));
    let ada = stage.person("ada@example.org").await;
    let request = stage.host.post("/auth/admin/import").token(ada.access());
    let _ = request
        .header("content-type", "text/csv")
        .send()
        .await
        .expect_status(403);
    stage.host.stop().await;
}
