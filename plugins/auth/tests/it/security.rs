//! Twenty-five attacks on an identity service, and where each is tried here. Those without a better place stand below.
//!
//! | # | attack | tried in |
//! | --- | --- | --- |
//! | 1 | a token that lists more roles than one, or a reserved one | here: `a_token_lists_one_family_role_and_none_that_is_reserved`; `families::a_person_acts_in_one_family_at_a_time…`, `refresh::a_family_is_chosen_by_a_refresh…` |
//! | 2 | ids of another family at every route that takes one | `tenants`; `devices::a_machine_only_looks`; the conformance suite's `another_family_reaches_nothing` |
//! | 3 | ten refreshes of one token at once | `refresh::of_ten_at_once_all_get_the_one_successor…` |
//! | 4 | a refresh token used again, early and late | `refresh::a_lost_answer_is_given_again_and_later_the_session_ends`; over a killed host `faults`, over clocks that differ `faults::clocks` |
//! | 5 | an account that waits for its owner with things planted in it | here: `nothing_that_was_planted_is_left_when_an_address_is_proved`, `a_token_that_has_not_heard_of_its_end_plants_nothing`; by a provider `provider::linking::who_registered_a_strangers_address…` |
//! | 6 | a provider that does not vouch for an address | `provider::linking` |
//! | 7 | ways around the second factor | `second_factor::no_way_in_leaves_the_second_factor_out` and its neighbours; `provider::sign_in::a_second_factor_and_a_suspension_count_here_too` |
//! | 8 | forged access tokens | `forgery` |
//! | 9 | guesses from many addresses, real and claimed | `throttle`; `sign_in::tries_are_counted_whatever_a_caller_says_of_its_address` |
//! | 10 | guesses at codes | `sign_in::a_code_has_five_tries…`, `second_factor::a_sign_in_has_five_tries…`, `second_factor::each_recovery_code_works_once…`, `devices::codes_are_not_guessed`, `children::a_childs_code_has_five_tries…` |
//! | 11 | a machine that pairs with somebody else's yes | `devices` |
//! | 12 | an invitation in the wrong hands, or worth too much | `invitations` |
//! | 13 | a token that outlives its session | `sign_in::who_signs_in_is_known_to_every_route_and_signs_out_again`, `sign_in::a_new_password_ends_the_other_sessions…`, `admin::who_is_suspended_is_out_everywhere…`, `families::a_change_is_known_to_every_host_at_once…`, `keys::all_hosts_of_a_database…` |
//! | 14 | a request that says where links in mails shall lead | `hardening::links_in_mails_begin_with_the_configured_address…`; in the request line, here: `an_address_in_the_request_line_is_in_no_link`; of invitations `invitations::a_mailed_invitation_lets_in…` |
//! | 15 | addresses that only look like one that is allowed | `provider::sign_in::a_browser_is_sent_to_listed_addresses_alone`, `nhost::a_link_leads_to_an_address_of_the_list…`; the rule itself beside `src/redirect.rs` |
//! | 16 | answers that tell who has an account | `enumeration`; by their time: `bench`, group `auth` |
//! | 17 | addresses inside of the house | `provider::guarded`; the guard itself in the host's tests, `egress::http` |
//! | 18 | session variables in headers; what Hasura reads of the key set | `forgery::session_variables_in_a_request_are_nothing_to_us`, `hasura`, `keys` |
//! | 19 | everybody at the same time | `races`; `sign_up::of_many_who_register_one_address_at_once…`, and "of many" in `account`, `devices`, `invitations`, `passkeys`, `provider::sign_in`, `second_factor` |
//! | 20 | passwords that are cut, listed or spelt in another way | `passwords` |
//! | 21 | sensitive changes long after the proof | `step_up`; `sign_in::a_sensitive_change_needs_a_fresh_proof`, `families::deleting_and_handing_over_a_family_need_a_fresh_proof`, `account::leaving_needs_a_fresh_proof` |
//! | 22 | passkey ceremonies with one thing wrong | `passkeys`; in a real browser `browser` |
//! | 23 | answers of a provider that are changed, mixed up or sent twice | `provider::sign_in::what_is_changed_on_the_way_signs_nobody_in`, `…an_answer_counts_once…`, `…a_code_is_worth_nothing_without_the_secret_of_the_app`, `…a_no_is_told_in_our_words`; here: `a_code_of_an_app_is_good_once_and_…` |
//! | 24 | what is no request, or no value; secrets in logs and refusals | `robustness`; `logs` |
//! | 25 | headers; the audit log | `hardening`; `logs` for the answers and entries of every way to sign in |

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    app::App,
    authenticator::{Creation, Key, Usage},
    provider::hub::Hub,
    stage::{PASSWORD, Session, Stage},
};

