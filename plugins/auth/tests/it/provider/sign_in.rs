//! The way to another place and back.

use serde_json::json;

use super::{
    CHALLENGE, TRUSTED, VERIFIER, arrive,
    browser::{Browser, HOME, changed, parameter},
    callback_of, id_of,
    place::Place,
    stage, start_of, with_place,
};

#[tokio::test]
async fn who_signs_in_elsewhere_has_an_account_and_the_same_one_next_time() {
    let (stage, place) = with_place(&[], &format!("label = \"The Place\"\n{TRUSTED}")).await;
    let shown = stage.host.get("/auth/providers").send().await;
    let shown = shown.expect_status(200).data();
    assert_eq!(
        (&shown[0]["id"], &shown[0]["label"]),
        (&json!("place"), &json!("The Place"))
    );

    let mut browser = Browser::of(&stage.host, "alice");
    let page = browser.open(&start_of("place")).await;
    assert_eq!(page.status, 303, "{}", page.text);
    assert_eq!(page.headers["cache-control"], "no-store");
    let cookie = page.headers["set-cookie"].to_str().expect("a cookie");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let asked = page.leads_to();
    assert!(asked.starts_with(&place.issuer), "{asked}");
    assert_eq!(
        parameter(asked, "code_challenge_method").as_deref(),
        Some("S256")
    );
    assert_ne!(
        parameter(asked, "code_challenge").as_deref(),
        Some(CHALLENGE)
    );
    assert_ne!(parameter(asked, "state"), parameter(asked, "nonce"));

    let arrived = browser.follow_to(asked, &format!("{HOME}/signed-in")).await;
    assert!(
        !arrived.contains("token"),
        "no token stands in an address: {arrived}"
    );
    let answer = stage.exchange(&arrived).await.expect_status(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let session = super::Session(answer.data());
    assert_eq!(session.0["user"]["email"], "alice@example.org");
    assert_eq!(session.0["user"]["is_email_verified"], true);
    assert_eq!(session.0["user"]["display_name"], "alice of elsewhere");
    assert_eq!(session.0["user"]["is_anonymous"], false);
    assert_eq!(session.claims()["amr"], json!(["fed"]));
    let replayed = stage.exchange(&arrived).await;
    assert_eq!((replayed.status, &*replayed.code()), (401, "CODE_INVALID"));

    let again = stage.signed_in_with("place", "alice").await;
    assert_eq!(id_of(&again), id_of(&session));
    assert_eq!(stage.identities(&again).await.len(), 1);
    let other = stage.signed_in_with("place", "bob").await;
    assert_ne!(id_of(&other), id_of(&session));
    stage.host.stop().await;
}

#[tokio::test]
async fn of_many_first_sign_ins_at_once_there_is_one_account() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let many = (0..6).map(|_| stage.signed_in_with("place", "alice"));
    let sessions = futures_util::future::join_all(many).await;
    let first = id_of(&sessions[0]);
    assert!(sessions.iter().all(|session| id_of(session) == first));
    stage.host.stop().await;
}

