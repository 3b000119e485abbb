//! Every sign of a password counts, as it was typed; what is tried first is no password anywhere.

use serde_json::json;

use crate::stage::{PASSWORD, Session, Stage};

/// Nothing that is asked here is a guess.
const UNTHROTTLED: &str = "[plugins.auth.config]\nsign_up = \"open\"\nanonymous_sign_in = true\n\
    tries_per_address = 100000\ntries_per_account = 100000";

/// An account with this password signs in with what is `same` to it and with nothing that is `other`.
async fn check(stage: &Stage, password: &str, same: &[&str], other: &[&str]) {
    let email = format!("{}@example.org", uuid::Uuid::now_v7());
    let body = json!({"email": email, "password": password});
    let registered = stage.post("/auth/register", &body).await;
    assert_eq!(
        registered.status,
        201,
        "{password:?}: {}",
        registered.text()
    );
    for same in same.iter().chain(&[password]) {
        let answer = stage.login(&email, same).await;
        assert_eq!(answer.status, 200, "{same:?} is {password:?}");
    }
    for other in other {
        let answer = stage.login(&email, other).await;
        assert_eq!(answer.status, 401, "{other:?} is not {password:?}");
    }
}

#[tokio::test]
async fn a_password_is_exactly_what_was_typed() {
    let stage = Stage::with(UNTHROTTLED).await;
    // Bytes beyond the 72 that bcrypt sees, and the longest one there is.
    let long = |end: &str| format!("{}{end}", "x7".repeat(36));
    check(&stage, &long("a"), &[], &[&long(""), &long("b")]).await;
    let longest = |end: &str| format!("{}{end}", "ab".repeat(63));
    check(
        &stage,
        &longest("yz"),
        &[],
        &[&longest("y"), &longest("yy")],
    )
    .await;
    let signs = "\u{1f511}".repeat(127);
    let (key, lock) = (format!("{signs}\u{1f511}x"), format!("{signs}\u{1f512}"));
    check(&stage, &lock, &[], &[&key[..key.len() - 1], &signs]).await;
    // Nothing ends at a NUL.
    check(
        &stage,
        "nul\0is\0fine",
        &[],
        &["nul", "nul\0is", "nul\0is\0finf", "nulisfine"],
    )
    .await;
    // Spaces and capitals are signs like others.
    check(
        &stage,
        " Knödel und Mus ",
        &[],
        &["Knödel und Mus", " knödel und Mus ", " Knodel und Mus "],
    )
    .await;
    check(&stage, "пароль для дома", &[], &["пароль для домa"]).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn two_spellings_of_a_sign_are_one_password_and_signs_that_look_alike_are_not() {
    let stage = Stage::with(UNTHROTTLED).await;
    // One keyboard sends a letter with its dots as one sign, another as two (NFC and NFD).
    check(
        &stage,
        "kn\u{f6}del-und-mus",
        &["kno\u{308}del-und-mus"],
        &["knodel-und-mus"],
    )
    .await;
    check(
        &stage,
        "kno\u{308}del-und-mus",
        &["kn\u{f6}del-und-mus"],
        &[],
    )
    .await;
    // Not compatibility forms: they are other signs, which somebody has typed on purpose.
    check(&stage, "\u{fb01}nde-\u{2460}-wort", &[], &["finde-1-wort"]).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn no_rule_asks_for_signs_and_too_long_is_told() {
    let stage = Stage::with(UNTHROTTLED).await;
    for password in [
        "zwetschgenknoedel",
        "mkvtqzrw",
        "70318542967",
        "????!!!!????!x",
    ] {
        check(&stage, password, &[], &[]).await;
    }
    for (password, code) in [
        ("a b".repeat(43), "PASSWORD_TOO_LONG"),
        ("\u{1f511}".repeat(129), "PASSWORD_TOO_LONG"),
        ("\u{1f511}".repeat(7), "PASSWORD_TOO_SHORT"),
        ("o\u{308}".repeat(7), "PASSWORD_TOO_SHORT"),
        ("\u{1f511}".repeat(8), "PASSWORD_COMMON"),
    ] {
        let body = json!({"email": "eve@example.org", "password": password});
        let refused = stage.post("/auth/register", &body).await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (422, code),
            "{password:?}"
        );
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_tried_first_is_refused_wherever_a_password_is_set() {
    let stage = Stage::with(UNTHROTTLED).await;
    let ada = stage.person("ada@example.org").await;
    let anonymous = stage.post("/auth/anonymous", &json!({})).await;
    let anonymous = Session(anonymous.expect_status(201).data());
    let forgot = json!({"email": "ada@example.org"});
    let _ = stage
        .post("/auth/password/forgot", &forgot)
        .await
        .expect_status(202);
    let token = stage
        .mailed_token("ada@example.org", "password/reset")
        .await;
    for common in [
        "password",
        "Iloveyou1",
        "QWERTYUIOP",
        "1q2w3e4r5t",
        "trustno1",
    ] {
        for (path, by, body) in [
            (
                "/auth/register",
                None,
                json!({"email": "eve@example.org", "password": common}),
            ),
            (
                "/auth/password/reset",
                None,
                json!({"token": token, "password": common}),
            ),
            (
                "/auth/password/change",
                Some(&ada),
                json!({"current_password": PASSWORD, "password": common}),
            ),
            (
                "/auth/anonymous/upgrade",
                Some(&anonymous),
                json!({"email": "eve@example.org", "password": common}),
            ),
        ] {
            let answer = match by {
                Some(session) => stage.post_as(session, path, &body).await,
                None => stage.post(path, &body).await,
            };
            assert_eq!(
                (answer.status, &*answer.code()),
                (422, "PASSWORD_COMMON"),
                "{path} {common}"
            );
        }
        let made = stage.host.post("/auth/admin/users").operator();
        let made = made.json(&json!({"email": "eve@example.org", "password": common}));
        assert_eq!(made.send().await.code(), "PASSWORD_COMMON", "{common}");
        for (path, body) in [
            (
                "/signup/email-password",
                json!({"email": "eve@example.org", "password": common}),
            ),
            (
                "/user/password",
                json!({"newPassword": common, "ticket": format!("passwordReset:{token}")}),
            ),
        ] {
            let answer = stage.post(path, &body).await;
            assert!(
                (400..500).contains(&answer.status),
                "{path} {common}: {}",
                answer.text()
            );
        }
    }
    // None of it has cost the link.
    let reset = json!({"token": token, "password": "zwetschgenknoedel"});
    let _ = stage
        .post("/auth/password/reset", &reset)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn advice_on_a_password_is_given_before_it_is_set_and_refuses_nothing() {
    let stage = Stage::with(UNTHROTTLED).await;
    let advised = async |password: &str| {
        let body =
            json!({"password": password, "email": "lovelace@example.org", "display_name": "Ada"});
        let advised = stage.post("/auth/password/check", &body).await;
        assert_eq!(advised.headers["cache-control"], "no-store");
        advised.expect_status(200).data()
    };
    for (password, code, most, reason) in [
        ("elephant1987", None, 2, "date"),
        ("tigerelephant", None, 2, "words"),
        ("lovelace-2031", None, 2, "about_you"),
        ("fghjklasdf", None, 2, "keys"),
        ("bcdxbcdxbcdx", None, 2, "repeated"),
        ("cdefghijklmn", Some("PASSWORD_COMMON"), 0, "sequence"),
        ("xq7", Some("PASSWORD_TOO_SHORT"), 1, "short"),
    ] {
        let told = advised(password).await;
        assert_eq!(told["is_accepted"], code.is_none(), "{password}: {told}");
        assert_eq!(told["code"], json!(code), "{password}");
        let told_score = told["score"].as_u64().expect("a number");
        assert!(told_score <= most, "{password}: {told}");
        let reasons = told["reasons"].as_array().expect("a list");
        assert!(reasons.contains(&json!(reason)), "{password}: {told}");
        assert_ne!(told["suggestions"], json!([]), "{password}");
    }
    for password in [
        "zwetschgenknoedel",
        "correct horse battery staple",
        "mkvtqzrwpd7h",
    ] {
        let told = advised(password).await;
        let good = json!({"is_accepted": true, "code": null, "score": told["score"], "reasons": [], "suggestions": []});
        assert_eq!(told, good, "{password}");
    }
    // What is only weak can be set all the same.
    check(&stage, "elephant1987", &[], &["elephant1988"]).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn who_asks_about_many_passwords_has_to_wait() {
    let stage = Stage::with("[plugins.auth.config]\ntries_per_address = 3").await;
    let body = json!({"password": "elephant1987"});
    for expected in [200, 200, 200, 429] {
        let answer = stage.post("/auth/password/check", &body).await;
        assert_eq!(answer.status, expected);
    }
    // That costs nobody a sign-in.
    let login = stage.login("nobody@example.org", "a wrong password").await;
    assert_eq!(login.status, 401);
    stage.host.stop().await;
}
