//! `$authorization`: what a task may say of how it proves who it is, and what of that is kept. And redirects, which are answers.

use nself_plugin_orchestrator::engine::Status;
use serde_json::{Value, json};

use crate::{
    driver::{Driver, workflow},
    stage::{builder, definition, ended, history, put, start},
    stub::{Asked, Reply, Stub},
};

const SECRET: &str = "never-shown-4711";
/// What stands for a parameter that only the request itself holds.
const MARK: &str = "\u{27e6}secret:$authorization\u{27e7}";

/// Pages for everybody who proves something, and a place that grants tokens.
fn pages(asked: &Asked, address: std::net::SocketAddr) -> Reply {
    match asked.path.as_str() {
        "/oauth2/token" | "/oidc/token" => {
            let token = json!({"access_token": "granted+/=0815", "token_type": "Bearer", "expires_in": 3600});
            Reply::json(200, &token)
        }
        "/.well-known/openid-configuration" => {
            let endpoint = format!("http://{address}/oidc/token");
            Reply::json(200, &json!({"token_endpoint": endpoint}))
        }
        path if path.starts_with("/digest") && asked.header("authorization").is_empty() => Reply {
            headers: "www-authenticate: Digest realm=\"shop\", qop=\"auth\", algorithm=SHA-256, nonce=\"n0nce\"\r\n".to_owned(),
            ..Reply::json(401, &Value::Null)
        },
        "/moved" => Reply {
            headers: "location: /elsewhere\r\n".to_owned(),
            ..Reply::json(307, &json!({"moved": true}))
        },
        _ => Reply::json(200, &json!({"let": "in"})),
    }
}

