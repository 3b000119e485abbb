//! What the host answers itself, and what it does to every answer.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use nself::config::{Config, Variables};
use nself::http::{Body, Cors, Settings};
use nself::identity::{ApiKey, Kind, NewApiKey};
use nself::plugin::manifest::{Access, Role, Route};
use nself::telemetry::logs;
use serde_json::json;

use super::fixture::{Answer, Host, PATIENCE, Setup, answered, generation, hello, request, route};

fn with(path: &str, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = request(Method::GET, path);
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn notes() -> Vec<nself::http::NewRoute> {
    let notes = generation("notes");
    let list = Route {
        access: Access::Roles(vec![Role::Owner, Role::AdultMember]),
        query: Some(
            json!({"type": "object", "required": ["limit"],
            "properties": {"limit": {"type": "integer"}, "after": {"type": "string"}}})
            .into(),
        ),
        response: Some(json!({"type": "array", "items": {"type": "string"}}).into()),
        params: Some(json!({"type": "string", "format": "uuid"}).into()),
        ..route("GET", "/families/{family_id}/notes")
    };
    let create = Route {
        access: Access::Service("notes.write".to_owned()),
        request: Some(json!({"type": "object"}).into()),
        ..route("POST", "/families/{family_id}/notes")
    };
    let of_a_family = Route {
        params: Some(
            json!({"type": "array", "items": false, "minItems": 2,
            "prefixItems": [{"type": "string", "format": "uuid"}, {"type": "integer"}]})
            .into(),
        ),
        ..route("GET", "/families/{family_id}/notes/{number}")
    };
    let page = |_| async {
        let mut response = Response::new(Body::from(Bytes::from("<p>".repeat(2_000))));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("text/html"));
        response
    };
    vec![
        answered(&notes, list, hello),
        answered(&notes, create, hello),
        answered(&notes, of_a_family, hello),
        answered(&notes, route("GET", "/page"), page),
        answered(&notes, route("GET", "/files/{*path}"), hello),
    ]
}

async fn host(settings: Settings) -> Host {
    let mut setup = Setup::new(notes());
    setup.settings = settings;
    setup.start().await
}

#[tokio::test]
async fn the_document_says_what_is_in_force() {
    let host = host(Settings::default()).await;
    let document = host.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let list = &document["paths"]["/families/{family_id}/notes"]["get"];
    assert_eq!(list["operationId"], "notes_get_families_by_family_id_notes");
    assert_eq!(list["tags"], json!(["notes"]));
    assert_eq!(
        list["security"],
        json!([{"bearer": ["OWNER", "ADULT_MEMBER"]}])
    );
    let names = list["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (&p["name"], &p["in"], &p["required"]));
    let expected = json!([
        ["family_id", "path", true],
        ["after", "query", false],
        ["limit", "query", true]
    ]);
    assert_eq!(json!(names.collect::<Vec<_>>()), expected);
    let schema = |path: &str, position: usize| {
        document["paths"][path]["get"]["parameters"][position]["schema"].clone()
    };
    let uuid = json!({"type": "string", "format": "uuid"});
    let note = "/families/{family_id}/notes/{number}";
    for (path, position, expected) in [
        ("/families/{family_id}/notes", 0, &uuid),
        (note, 0, &uuid),
        (note, 1, &json!({"type": "integer"})),
        ("/files/{path}", 0, &json!({"type": "string"})),
    ] {
        assert_eq!(schema(path, position), *expected, "{path} {position}");
    }
    let data =
        &list["responses"]["2XX"]["content"]["application/json"]["schema"]["properties"]["data"];
    assert_eq!(data["type"], "array");
    assert_eq!(
        list["responses"]["default"]["$ref"],
        "#/components/responses/Problem"
    );
    let raw = &document["paths"]["/livez"]["get"]["responses"];
    assert_eq!(
        (&raw["default"]["$ref"], raw["3XX"].is_object()),
        (&json!("#/components/responses/Refusal"), true),
        "what follows a standard has its errors, and sends elsewhere"
    );
    assert!(
        document["paths"]["/files/{path}"]["get"].is_object(),
        "catch-all parameters in OpenAPI's spelling"
    );

    host.swap(Vec::new());
    assert!(
        host.get("/openapi.json").await.json()["paths"]["/page"].is_null(),
        "a new table, a new document"
    );
}

#[tokio::test]
async fn the_reference_page_asks_nobody_else_and_runs_nothing_inline() {
    let host = host(Settings::default()).await;
    for (path, kind) in [
        ("/reference", "text/html"),
        ("/reference.css", "text/css"),
        ("/reference.js", "text/javascript"),
    ] {
        let answer = host.get(path).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(
            answer.status == 200 && answer.header("content-type").starts_with(kind),
            "{answer:?}"
        );
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("innerHTML"),
            "{path}"
        );
    }
    let page = host.get("/reference").await;
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'; script-src 'self'")
    );
    assert!(!page.header("content-security-policy").contains("unsafe"));
    assert_eq!(page.header("x-frame-options"), "DENY");
}