const VICTIM: &str = "victim@example.org";
const ATTACKER: &str = "attacker@example.org";

#[tokio::test]
async fn a_token_lists_one_family_role_and_none_that_is_reserved() {
    let stage = Stage::open().await;
    let fresh = stage.person("ada@example.org").await;
    assert_eq!(fresh.hasura()["x-hasura-allowed-roles"], json!(["user"]));
    assert_eq!(fresh.hasura()["x-hasura-default-role"], "user");
    let (family, owner) = stage.owner("bob@example.org").await;
    let roles = json!(["OWNER", "user"]);
    assert_eq!(owner.hasura()["x-hasura-allowed-roles"], roles);
    // Nor can anything else make such a role: the database knows the list.
    let sql = stage.host.sql().await;
    for reserved in ["admin", "anonymous", "user", "public", "ADMIN_OF_ALL"] {
        let change = "update public.family_members set role = $1 where family_id::text = $2";
        let changed = sql.execute(change, &[&reserved, &family]).await;
        assert!(changed.is_err(), "{reserved}");
        let path = format!("/auth/families/{family}/invitations");
        let invited = stage
            .post_as(&owner, &path, &json!({"role": reserved}))
            .await;
        assert_eq!(invited.status, 422, "{reserved}: {}", invited.text());
    }
    drop(sql);
    stage.host.stop().await;
}

/// What an attacker leaves in an account that is not theirs.
struct Planted {
    session: Session,
    flow: Value,
    script: Value,
    app: App,
    passkey: crate::authenticator::Passkey,
    /// A change of the address to the attacker's own.
    change: String,
}

async fn plant(stage: &Stage) -> Planted {
    let session = stage.person(VICTIM).await;
    let begun = stage
        .post_as(&session, "/auth/passkeys/register/options", &json!({}))
        .await;
    let begun = begun.expect_status(200).data();
    let key = Key::es256();
    let creation = Creation::new(&begun["options"], "http://localhost:3000", &key);
    let body =
        json!({"flow_id": begun["flow_id"], "name": "Key", "credential": creation.response()});
    let kept = stage
        .post_as(&session, "/auth/passkeys/register/verify", &body)
        .await;
    let _ = kept.expect_status(201);
    let made = stage
        .post_as(&session, "/auth/tokens", &json!({"name": "script"}))
        .await;
    let script = made.expect_status(201).data()["token"].take();
    let (app, session) = stage.enroll(&session).await;
    let body = json!({"email": ATTACKER});
    let asked = stage.post_as(&session, "/auth/email/change", &body).await;
    let _ = asked.expect_status(202);
    let change = stage.mailed_token(ATTACKER, "email/confirm").await;
    Planted {
        flow: stage.first_factor(VICTIM, PASSWORD).await,
        passkey: creation.passkey(key),
        session,
        script,
        app,
        change,
    }
}

