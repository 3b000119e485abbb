//! The second factor: enrolled, asked for on every way in, and not to be guessed.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    app::App,
    stage::{PASSWORD, Session, Stage},
};

const ADA: &str = "ada@example.org";

#[tokio::test]
async fn an_app_is_enrolled_and_asked_for_from_then_on() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let enrolment = stage
        .post_as(&ada, "/auth/mfa/totp/enroll", &json!({}))
        .await;
    assert_eq!(enrolment.headers["cache-control"], "no-store");
    let enrolment = enrolment.expect_status(200).data();
    let secret = enrolment["secret"].as_str().expect("a secret");
    let url = enrolment["url"].as_str().expect("an address");
    assert!(secret.len() == 32 && url.starts_with("otpauth://totp/Family:ada%40example%2Eorg?"));
    assert!(url.contains(secret));
    assert!(
        enrolment["qr_svg"]
            .as_str()
            .is_some_and(|svg| svg.contains("<svg"))
    );
    let _ = stage.login(ADA, PASSWORD).await.expect_status(200).data()["access_token"]
        .as_str()
        .expect("what is not confirmed is not asked for");

    let wrong = json!({"code": App::wrong_code()});
    let _ = stage
        .post_as(&ada, "/auth/mfa/totp/confirm", &wrong)
        .await
        .expect_status(401);
    let app = App::reading(&enrolment);
    let right = json!({"code": app.code()});
    let confirmed = stage.post_as(&ada, "/auth/mfa/totp/confirm", &right).await;
    let codes = confirmed.expect_status(200).data()["recovery_codes"].take();
    let mut codes: Vec<String> = serde_json::from_value(codes).expect("a list of codes");
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| code.len() == 19));

    let shown = stage
        .get_as(&ada, "/auth/mfa")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        (&shown["is_required"], &shown["recovery_codes_left"]),
        (&json!(true), &json!(10))
    );
    let flow = stage.first_factor(ADA, PASSWORD).await;
    stage.next_step().await;
    let body = json!({"flow_id": flow, "code": app.code()});
    let session = stage
        .post("/auth/mfa/verify", &body)
        .await
        .expect_status(200)
        .data();
    let claims = Session(session).claims();
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("aal2"), &json!(["pwd", "otp", "mfa"]))
    );

    let sql = stage.host.sql().await;
    let stored = "select string_agg(secret, ' ') from auth.credentials where kind <> 'password'";
    let stored: String = sql.query_one(stored, &[]).await.expect("it reads").get(0);
    assert!(!stored.contains(secret), "the secret is sealed");
    let typed =
        |code: &String| stored.contains(code.as_str()) || stored.contains(&code.replace('-', ""));
    assert!(!codes.iter().any(typed), "only MACs are stored");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn of_many_who_use_one_code_at_once_one_gets_in() {
    let stage = Stage::set().await;
    let (app, ada) = {
        let ada = stage.person(ADA).await;
        stage.enroll(&ada).await
    };
    let code = app.code();
    let proof = json!({"password": PASSWORD, "code": code});
    let many = (0..4).map(|_| stage.post_as(&ada, "/auth/reauthenticate", &proof));
    let mut answers: Vec<u16> = join_all(many)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 401, 401, 401]);
    let flow = stage.first_factor(ADA, PASSWORD).await;
    let used = json!({"flow_id": flow, "code": code});
    let _ = stage
        .post("/auth/mfa/verify", &used)
        .await
        .expect_status(401);
    stage.next_step().await;
    let many = (0..3).map(|_| stage.post("/auth/mfa/verify", &used));
    let mut answers: Vec<u16> = join_all(many)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 401, 401]);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_sign_in_has_five_tries_also_when_fifty_come_at_once_and_another_gives_no_more() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (app, _) = stage.enroll(&ada).await;
    let flow = stage.first_factor(ADA, PASSWORD).await;
    let wrong = json!({"flow_id": flow, "code": App::wrong_code()});
    let fifty = (0..50).map(|_| stage.post("/auth/mfa/verify", &wrong));
    for answer in join_all(fifty).await {
        assert!(matches!(answer.status, 401 | 429), "{}", answer.text());
    }
    let sql = stage.host.sql().await;
    let tries = "select tries from auth.one_time where purpose = 'second_factor'";
    let tries: i32 = sql.query_one(tries, &[]).await.expect("it reads").get(0);
    assert_eq!(tries, 5);
    let right = json!({"flow_id": flow, "code": app.code()});
    let late = stage.post("/auth/mfa/verify", &right).await;
    assert!(matches!(late.status, 401 | 429), "{}", late.text());
    let again = stage.login(ADA, PASSWORD).await.expect_status(429);
    assert_eq!(again.code(), "TOO_MANY_TRIES");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_thief_of_the_password_who_uses_up_the_tries_does_not_keep_the_owner_out() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (app, _) = stage.enroll(&ada).await;
    let sql = stage.host.sql().await;
    let elsewhere = "update auth.sessions set ip = '198.51.100.7'";
    sql.batch_execute(elsewhere)
        .await
        .expect("the owner is somewhere else");
    let flow = stage.first_factor(ADA, PASSWORD).await;
    let wrong = json!({"flow_id": flow, "code": App::wrong_code()});
    for _ in 0..5 {
        let _ = stage
            .post("/auth/mfa/verify", &wrong)
            .await
            .expect_status(401);
    }
    let _ = stage.login(ADA, PASSWORD).await.expect_status(429);
    let here = "update auth.sessions set ip = '127.0.0.1'";
    sql.batch_execute(here).await.expect("the owner is here");
    let flow = stage.first_factor(ADA, PASSWORD).await;
    let right = json!({"flow_id": flow, "code": app.code()});
    let _ = stage
        .post("/auth/mfa/verify", &right)
        .await
        .expect_status(200);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn each_recovery_code_works_once_and_for_its_owner() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (mut app, ada) = stage.enroll(&ada).await;
    let bob = stage.person("bob@example.org").await;
    let (mut bobs, _) = stage.enroll(&bob).await;
    let code = app.recovery_code();
    let show = async |code: &str| {
        let flow = stage.first_factor(ADA, PASSWORD).await;
        let body = json!({"flow_id": flow, "recovery_code": code});
        stage.post("/auth/mfa/verify", &body).await
    };
    let _ = show(&bobs.recovery_code()).await.expect_status(401);
    let session = show(&code.to_lowercase().replace('-', " "))
        .await
        .expect_status(200);
    assert_eq!(Session(session.data()).claims()["acr"], "aal2");
    let _ = show(&code).await.expect_status(401);
    let left = stage
        .get_as(&ada, "/auth/mfa")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(left["recovery_codes_left"], 9);

    let renewed = stage
        .post_as(&ada, "/auth/mfa/recovery-codes", &json!({}))
        .await;
    let renewed = renewed.expect_status(200).data()["recovery_codes"].take();
    let _ = show(&app.recovery_code()).await.expect_status(401);
    let _ = show(renewed[0].as_str().expect("a code"))
        .await
        .expect_status(200);

    let parallel = json!({"password": PASSWORD, "recovery_code": renewed[1]});
    let many = (0..5).map(|_| stage.post_as(&ada, "/auth/reauthenticate", &parallel));
    let right = join_all(many)
        .await
        .iter()
        .filter(|answer| answer.status == 200)
        .count();
    assert_eq!(right, 1);
    stage.host.stop().await;
}