#[tokio::test]
async fn an_answer_counts_once_in_the_browser_that_asked_and_for_the_place_that_was_asked() {
    let (place, other) = (Place::open().await, Place::open().await);
    let providers = [place.configured("place", ""), other.configured("other", "")];
    let stage = stage(&[super::REACH_LOOPBACK, &providers[0], &providers[1]]).await;
    let mut browser = Browser::of(&stage.host, "alice");
    let refused = |page: super::browser::Page| {
        assert_eq!((page.status, &*page.code()), (400, "OAUTH_FLOW_INVALID"));
        assert_eq!(page.leads_to, None);
    };

    let answer = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    let mut stranger = Browser::of(&stage.host, "alice");
    refused(stranger.open(&answer).await);
    // Whoever stole it has used it up.
    refused(browser.open(&answer).await);

    let answer = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    let done = browser.open(&answer).await;
    assert!(parameter(done.leads_to(), "code").is_some());
    refused(browser.open(&answer).await);

    let answer = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    refused(browser.open(&answer.replace("/place/", "/other/")).await);

    let answer = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    let state = parameter(&answer, "state").expect("a state");
    let forged = format!("{}A", &state[..state.len() - 1]);
    let forged = if forged == state {
        state.replace('A', "B")
    } else {
        forged
    };
    for wrong in [None, Some(""), Some("x"), Some(&*forged)] {
        refused(browser.open(&changed(&answer, "state", wrong)).await);
    }

    let answer = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.one_time set expires_at = now() - interval '1 second'")
        .await
        .expect("time passes");
    refused(browser.open(&answer).await);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn what_is_changed_on_the_way_signs_nobody_in() {
    let (place, other) = (Place::open().await, Place::open().await);
    let providers = [
        place.configured("place", TRUSTED),
        other.configured("other", TRUSTED),
    ];
    let stage = stage(&[super::REACH_LOOPBACK, &providers[0], &providers[1]]).await;
    let mut browser = Browser::of(&stage.host, "alice");
    let failed = |arrived: &str| {
        assert_eq!(
            parameter(arrived, "error").as_deref(),
            Some("PROVIDER_FAILED"),
            "{arrived}"
        );
        assert_eq!(parameter(arrived, "state").as_deref(), Some("of the app"));
        assert_eq!(parameter(arrived, "code"), None);
    };
    // On the way there: the nonce of another request, the challenge of a secret that is not ours.
    for (name, value) in [("nonce", "another"), ("code_challenge", CHALLENGE)] {
        let asked = browser.open(&start_of("place")).await;
        let asked = changed(asked.leads_to(), name, Some(value));
        failed(
            &browser
                .follow_to(&asked, &format!("{HOME}/signed-in"))
                .await,
        );
    }
    // On the way back.
    let elsewhere = other.issuer.replace(':', "%3A").replace('/', "%2F");
    for (name, value) in [
        ("iss", None),
        ("iss", Some(&*elsewhere)),
        ("code", None),
        ("code", Some("another")),
    ] {
        let answer = browser
            .follow_to(&start_of("place"), &callback_of("place"))
            .await;
        failed(
            browser
                .open(&changed(&answer, name, value))
                .await
                .leads_to(),
        );
    }
    // The code of one place, brought to the other within a flow of the other.
    let stolen = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    for iss in [&place.issuer, &other.issuer] {
        let answer = browser
            .follow_to(&start_of("other"), &callback_of("other"))
            .await;
        let mixed = changed(&answer, "code", parameter(&stolen, "code").as_deref());
        let iss = iss.replace(':', "%3A").replace('/', "%2F");
        failed(
            browser
                .open(&changed(&mixed, "iss", Some(&iss)))
                .await
                .leads_to(),
        );
    }
    let sql = stage.host.sql().await;
    let people = sql
        .query_one("select count(*) from public.users", &[])
        .await;
    assert_eq!(people.expect("a count").get::<_, i64>(0), 0);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_no_is_told_in_our_words() {
    let (stage, _place) = with_place(&[], "").await;
    assert_eq!(stage.refused_with("place", "").await, "PROVIDER_DENIED");
    let mut browser = Browser::of(&stage.host, "alice");
    let answer = browser
        .follow_to(&start_of("place"), &callback_of("place"))
        .await;
    let answer = changed(&answer, "code", None);
    let answer = format!("{answer}&error=server_error&error_description=%3Cscript%3Esecret");
    let page = browser.open(&answer).await;
    assert_eq!(
        page.leads_to(),
        format!("{HOME}/signed-in?error=PROVIDER_FAILED&state=of+the+app")
    );
    assert!(!page.text.contains("secret"));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_the_secret_of_the_app() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let other = "another-secret-of-the-app-that-is-long-enough-too";
    for wrong in ["", "short", other, CHALLENGE] {
        let arrived = arrive(&mut Browser::of(&stage.host, "alice"), "place").await;
        let code = parameter(&arrived, "code").expect("a code");
        let body = json!({"code": code, "code_verifier": wrong});
        let refused = stage.post("/auth/oauth/exchange", &body).await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (401, "CODE_INVALID"),
            "{wrong}"
        );
        // Whoever had no secret has used it up.
        let late = json!({"code": code, "code_verifier": VERIFIER});
        let _ = stage
            .post("/auth/oauth/exchange", &late)
            .await
            .expect_status(401);
    }
    let mut browser = Browser::of(&stage.host, "alice");
    for (name, value) in [
        ("code_challenge", None),
        ("code_challenge", Some("plain")),
        ("code_challenge_method", Some("plain")),
        ("code_challenge_method", Some("s256")),
    ] {
        let page = browser
            .open(&changed(&start_of("place"), name, value))
            .await;
        assert_eq!(
            (page.status, &*page.code()),
            (422, "CODE_CHALLENGE_INVALID"),
            "{name} {value:?}"
        );
    }
    let long = "s".repeat(501);
    let page = browser
        .open(&changed(&start_of("place"), "state", Some(&long)))
        .await;
    assert_eq!((page.status, &*page.code()), (422, "STATE_TOO_LONG"));
    let missing = browser.open(&start_of("nowhere")).await;
    assert_eq!(
        (missing.status, &*missing.code()),
        (404, "PROVIDER_NOT_FOUND")
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_ends_with_the_link_that_it_came_by() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    let arrived = arrive(&mut Browser::of(&stage.host, "alice"), "place").await;
    let sql = stage.host.sql().await;
    sql.batch_execute("delete from auth.identities")
        .await
        .expect("it is unlinked, or its account is taken over");
    let refused = stage.exchange(&arrived).await;
    assert_eq!((refused.status, &*refused.code()), (401, "CODE_INVALID"));
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_browser_is_sent_to_listed_addresses_alone() {
    let listed = "[plugins.auth.config]\nredirect_urls = [\"https://app.example/in?a=b\"]";
    let (stage, _place) = with_place(&[listed], TRUSTED).await;
    let mut browser = Browser::of(&stage.host, "alice");
    for target in [
        "",
        "//evil.example",
        "https:evil.example",
        "%5C%5Cevil.example",
        "/%5Cevil.example",
        "https://user@app.example/in?a=b",
        "https://app.example:444/in?a=b",
        "https://x.app.example/in?a=b",
        "https://app.example/in/more?a=b",
        "https://app.example/in?a=b%23x",
        "HTTPS://app.example/in?a=b",
        "https://%D0%B0pp.example/in?a=b",
        "javascript:alert(1)",
        "https://app.example/in?a=b%0D%0Ax:y",
        "/signed-in%0D%0Ax:y",
        "https://evil.example?.app.example",
    ] {
        let target = target.replace('&', "%26");
        let page = browser
            .open(&changed(&start_of("place"), "redirect_to", Some(&target)))
            .await;
        assert_eq!(
            (page.status, &*page.code()),
            (422, "REDIRECT_NOT_ALLOWED"),
            "{target}"
        );
        assert!(!page.headers.contains_key("set-cookie"));
    }
    let asked = changed(
        &start_of("place"),
        "redirect_to",
        Some("https://app.example/in?a=b"),
    );
    let arrived = browser.follow_to(&asked, "https://app.example").await;
    assert!(
        arrived.starts_with("https://app.example/in?a=b&code="),
        "{arrived}"
    );
    let _ = stage.exchange(&arrived).await.expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_place_may_answer_by_a_form() {
    let (stage, _place) = with_place(&[], &format!("uses_form_post = true\n{TRUSTED}")).await;
    let mut browser = Browser::of(&stage.host, "alice");
    let asked = browser.open(&start_of("place")).await;
    assert_eq!(
        parameter(asked.leads_to(), "response_mode").as_deref(),
        Some("form_post")
    );
    let asked = changed(asked.leads_to(), "response_mode", None);
    let answer = browser.follow_to(&asked, &callback_of("place")).await;
    let (callback, form) = answer.split_once('?').expect("there is an answer");
    let form = format!("{form}&user=%7B%22name%22%3A1%7D");
    // The site that posts it brings no cookie of ours along; the browser comes again with it.
    let posted = Browser::of(&stage.host, "alice").post(callback, form).await;
    assert_eq!(posted.status, 303);
    assert!(
        posted.leads_to().starts_with(callback),
        "{}",
        posted.leads_to()
    );
    let arrived = browser.open(posted.leads_to()).await;
    let _ = stage.exchange(arrived.leads_to()).await.expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn under_tls_the_cookie_belongs_to_this_host_alone() {
    let (stage, place) = with_place(
        &["[plugins.auth.config]\npublic_url = \"https://home.example\""],
        "",
    )
    .await;
    let mut browser = Browser::of(&stage.host, "alice");
    let page = browser.open(&start_of("place")).await;
    let cookie = page.headers["set-cookie"].to_str().expect("a cookie");
    assert!(cookie.starts_with("__Host-nself-oauth-"), "{cookie}");
    assert!(cookie.contains("; Secure"), "{cookie}");
    assert!(page.leads_to().starts_with(&place.issuer));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_second_factor_and_a_suspension_count_here_too() {
    let (stage, _place) = with_place(&[], TRUSTED).await;
    stage.signed_in_with("place", "alice").await;
    let sql = stage.host.sql().await;
    sql.batch_execute(
        "insert into auth.credentials (user_id, kind, secret, created_at, confirmed_at) \
         select id, 'totp', 'sealed', now(), now() from public.users where email = 'alice@example.org'",
    )
    .await
    .expect("she has a second factor");
    let arrived = arrive(&mut Browser::of(&stage.host, "alice"), "place").await;
    let asked = stage.exchange(&arrived).await.expect_status(200).data();
    assert_eq!(asked["mfa_required"], true);
    assert_eq!(asked["access_token"], json!(null));
    sql.batch_execute("update public.users set status = 'suspended'")
        .await
        .expect("she is suspended");
    let arrived = arrive(&mut Browser::of(&stage.host, "alice"), "place").await;
    let refused = stage.exchange(&arrived).await;
    assert_eq!(
        (refused.status, &*refused.code()),
        (401, "CREDENTIALS_INVALID")
    );
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn where_sign_up_is_closed_an_invited_address_opens_it() {
    let closed = "[plugins.auth.config]\nsign_up = \"closed\"";
    let (stage, _place) = with_place(&[closed], TRUSTED).await;
    assert_eq!(stage.refused_with("place", "alice").await, "SIGN_UP_CLOSED");
    let sql = stage.host.sql().await;
    sql.batch_execute(
        "with u as (insert into public.users (email) values ('owner@example.org') returning id), \
         f as (insert into public.families (name) values ('Home') returning id), \
         m as (insert into public.family_members (family_id, user_id, role) select f.id, u.id, 'OWNER' from f, u) \
         insert into auth.invitations (family_id, role, email, token_mac, invited_by, created_at, expires_at) \
         select f.id, 'ADULT_MEMBER', 'alice@example.org', '\\x00', u.id, now(), now() + interval '1 day' from f, u",
    )
    .await
    .expect("she is invited");
    let invited = stage.signed_in_with("place", "alice").await;
    assert_eq!(invited.0["user"]["email"], "alice@example.org");
    assert_eq!(stage.refused_with("place", "bob").await, "SIGN_UP_CLOSED");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
#[should_panic(expected = "auth-providers")]
async fn a_place_whose_secret_is_missing_keeps_the_plugin_from_starting() {
    let configured =
        "[plugins.auth.config.providers.absent]\npreset = \"github\"\nclient_id = \"nself\"";
    stage(&[configured]).await;
}