/// How somebody proves that the mailbox is theirs; the session, where that gives one.
async fn prove(stage: &Stage, by: &str) -> Session {
    let mailbox = json!({"email": VICTIM});
    match by {
        "a link" => {
            let _ = stage.post("/auth/magic-link/start", &mailbox).await;
            let token = stage.mailed_token(VICTIM, "magic-link/verify").await;
            let body = json!({"token": token});
            let proved = stage.post("/auth/magic-link/verify", &body).await;
            Session(proved.expect_status(200).data())
        }
        "a code" => {
            let started = stage.post("/auth/otp/start", &mailbox).await;
            let flow = started.expect_status(202).data()["flow_id"].take();
            let body = json!({"flow_id": flow, "code": stage.mailed_code(VICTIM).await});
            let proved = stage.post("/auth/otp/verify", &body).await;
            Session(proved.expect_status(200).data())
        }
        _ => {
            let _ = stage.post("/auth/password/forgot", &mailbox).await;
            let token = stage.mailed_token(VICTIM, "password/reset").await;
            let body = json!({"token": token, "password": "zwetschgenknoedel"});
            let reset = stage.post("/auth/password/reset", &body).await;
            let _ = reset.expect_status(200);
            let login = stage.login(VICTIM, "zwetschgenknoedel").await;
            Session(login.expect_status(200).data())
        }
    }
}

#[tokio::test]
async fn nothing_that_was_planted_is_left_when_an_address_is_proved() {
    for by in ["a link", "a code", "a reset"] {
        let stage = Stage::open().await;
        let mut planted = plant(&stage).await;
        let victim = prove(&stage, by).await;
        assert_eq!(
            victim.claims()["acr"],
            "aal1",
            "no factor but the victim's own"
        );
        let begun = stage.post("/auth/passkeys/login/options", &json!({})).await;
        let begun = begun.expect_status(200).data();
        let usage = Usage::new(
            &begun["options"],
            "http://localhost:3000",
            &mut planted.passkey,
        );
        let passkey = json!({"flow_id": begun["flow_id"], "credential": usage.response()});
        let code = planted.app.code();
        for (path, body) in [
            (
                "/auth/login",
                json!({"email": VICTIM, "password": PASSWORD}),
            ),
            (
                "/auth/refresh",
                json!({"refresh_token": planted.session.refresh()}),
            ),
            (
                "/auth/mfa/verify",
                json!({"flow_id": planted.flow, "code": code}),
            ),
            (
                "/auth/mfa/verify",
                json!({"flow_id": planted.flow, "recovery_code": planted.app.recovery_code()}),
            ),
            ("/auth/passkeys/login/verify", passkey),
            ("/auth/tokens/exchange", json!({"token": planted.script})),
            (
                "/signin/pat",
                json!({"personalAccessToken": planted.script}),
            ),
            ("/auth/email/confirm", json!({"token": planted.change})),
        ] {
            let answer = stage.post(path, &body).await;
            assert_eq!(answer.status, 401, "{by}: {path}: {}", answer.text());
        }
        eventually("the attacker's token ends", async || {
            let answer = stage.get_as(&planted.session, "/auth/me").send().await;
            (answer.status == 401).then_some(())
        })
        .await;
        let me = stage.get_as(&victim, "/auth/me").send().await;
        assert_eq!(me.expect_status(200).data()["user"]["email"], VICTIM);
        stage.host.stop().await;
    }
}

#[tokio::test]
async fn a_new_password_ends_a_change_of_the_address_that_somebody_else_has_asked_for() {
    let stage = Stage::set().await;
    let thief = stage.person(VICTIM).await;
    let body = json!({"email": ATTACKER});
    let asked = stage.post_as(&thief, "/auth/email/change", &body).await;
    let _ = asked.expect_status(202);
    let change = stage.mailed_token(ATTACKER, "email/confirm").await;
    prove(&stage, "a reset").await;
    let late = stage
        .post("/auth/email/confirm", &json!({"token": change}))
        .await;
    assert_eq!((late.status, &*late.code()), (401, "CODE_INVALID"));
    stage.host.stop().await;
}