#[tokio::test]
async fn a_request_may_say_its_proof_once_more_whatever_that_is() {
    let server = Stub::open(pages).await;
    let secrets = json!({"shop": {"key": SECRET}}).to_string();
    let host = builder()
        .config(&server.egress())
        .secret("workflow-secrets", &secrets);
    let host = host.start().await;
    let authority = format!("http://{}", server.address);
    let key = "${ $secrets.shop.key }";
    let client = json!({"id": "nself", "secret": key});
    let grant = json!({"authority": authority, "grant": "client_credentials", "client": client});
    for (name, scheme, policy, kept) in [
        (
            "basic",
            "Basic",
            json!({"basic": {"username": "ann", "password": key}}),
            MARK,
        ),
        (
            "bearer",
            "Bearer",
            json!({"bearer": {"token": key}}),
            "\u{27e6}secret:shop/key\u{27e7}",
        ),
        (
            "digest",
            "Digest",
            json!({"digest": {"username": "ann", "password": key}}),
            MARK,
        ),
        ("oauth2", "Bearer", json!({"oauth2": grant}), MARK),
        ("oidc", "Bearer", json!({"oidc": grant}), MARK),
    ] {
        let with = json!({
            "method": "post",
            "endpoint": {"uri": format!("{authority}/{name}"), "authentication": policy},
            "headers": {"x-proof": "${ $authorization.scheme + \" \" + $authorization.parameter }"},
            "query": {"scheme": "${ $authorization.scheme }"},
            "body": {"scheme": "${ $authorization.scheme }"},
        });
        let tell = "{kept: $authorization}";
        let task =
            json!({"call": "http", "with": with, "output": {"as": tell}, "export": {"as": tell}});
        let text = definition(
            name,
            "use: {secrets: [shop]}\n",
            &format!("  - ask: {task}\n"),
        );
        put(&host, name, &text).await;
        let run = start(&host, name, json!({}), 25).await;
        let run = ended(&host, &run["id"]).await;
        let expected = json!({"kept": {"scheme": scheme, "parameter": kept}});
        assert_eq!(run["output"], expected, "{name}: {run}");
        let asked = server.asked().pop().expect("it was asked");
        assert!(asked.header("authorization").starts_with(scheme), "{name}");
        assert_eq!(
            asked.header("x-proof"),
            asked.header("authorization"),
            "{name}"
        );
        assert_eq!(asked.line(), format!("POST /{name}?scheme={scheme}"));
        assert_eq!(asked.json(), json!({"scheme": scheme}));
        let rows = json!(history(&host, &run["id"]).await).to_string();
        assert!(
            !rows.contains(SECRET) && !rows.contains("granted+"),
            "{rows}"
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn a_token_that_is_granted_stands_in_query_and_body_as_well() {
    let server = Stub::open(pages).await;
    let host = builder().config(&server.egress()).start().await;
    let authority = format!("http://{}", server.address);
    let policy = json!({"oauth2": {"authority": authority, "grant": "client_credentials", "client": {"id": "nself", "secret": "s"}}});
    let proof = "${ $authorization.parameter }";
    // What families bring cannot stand for the token, however it is written.
    let with = json!({
        "method": "post", "endpoint": {"uri": format!("{authority}/pages"), "authentication": policy},
        "query": {"proof": proof, "said": "${ .raw }"}, "body": {"proof": proof, "said": "${ . }"},
    });
    let task = json!({"call": "http", "with": with});
    put(
        &host,
        "told",
        &definition("told", "", &format!("  - ask: {task}\n")),
    )
    .await;
    let escaped = "%E2%9F%A6secret%3A%24authorization%E2%9F%A7";
    let run = start(&host, "told", json!({"raw": MARK, "escaped": escaped}), 25).await;
    assert_eq!(
        ended(&host, &run["id"]).await["output"],
        json!({"let": "in"})
    );
    let asked = server.asked().pop().expect("it was asked");
    let harmless = "%E2%9F%A6secret%20%24authorization%E2%9F%A7";
    let query = format!("/pages?proof=granted%2B%2F%3D0815&said={harmless}");
    assert_eq!(asked.path, query);
    let raw = MARK.replace("secret:", "secret ");
    let body = json!({"proof": "granted+/=0815", "said": {"raw": raw, "escaped": escaped}});
    assert_eq!(asked.json(), body);
    host.stop().await;
}

#[test]
fn who_proves_nothing_has_no_authorization() {
    let tasks = "do:\n  - ask:\n      call: http\n      with: {method: get, endpoint: 'https://a.test', headers: {x: '${ $authorization | tojson }'}}\n      output: {as: '{kept: $authorization}'}";
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    driver.stub = Box::new(|call| {
        assert_eq!(call.headers["x"], "null");
        (200, Value::Null)
    });
    assert_eq!(driver.run(), Status::Completed(json!({"kept": null})));
}

#[tokio::test]
async fn a_redirect_is_an_error_unless_the_task_takes_it_and_is_never_followed() {
    let server = Stub::open(pages).await;
    let host = builder().config(&server.egress()).start().await;
    let uri = format!("http://{}/moved", server.address);
    for (name, with, expected) in [
        ("refused", json!({}), json!({"status": 307})),
        (
            "refused-too",
            json!({"redirect": false}),
            json!({"status": 307}),
        ),
        (
            "taken",
            json!({"redirect": true, "output": "response"}),
            json!(null),
        ),
    ] {
        let mut with = with;
        with["method"] = json!("get");
        with["endpoint"] = json!(uri);
        let task = json!({"call": "http", "with": with});
        put(
            &host,
            name,
            &definition(name, "", &format!("  - ask: {task}\n")),
        )
        .await;
        let run = start(&host, name, json!({}), 25).await;
        let run = ended(&host, &run["id"]).await;
        assert_eq!(run["error"]["status"], expected["status"], "{name}: {run}");
        if expected.is_null() {
            let output = &run["output"];
            let location = &output["headers"]["location"];
            assert_eq!(
                (&output["statusCode"], location),
                (&json!(307), &json!("/elsewhere"))
            );
            assert_eq!(output["content"], json!({"moved": true}));
        }
    }
    let lines: Vec<String> = server.asked().iter().map(Asked::line).collect();
    assert_eq!(lines, ["GET /moved"; 3]);
    host.stop().await;
}
