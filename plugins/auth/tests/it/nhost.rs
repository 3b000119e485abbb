//! hasura-auth's surface, byte by byte where its clients look: what they do themselves is tried in `clients`.

mod hooks;
mod passkeys;

use nself_plugin_testkit::Answer;
use serde_json::{Value, json};

use crate::stage::{PASSWORD, Stage};

const APP: &str = "https://app.example/welcome?from=mail";
const OTHER_APP: &str = "https://other.example/";

fn with_apps(more: &str) -> String {
    format!("[plugins.auth.config]\nredirect_urls = [\"{APP}\", \"{OTHER_APP}\"]\n{more}")
}

fn credentials(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD})
}

/// What hasura-auth says when it refuses.
#[track_caller]
fn check_refused(answer: &Answer, status: u16, word: &str) {
    let body = answer.json();
    let got = (answer.status, &body["status"], &body["error"]);
    assert_eq!(got, (status, &json!(status), &json!(word)), "{body}");
    assert!(body["message"].is_string());
}

/// The newest link that was mailed, without the host.
async fn mailed_link(stage: &Stage, email: &str, kind: &str) -> String {
    let mail = stage.mail(email, &format!("type={kind}&")).await;
    let (_, rest) = mail
        .split_once("http://localhost:3000/verify?")
        .expect("a link");
    let end = rest.find(|c: char| c.is_whitespace() || "\"<>".contains(c));
    format!("/verify?{}", &rest[..end.unwrap_or(rest.len())])
}

/// Follows a link and returns where it leads.
async fn follow(stage: &Stage, link: &str) -> String {
    let answer = stage.host.get(link).send().await.expect_status(302);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["referrer-policy"], "no-referrer");
    let location = answer.headers["location"].to_str();
    location.expect("an address is text").to_owned()
}

/// What is said in an address after the app's own part.
fn said<'a>(location: &'a str, app: &str, name: &str) -> &'a str {
    let query = location.strip_prefix(app).expect("it leads to the app");
    let mut pairs = query.trim_start_matches(['?', '&']).split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{location} says {name}"))
}

async fn refresh(stage: &Stage, location: &str, app: &str) -> Value {
    let token = said(location, app, "refreshToken");
    let answer = stage.post("/token", &json!({"refreshToken": token})).await;
    answer.expect_status(200).json()
}

#[tokio::test]
async fn signing_up_waits_for_the_mail_and_tells_nobody_of_a_taken_address() {
    let stage = Stage::with(&with_apps("")).await;
    let path = "/signup/email-password";
    let free = stage.post(path, &credentials("ada@example.org")).await;
    assert_eq!(free.headers["cache-control"], "no-store");
    assert_eq!(free.json(), json!({"session": null, "mfa": null}));
    let link = mailed_link(&stage, "ada@example.org", "emailVerify").await;
    let location = follow(&stage, &link).await;
    assert_eq!(said(&location, APP, "type"), "emailVerify");
    let session = refresh(&stage, &location, APP).await;
    assert_eq!(session["user"]["emailVerified"], true);
    let again = follow(&stage, &link).await;
    assert_eq!(said(&again, APP, "error"), "invalid-ticket");
    let taken = stage.post(path, &credentials("ada@example.org")).await;
    assert_eq!((taken.status, taken.text()), (free.status, free.text()));
    let signed_in = stage
        .post("/signin/email-password", &credentials("ada@example.org"))
        .await;
    let signed_in = signed_in.expect_status(200).json();
    assert_eq!(signed_in["session"]["user"]["id"], session["user"]["id"]);
    assert_eq!(signed_in["mfa"], json!(null));
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_its_words() {
    let stage = Stage::open().await;
    for body in ["{", "[]", "null", "{\"email\":1}", ""] {
        let request = stage.host.post("/signin/email-password");
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_owned()).send().await;
        check_refused(&answer, 400, "invalid-request");
    }
    let form = stage.host.post("/signin/email-password");
    let form = form
        .header("content-type", "text/plain")
        .body("{}")
        .send()
        .await;
    check_refused(&form, 415, "invalid-request");
    let metadata = json!({"a": "x".repeat(9_000)});
    let large = json!({"email": "ada@example.org", "password": PASSWORD, "options": {"metadata": metadata}});
    let large = stage.post("/signup/email-password", &large).await;
    check_refused(&large, 400, "invalid-request");
    let nul = json!({"email": "ada@example.org", "password": PASSWORD, "options": {"metadata": {"a": "\0"}}});
    let nul = stage.post("/signup/email-password", &nul).await;
    check_refused(&nul, 400, "invalid-request");
    let nobody = stage
        .post("/user/password", &json!({"newPassword": PASSWORD}))
        .await;
    check_refused(&nobody, 401, "invalid-request");
    let nobody = stage.post("/signout", &json!({"all": true})).await;
    check_refused(&nobody, 401, "invalid-request");
    assert_eq!(stage.host.get("/user").send().await.status, 401);
    stage.host.stop().await;
}