/// Everything that signs in or goes on, tried by somebody who has the first factor only.
#[tokio::test]
async fn no_way_in_leaves_the_second_factor_out() {
    let stage = Stage::set().await;
    let before = stage.person(ADA).await;
    let older = Session(stage.login(ADA, PASSWORD).await.expect_status(200).data());
    let (app, _) = stage.enroll(&before).await;
    let mailbox = json!({"email": ADA});

    let started = stage
        .post("/auth/otp/start", &mailbox)
        .await
        .expect_status(202)
        .data();
    let code = stage.mailed_code(ADA).await;
    let by_code = json!({"flow_id": started["flow_id"], "code": code});
    let _ = stage
        .post("/auth/magic-link/start", &mailbox)
        .await
        .expect_status(202);
    let by_link = json!({"token": stage.mailed_token(ADA, "magic-link/verify").await});
    let by_password = json!({"email": ADA, "password": PASSWORD});
    for (path, body, first) in [
        ("/auth/login", &by_password, "pwd"),
        ("/auth/otp/verify", &by_code, "otp"),
        ("/auth/magic-link/verify", &by_link, "otp"),
    ] {
        let answer = stage.post(path, body).await.expect_status(200).data();
        assert_eq!(answer["mfa_required"], true, "{path}");
        assert_eq!(answer.get("access_token"), None, "{path}");
        let body = json!({"flow_id": answer["flow_id"], "code": app.code()});
        let session = stage
            .post("/auth/mfa/verify", &body)
            .await
            .expect_status(200)
            .data();
        let claims = Session(session).claims();
        assert_eq!(
            (&claims["acr"], &claims["amr"][0]),
            (&json!("aal2"), &json!(first)),
            "{path}"
        );
        stage.next_step().await;
    }

    // A session from before goes on as what it was, and is fresh no more.
    let goes_on = stage
        .refresh(older.refresh())
        .await
        .expect_status(200)
        .data();
    let claims = Session(goes_on).claims();
    assert_eq!(claims["acr"], "aal1");
    assert_eq!(
        claims["https://hasura.io/jwt/claims"].get("x-hasura-auth-elevated"),
        None
    );

    // A new password by mail signs nobody in, and the next sign-in is asked as before.
    let _ = stage
        .post("/auth/password/forgot", &mailbox)
        .await
        .expect_status(202);
    let token = stage.mailed_token(ADA, "password/reset").await;
    let reset = json!({"token": token, "password": "zwetschgenknoedel"});
    let reset = stage
        .post("/auth/password/reset", &reset)
        .await
        .expect_status(200)
        .data();
    assert_eq!(reset.get("access_token"), None);
    stage.first_factor(ADA, "zwetschgenknoedel").await;
    stage.host.stop().await;
}