#[tokio::test]
async fn readiness_names_the_parts_and_follows_them() {
    for (ready, status) in [(true, 200), (false, 503)] {
        let mut setup = Setup::new(Vec::new());
        setup.ready = ready;
        let host = setup.start().await;
        for path in ["/readyz", "/ready"] {
            let answer = host.get(path).await;
            assert_eq!(
                (answer.status, &answer.json()["parts"]["notes"]["state"]),
                (status, &json!("started"))
            );
        }
        for path in ["/livez", "/health", "/healthz"] {
            assert_eq!(host.get(path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn numbers_are_for_operators_and_count_by_route() {
    let key = NewApiKey::generate();
    let mut setup = Setup::new(notes());
    setup.identity.api_keys =
        vec![ApiKey::new("prometheus", Kind::Operator, &key.sha256, &[]).unwrap()];
    let host = setup.start().await;
    let answer = host.get("/metrics").await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, "Bearer")
    );
    for _ in 0..3 {
        host.get("/page").await;
    }
    host.get("/nowhere").await;
    let answer = host
        .send(with(
            "/metrics",
            &[("authorization", &format!("Bearer {}", &*key.secret))],
        ))
        .await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        r#"nself_http_requests_total{plugin="notes",route="GET /page",status="2xx"} 3"#,
        r#"nself_http_requests_total{plugin="host",route="none",status="4xx"} 1"#,
        r#"nself_http_request_duration_seconds_count{plugin="notes",route="GET /page"} 3"#,
        r#"nself_http_in_flight{plugin="notes"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn pages_are_compressed_for_those_who_can_and_small_answers_are_not() {
    let host = host(Settings::default()).await;
    for encoding in ["gzip", "zstd"] {
        let answer = host
            .send(with("/page", &[("accept-encoding", encoding)]))
            .await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (200, encoding)
        );
        assert!(answer.body.len() < 1_000 && answer.header("vary").contains("accept-encoding"));
    }
    let plain = host.get("/page").await;
    assert_eq!(
        (
            plain.header("content-encoding"),
            plain.header("content-length")
        ),
        ("", "6000")
    );
    let small = host
        .send(with("/files/x", &[("accept-encoding", "gzip")]))
        .await;
    assert_eq!(
        (small.header("content-encoding"), &small.body[..]),
        ("", &b"hello"[..])
    );
}

fn cors(credentials: bool) -> Settings {
    let origins = ["https://app.example.org".to_owned()];
    Settings {
        cors: Cors::new(&origins, credentials).unwrap(),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_listed_origin_may_ask_and_read_and_another_may_not() {
    let host = host(cors(true)).await;
    let preflight = |origin: &'static str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        let mut request = with("/families/1/notes", &headers);
        *request.method_mut() = Method::OPTIONS;
        request
    };
    let answer = host.send(preflight("https://app.example.org")).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (204, "https://app.example.org")
    );
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("POST")
    );
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    let answer = host.send(preflight("https://evil.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");

    let refused = host
        .send(with(
            "/families/1/notes",
            &[("origin", "https://app.example.org")],
        ))
        .await;
    let named = refused.header("access-control-allow-origin");
    assert_eq!(
        (refused.status, named),
        (401, "https://app.example.org"),
        "a page can read the problem, too"
    );
    assert_eq!(refused.header("vary"), "origin");
}

fn check_hsts(answer: &Answer, expected: &str) {
    assert_eq!(answer.header("strict-transport-security"), expected);
}

#[tokio::test]
async fn strict_transport_is_promised_only_over_tls() {
    let settings = Settings {
        hsts_seconds: 600,
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..Settings::default()
    };
    let host = host(settings).await;
    check_hsts(
        &host
            .send(with("/page", &[("x-forwarded-proto", "https")]))
            .await,
        "max-age=600",
    );
    check_hsts(&host.get("/page").await, "");
}

#[tokio::test]
async fn the_access_log_names_the_route_and_never_what_a_caller_sent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    let mut config = Config::default();
    config.log.file = Some(file.clone());
    let (subscriber, log) = logs::subscriber(&config, &Variables::new(), false).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    let host = host(Settings::default()).await;
    let secret = [("authorization", "Bearer s3cret"), ("x-request-id", "id-1")];
    let mut access = Vec::new();
    let limit = Instant::now() + PATIENCE;
    // Tests on other threads, which have no subscriber, may just now have told the log line that nobody listens.
    while access.is_empty() && Instant::now() < limit {
        tracing::callsite::rebuild_interest_cache();
        host.send(with("/files/s3cret?token=s3cret", &secret)).await;
        log.flush();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let parsed = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        access.extend(parsed.filter(|line| line["target"] == "nself::access"));
    }
    let fields = &access[0];
    assert_eq!(
        (&fields["route"], &fields["plugin"]),
        (&json!("/files/{*path}"), &json!("notes"))
    );
    assert_eq!(
        (&fields["status"], &fields["request_id"]),
        (&json!(200), &json!("id-1"))
    );
    assert_eq!(fields["message"], "request");
}