#[tokio::test]
async fn a_token_that_has_not_heard_of_its_end_plants_nothing() {
    let stage = Stage::open().await;
    let ada = stage.person(VICTIM).await;
    let begun = stage
        .post_as(&ada, "/auth/passkeys/register/options", &json!({}))
        .await;
    let begun = begun.expect_status(200).data();
    let key = Key::es256();
    let creation = Creation::new(&begun["options"], "http://localhost:3000", &key);
    let passkey =
        json!({"flow_id": begun["flow_id"], "name": "Key", "credential": creation.response()});
    let enrolment = stage
        .post_as(&ada, "/auth/mfa/totp/enroll", &json!({}))
        .await;
    let app = App::reading(&enrolment.expect_status(200).data());
    let sql = stage.host.sql().await;
    // Without the notification that tells the hosts: as in the moment before it is heard.
    sql.batch_execute("update auth.sessions set revoked_at = now(), revoked_why = 'taken_over'")
        .await
        .expect("the session ends");
    for (path, body) in [
        ("/auth/passkeys/register/verify", passkey),
        ("/auth/mfa/totp/confirm", json!({"code": app.code()})),
        ("/auth/tokens", json!({"name": "script"})),
        ("/auth/email/change", json!({"email": ATTACKER})),
        (
            "/auth/password/change",
            json!({"current_password": PASSWORD, "password": "zwetschgenknoedel"}),
        ),
    ] {
        let refused = stage.post_as(&ada, path, &body).await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (401, "SESSION_REVOKED"),
            "{path}"
        );
    }
    let planted = "select (select count(*) from auth.passkeys) + (select count(*) from auth.api_tokens) + \
         (select count(*) from auth.credentials where kind <> 'password' and confirmed_at is not null)";
    let planted: i64 = sql.query_one(planted, &[]).await.expect("a count").get(0);
    assert_eq!(planted, 0);
    let _ = stage.login(VICTIM, PASSWORD).await.expect_status(200);
    assert!(stage.mails(ATTACKER).await.is_empty());
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_address_in_the_request_line_is_in_no_link() {
    let stage = Stage::set().await;
    stage.person("ada@example.org").await;
    let body = "{\"email\":\"ada@example.org\"}";
    let stream = TcpStream::connect(stage.host.address()).await;
    let mut stream = stream.expect("the host listens");
    let request = format!(
        "POST http://evil.example/auth/password/forgot HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it hears");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    assert!(
        ["HTTP/1.1 202", "HTTP/1.1 400", "HTTP/1.1 421"]
            .iter()
            .any(|status| answer.starts_with(status)),
        "{answer}"
    );
    let mailbox = json!({"email": "ada@example.org"});
    let _ = stage
        .post("/auth/password/forgot", &mailbox)
        .await
        .expect_status(202);
    stage
        .mail(
            "ada@example.org",
            "http://localhost:3000/auth/password/reset?token=",
        )
        .await;
    for mail in stage.mails("ada@example.org").await {
        assert!(!mail.contains("evil.example"), "{mail}");
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_of_an_app_is_good_once_and_who_sends_it_again_ends_what_it_began() {
    let hub = Hub::open().await;
    let host = nself_plugin_testkit::TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .secret("auth-providers", &Hub::client_secrets().to_string())
        .config("[plugins.mail.listen]\n1025 = 0")
        .config(&hub.configuration());
    let stage = Stage {
        host: host.start().await,
    };
    let arrived = hub.arrival(&stage).await;
    let ten = (0..10).map(|_| stage.exchange(&arrived));
    let answers = futures_util::future::join_all(ten).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    // None, where the second came while the session of the first was still beginning.
    assert!(won <= 1, "{won} sessions for one code");
    let living = "select count(*) from auth.sessions where revoked_at is null";
    let living = stage.host.sql().await.query_one(living, &[]).await;
    assert_eq!(living.expect("a count").get::<_, i64>(0), 0);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((answer.status, &*answer.code()), (401, "CODE_INVALID"));
    }
    stage.host.stop().await;
}