#[tokio::test]
async fn a_flow_is_good_nowhere_else() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (app, ada) = stage.enroll(&ada).await;
    let started = stage.post("/auth/otp/start", &json!({"email": ADA})).await;
    let mailed = started.expect_status(202).data()["flow_id"].take();
    let options = stage.post("/auth/passkeys/login/options", &json!({})).await;
    let passkey = options.expect_status(200).data()["flow_id"].take();
    let flow = stage.first_factor(ADA, PASSWORD).await;
    let text = flow.as_str().expect("an id");
    let code = app.code();
    let answers = [
        stage
            .post(
                "/auth/mfa/verify",
                &json!({"flow_id": mailed, "code": code}),
            )
            .await,
        stage
            .post(
                "/auth/mfa/verify",
                &json!({"flow_id": passkey, "code": code}),
            )
            .await,
        stage
            .post(
                "/auth/mfa/verify",
                &json!({"flow_id": ada.0["user"]["id"], "code": code}),
            )
            .await,
        stage
            .post("/auth/otp/verify", &json!({"flow_id": flow, "code": code}))
            .await,
        stage
            .post("/auth/otp/verify", &json!({"flow_id": flow, "code": ""}))
            .await,
        stage
            .post("/auth/magic-link/verify", &json!({"token": text}))
            .await,
        stage
            .post("/auth/verify-email", &json!({"token": text}))
            .await,
        stage
            .post(
                "/auth/password/reset",
                &json!({"token": text, "password": "zwetschgenknoedel"}),
            )
            .await,
        stage.refresh(text).await,
        stage
            .get_as(&Session(json!({"access_token": text})), "/auth/me")
            .send()
            .await,
    ];
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 401, "{at}: {}", answer.text());
    }
    let right = json!({"flow_id": flow, "code": code});
    let _ = stage
        .post("/auth/mfa/verify", &right)
        .await
        .expect_status(200);
    let again = stage
        .post("/auth/mfa/verify", &right)
        .await
        .expect_status(401);
    assert_eq!(again.code(), "CODE_INVALID");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_flow_ends_and_so_does_that_of_a_closed_account() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (app, ada) = stage.enroll(&ada).await;
    let sql = stage.host.sql().await;
    let change = async |sql_text: &str| sql.batch_execute(sql_text).await.expect("it changes");
    let flow = stage.first_factor(ADA, PASSWORD).await;
    let right = json!({"flow_id": flow, "code": app.code()});
    change("update auth.one_time set expires_at = now() where purpose = 'second_factor'").await;
    let _ = stage
        .post("/auth/mfa/verify", &right)
        .await
        .expect_status(401);

    let flow = stage.first_factor(ADA, PASSWORD).await;
    let changed = json!({"current_password": PASSWORD, "password": "zwetschgenknoedel"});
    let changed = stage.post_as(&ada, "/auth/password/change", &changed).await;
    let _ = changed.expect_status(200);
    let begun_with_the_old_one = json!({"flow_id": flow, "code": app.code()});
    let refused = stage
        .post("/auth/mfa/verify", &begun_with_the_old_one)
        .await;
    let _ = refused.expect_status(401);

    let flow = stage.first_factor(ADA, "zwetschgenknoedel").await;
    change("update public.users set status = 'suspended'").await;
    let right = json!({"flow_id": flow, "code": app.code()});
    let _ = stage
        .post("/auth/mfa/verify", &right)
        .await
        .expect_status(401);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn one_factor_is_shown_at_a_time() {
    let stage = Stage::set().await;
    let ada = stage.person(ADA).await;
    let (mut app, _) = stage.enroll(&ada).await;
    let flow = stage.first_factor(ADA, PASSWORD).await;
    let check = async |body: Value, expected: (u16, &str)| {
        let answer = stage.post("/auth/mfa/verify", &body).await;
        assert_eq!((answer.status, &*answer.code()), expected);
    };
    check(json!({"flow_id": flow}), (403, "SECOND_FACTOR_REQUIRED")).await;
    let both = json!({"flow_id": flow, "code": app.code(), "recovery_code": app.recovery_code()});
    check(both, (422, "SECOND_FACTOR_AMBIGUOUS")).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn apps_written_for_nhost_and_scripts_do_not_get_around_the_second_factor() {
    let stage = Stage::set().await;
    let before = stage.person(ADA).await;
    let made = stage
        .post_as(&before, "/auth/tokens", &json!({"name": "backup"}))
        .await
        .expect_status(201)
        .data();
    let generated = stage.get_as(&before, "/mfa/totp/generate").send().await;
    let generated = generated.expect_status(200).json();
    let image = generated["imageUrl"].as_str().expect("an image");
    assert!(image.starts_with("data:image/svg+xml;base64,"));
    let app = App::reading(&json!({"secret": generated["totpSecret"]}));
    let on = json!({"code": app.code(), "activeMfaType": "totp"});
    let _ = stage
        .post_as(&before, "/user/mfa", &on)
        .await
        .expect_status(200);
    stage.next_step().await;

    let first = stage
        .post(
            "/signin/email-password",
            &json!({"email": ADA, "password": PASSWORD}),
        )
        .await
        .expect_status(200)
        .json();
    assert_eq!(first["session"], json!(null));
    let ticket = &first["mfa"]["ticket"];
    for ticket in [&json!("mfaTotp:x"), &json!("x"), ticket] {
        let wrong = json!({"ticket": ticket, "otp": "000000x"});
        let _ = stage
            .post("/signin/mfa/totp", &wrong)
            .await
            .expect_status(401);
    }
    let right = json!({"ticket": ticket, "otp": app.code()});
    let second = stage
        .post("/signin/mfa/totp", &right)
        .await
        .expect_status(200)
        .json();
    let access = second["session"]["accessToken"].as_str().expect("a token");
    assert_eq!(crate::stage::claims(access)["acr"], "aal2");

    let script = stage
        .post("/auth/tokens/exchange", &json!({"token": made["token"]}))
        .await
        .expect_status(200)
        .data();
    let claims = Session(script).claims();
    assert_eq!(claims["acr"], "aal1");
    let hasura = &claims["https://hasura.io/jwt/claims"];
    assert_eq!(hasura.get("x-hasura-auth-elevated"), None);
    stage.host.stop().await;
}