#[tokio::test]
async fn tries_are_counted_here_as_there() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let wrong = json!({"email": "eve@example.org", "password": "guess number one"});
    let mut last = stage.post("/signin/email-password", &wrong).await;
    for _ in 0..15 {
        last = stage.post("/signin/email-password", &wrong).await;
    }
    check_refused(&last, 429, "too-many-requests");
    assert!(last.headers.contains_key("retry-after"));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_link_leads_to_an_address_of_the_list_and_nowhere_else() {
    let stage = Stage::with(&with_apps("")).await;
    stage.person("ada@example.org").await;
    let ask = async |redirect_to: &str| {
        let body = json!({"email": "ada@example.org", "options": {"redirectTo": redirect_to}});
        stage.post("/signin/passwordless/email", &body).await
    };
    for elsewhere in [
        "https://evil.example/",
        "//evil.example",
        "https://app.example/welcome",
        "https://app.example/welcome?from=mail#x",
        "https://app.example/welcome?from=mail&next=https://evil.example",
        "https://app.example.evil.example/welcome?from=mail",
        "https://app.example@evil.example/welcome?from=mail",
        "HTTPS://app.example/welcome?from=mail",
        "https://app.example:8443/welcome?from=mail",
        "https:app.example/welcome?from=mail",
        "javascript:alert(1)",
        "https://other.example/%0d%0aset-cookie:a=b",
        "https://other.example/\r\nset-cookie: a=b",
        "",
    ] {
        check_refused(&ask(elsewhere).await, 400, "redirectTo-not-allowed");
        let query = elsewhere.replace('&', "%26").replace('#', "%23");
        let query = query
            .replace('\r', "%0d")
            .replace('\n', "%0a")
            .replace(' ', "+");
        let link = format!("/verify?ticket=passwordlessEmail:x&redirectTo={query}");
        let location = follow(&stage, &link).await;
        assert_eq!(said(&location, APP, "error"), "redirectTo-not-allowed");
    }
    assert_eq!(ask(OTHER_APP).await.expect_status(200).json(), "OK");
    let link = mailed_link(&stage, "ada@example.org", "signinPasswordless").await;
    let location = follow(&stage, &link).await;
    let session = refresh(&stage, &location, OTHER_APP).await;
    assert_eq!(session["user"]["email"], "ada@example.org");
    let unknown = follow(&stage, "/verify?ticket=otp:x").await;
    assert_eq!(said(&unknown, APP, "error"), "invalid-ticket");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_link_for_a_new_address_makes_an_account_and_none_where_sign_up_is_closed() {
    let stage = Stage::with(&with_apps("")).await;
    let mailbox = json!({"email": "ada@example.org", "options": {"displayName": "Ada", "metadata": {"a": 1}}});
    let asked = stage.post("/signin/passwordless/email", &mailbox).await;
    assert_eq!(asked.expect_status(200).json(), "OK");
    let link = mailed_link(&stage, "ada@example.org", "emailVerify").await;
    let session = refresh(&stage, &follow(&stage, &link).await, APP).await;
    let user = &session["user"];
    assert_eq!(
        (&user["displayName"], &user["metadata"]),
        (&json!("Ada"), &json!({"a": 1}))
    );
    stage.host.stop().await;
    let stage = Stage::with(&with_apps("sign_up = \"closed\"")).await;
    let asked = stage.post("/signin/passwordless/email", &mailbox).await;
    assert_eq!(
        asked.expect_status(200).json(),
        "OK",
        "the answer tells nothing"
    );
    let signed_up = stage
        .post("/signup/email-password", &credentials("bob@example.org"))
        .await;
    check_refused(&signed_up, 403, "signup-disabled");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_signs_in_at_its_own_address_five_tries_long() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    stage.person("eve@example.org").await;
    let start = async |email: &str| {
        let answer = stage
            .post("/signin/otp/email", &json!({"email": email}))
            .await;
        assert_eq!(answer.expect_status(200).json(), "OK");
    };
    let verify = async |email: &str, otp: &str| {
        let body = json!({"email": email, "otp": otp});
        stage.post("/signin/otp/email/verify", &body).await
    };
    start("nobody@example.org").await;
    start("ada@example.org").await;
    let code = stage.mailed_code("ada@example.org").await;
    start("eve@example.org").await;
    check_refused(
        &verify("eve@example.org", &code).await,
        401,
        "invalid-ticket",
    );
    check_refused(
        &verify("nobody@example.org", &code).await,
        401,
        "invalid-ticket",
    );
    let session = verify("ada@example.org", &code)
        .await
        .expect_status(200)
        .json();
    assert_eq!(session["session"]["user"]["email"], "ada@example.org");
    check_refused(
        &verify("ada@example.org", &code).await,
        401,
        "invalid-ticket",
    );
    let eves = stage.mailed_code("eve@example.org").await;
    let five = (0..5).map(|_| verify("eve@example.org", "00000000x"));
    futures_util::future::join_all(five).await;
    check_refused(
        &verify("eve@example.org", &eves).await,
        401,
        "invalid-ticket",
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_reset_works_by_the_link_and_by_its_ticket() {
    let stage = Stage::with(&with_apps("")).await;
    let session = stage.person("ada@example.org").await;
    let ask = async || {
        let body = json!({"email": "ada@example.org"});
        let asked = stage.post("/user/password/reset", &body).await;
        assert_eq!(asked.expect_status(200).json(), "OK");
    };
    let sign_in = async |password: &str| {
        let body = json!({"email": "ada@example.org", "password": password});
        stage.post("/signin/email-password", &body).await
    };
    ask().await;
    let link = mailed_link(&stage, "ada@example.org", "passwordReset").await;
    // As the client does that sends the ticket itself.
    let (_, ticket) = link.split_once("ticket=").expect("a link has a ticket");
    let ticket = ticket
        .split('&')
        .next()
        .unwrap_or_default()
        .replace("%3A", ":");
    let body = json!({"newPassword": "another password 7", "ticket": ticket});
    let changed = stage.post("/user/password", &body).await;
    assert_eq!(changed.expect_status(200).json(), "OK");
    check_refused(
        &stage.post("/user/password", &body).await,
        401,
        "invalid-ticket",
    );
    let _ = sign_in("another password 7").await.expect_status(200);
    let _ = stage.refresh(session.refresh()).await.expect_status(401);
    let other = json!({"newPassword": PASSWORD, "ticket": "verifyEmail:x"});
    check_refused(
        &stage.post("/user/password", &other).await,
        401,
        "invalid-ticket",
    );
    stage.host.stop().await;
    // As the client does that follows the link, and is signed in.
    let stage = Stage::with(&with_apps("")).await;
    stage.person("ada@example.org").await;
    let body = json!({"email": "ada@example.org"});
    let _ = stage
        .post("/user/password/reset", &body)
        .await
        .expect_status(200);
    let link = mailed_link(&stage, "ada@example.org", "passwordReset").await;
    let session = refresh(&stage, &follow(&stage, &link).await, APP).await;
    let access = session["accessToken"].as_str().expect("a token");
    let body = json!({"newPassword": "a third password"});
    let request = stage.host.post("/user/password").token(access).json(&body);
    assert_eq!(request.send().await.expect_status(200).json(), "OK");
    let _ = stage
        .login("ada@example.org", "a third password")
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn another_address_counts_when_its_link_is_used_and_signs_nobody_in() {
    let stage = Stage::with(&with_apps("")).await;
    let session = stage.person("ada@example.org").await;
    let body = json!({"newEmail": "ada@example.com"});
    let asked = stage.post_as(&session, "/user/email/change", &body).await;
    assert_eq!(asked.expect_status(200).json(), "OK");
    let link = mailed_link(&stage, "ada@example.com", "emailConfirmChange").await;
    assert_eq!(
        follow(&stage, &link).await,
        format!("{APP}&type=emailConfirmChange")
    );
    let _ = stage
        .login("ada@example.com", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_anonymous_user_becomes_one_with_an_address() {
    let stage = Stage::with(&with_apps("anonymous_sign_in = true")).await;
    let begun = stage.host.post("/signin/anonymous").send().await;
    let session = begun.expect_status(200).json()["session"].take();
    let user = &session["user"];
    assert_eq!(
        (&user["isAnonymous"], &user["email"]),
        (&json!(true), &json!(null))
    );
    let access = session["accessToken"].as_str().expect("a token");
    let deanonymize = async |body: Value| {
        let request = stage.host.post("/user/deanonymize").token(access);
        request.json(&body).send().await
    };
    let half = json!({"signInMethod": "email-password", "email": "ada@example.org"});
    check_refused(&deanonymize(half).await, 400, "invalid-request");
    let whole =
        json!({"signInMethod": "email-password", "email": "ada@example.org", "password": PASSWORD});
    assert_eq!(deanonymize(whole).await.expect_status(200).json(), "OK");
    let link = mailed_link(&stage, "ada@example.org", "emailVerify").await;
    let proved = refresh(&stage, &follow(&stage, &link).await, APP).await;
    assert_eq!(proved["user"]["id"], user["id"]);
    assert_eq!(proved["user"]["isAnonymous"], false);
    let access = proved["accessToken"].as_str().expect("a token");
    let again = json!({"signInMethod": "passwordless", "email": "eve@example.org"});
    let again = stage
        .host
        .post("/user/deanonymize")
        .token(access)
        .json(&again)
        .send()
        .await;
    check_refused(&again, 400, "user-not-anonymous");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_link_proves_an_address_again_and_the_answer_tells_nothing() {
    let stage = Stage::with(&with_apps("sign_up = \"open\"")).await;
    stage.person("ada@example.org").await;
    let path = "/user/email/send-verification-email";
    for email in ["ada@example.org", "nobody@example.org"] {
        let asked = stage.post(path, &json!({"email": email})).await;
        assert_eq!(asked.expect_status(200).json(), "OK");
    }
    let link = mailed_link(&stage, "ada@example.org", "emailVerify").await;
    let session = refresh(&stage, &follow(&stage, &link).await, APP).await;
    assert_eq!(session["user"]["emailVerified"], true);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_for_a_new_address_makes_an_account_and_none_where_sign_up_is_closed() {
    let stage = Stage::set().await;
    let options = json!({"displayName": "Ada", "locale": "de", "metadata": {"a": 1}});
    for (path, email) in [
        ("/signin/otp/email", "ada@example.org"),
        ("/signup/otp/email", "bob@example.org"),
    ] {
        let asked = stage
            .post(path, &json!({"email": email, "options": options}))
            .await;
        assert_eq!(asked.expect_status(200).json(), "OK");
        let code = stage.mailed_code(email).await;
        let body = json!({"email": email, "otp": code});
        let session = stage.post("/signin/otp/email/verify", &body).await;
        let user = session.expect_status(200).json()["session"]["user"].take();
        assert_eq!(
            (&user["email"], &user["displayName"], &user["locale"]),
            (&json!(email), &json!("Ada"), &json!("de"))
        );
        assert_eq!(
            (&user["metadata"], &user["emailVerified"]),
            (&json!({"a": 1}), &json!(true))
        );
        let again = stage.post("/signin/otp/email/verify", &body).await;
        check_refused(&again, 401, "invalid-ticket");
    }
    // What is wrong with a request is told of every address, also of one whose account has begun long ago.
    for path in ["/signin/otp/email", "/signin/passwordless/email"] {
        for email in ["ada@example.org", "nobody@example.org"] {
            let ask = async |options: Value| {
                let body = json!({"email": email, "options": options});
                stage.post(path, &body).await
            };
            let roles = ask(json!({"allowedRoles": ["admin"]})).await;
            check_refused(&roles, 400, "role-not-allowed");
            let locale = ask(json!({"locale": "no language"})).await;
            check_refused(&locale, 400, "locale-not-allowed");
        }
    }
    stage.host.stop().await;
    let stage = Stage::with("[plugins.auth.config]\nsign_up = \"closed\"").await;
    let body = json!({"email": "ada@example.org"});
    let asked = stage.post("/signup/otp/email", &body).await;
    assert_eq!(asked.expect_status(200).json(), "OK");
    let sql = stage.host.sql().await;
    let waiting = "select count(*) from auth.one_time where payload <> '{}'";
    let waiting: i64 = sql.query_one(waiting, &[]).await.expect("it reads").get(0);
    assert_eq!(waiting, 0, "no account waits for its address");
    drop(sql);
    stage.host.stop().await;
}

/// The app's own secret, and its S256 (RFC 7636, appendix B).
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[tokio::test]
async fn an_app_that_takes_no_token_from_an_address_takes_a_code_with_its_secret_once() {
    let stage = Stage::with(&with_apps("")).await;
    let email = "ada@example.org";
    let arrive = async |kind: &str, path: &str| {
        let body = json!({"email": email, "codeChallenge": CHALLENGE});
        assert_eq!(
            stage.post(path, &body).await.expect_status(200).json(),
            "OK"
        );
        let location = follow(&stage, &mailed_link(&stage, email, kind).await).await;
        assert!(!location.contains("refreshToken"), "{location}");
        said(&location, APP, "code").to_owned()
    };
    let exchange = async |code: &str, verifier: &str| {
        let body = json!({"code": code, "codeVerifier": verifier});
        stage.post("/token/exchange", &body).await
    };
    let code = arrive("emailVerify", "/signup/passwordless/email").await;
    let session = exchange(&code, VERIFIER).await.expect_status(200).json();
    assert_eq!(session["session"]["user"]["email"], email);
    let token = &session["session"]["refreshToken"];
    let refreshed = stage.post("/token", &json!({"refreshToken": token})).await;
    let _ = refreshed.expect_status(200);
    check_refused(&exchange(&code, VERIFIER).await, 401, "invalid-ticket");
    // Whoever has stolen the code has used it up.
    let code = arrive("passwordReset", "/user/password/reset").await;
    let stolen = exchange(&code, &VERIFIER.replace('d', "e")).await;
    check_refused(&stolen, 401, "invalid-ticket");
    check_refused(&exchange(&code, VERIFIER).await, 401, "invalid-ticket");
    for challenge in ["", "short", &"a".repeat(44)] {
        let body = json!({"email": email, "codeChallenge": challenge});
        let refused = stage.post("/user/password/reset", &body).await;
        check_refused(&refused, 400, "invalid-request");
    }
    stage.host.stop().await;
}
