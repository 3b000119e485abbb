//! Credentials on their way through a real request.

use bytes::Bytes;
use http::{HeaderValue, Method, Response};
use jsonwebtoken::Algorithm;
use nself::http::{Admitted, Body};
use nself::identity::{ApiKey, Kind, NewApiKey};
use nself::plugin::manifest::{Access, Role, Route};
use serde_json::json;

use super::issuer::{Hands, Issuer, SESSION, claims, claims_with};
use crate::http::fixture::{Answer, Host, Setup, answered, generation, request, route};

async fn who(request: Admitted) -> Response<Body> {
    let name = request
        .principal
        .map_or("nobody", |principal| principal.kind.as_str());
    Response::new(Body::from(Bytes::from_static(name.as_bytes())))
}

struct Scene {
    host: Host,
    issuer: Issuer,
    hands: Hands,
    service_key: NewApiKey,
    operator_key: NewApiKey,
}

async fn scene() -> Scene {
    let notes = generation("notes");
    let rules = [
        ("/public", Access::Public),
        ("/signed-in", Access::Authenticated),
        (
            "/adults",
            Access::Roles(vec![Role::Owner, Role::AdultMember]),
        ),
        ("/jobs", Access::Service("jobs.write".to_owned())),
        ("/operator", Access::Operator),
    ];
    let mut setup = Setup::new(
        rules
            .map(|(path, access)| {
                answered(
                    &notes,
                    Route {
                        access,
                        ..route("GET", path)
                    },
                    who,
                )
            })
            .into(),
    );
    let (issuer, hands) = (Issuer::new(Algorithm::ES256, "k1"), Hands::new());
    let (service_key, operator_key) = (NewApiKey::generate(), NewApiKey::generate());
    let key = |name, kind, key: &NewApiKey| {
        ApiKey::new(name, kind, &key.sha256, &["jobs.write".to_owned()]).unwrap()
    };
    setup.identity = hands.settings(vec![issuer.key_set()]);
    setup.identity.api_keys = vec![
        key("worker", Kind::Service, &service_key),
        key("root", Kind::Operator, &operator_key),
    ];
    Scene {
        host: setup.start().await,
        issuer,
        hands,
        service_key,
        operator_key,
    }
}

impl Scene {
    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Answer {
        let mut request = request(Method::GET, path);
        for (name, value) in headers {
            request
                .headers_mut()
                .append(*name, HeaderValue::from_str(value).unwrap());
        }
        self.host.send(request).await
    }

    fn bearer(&self, changes: &serde_json::Value) -> String {
        format!("Bearer {}", self.issuer.sign(&claims_with(changes)))
    }
}

#[tokio::test]
async fn no_token_wrong_role_right_role() {
    let scene = scene().await;
    let child = json!({"https://hasura.io/jwt/claims": {"x-hasura-default-role": "CHILD_MEMBER",
        "x-hasura-user-id": SESSION, "x-hasura-family-id": SESSION}});
    let answer = scene.get("/adults", &[]).await;
    assert_eq!(
        (
            answer.status,
            &*answer.code(),
            answer.header("www-authenticate")
        ),
        (401, "UNAUTHENTICATED", "Bearer")
    );
    let answer = scene
        .get("/adults", &[("authorization", &scene.bearer(&child))])
        .await;
    assert_eq!((answer.status, &*answer.code()), (403, "FORBIDDEN"));
    let answer = scene
        .get("/adults", &[("authorization", &scene.bearer(&json!({})))])
        .await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"user"[..]));
}

#[tokio::test]
async fn a_request_cannot_choose_its_role() {
    let scene = scene().await;
    let user = json!({"https://hasura.io/jwt/claims": {"x-hasura-default-role": "user",
        "x-hasura-allowed-roles": ["OWNER", "user"], "x-hasura-user-id": SESSION, "x-hasura-family-id": SESSION}});
    let token = scene.bearer(&user);
    assert_eq!(
        scene
            .get(
                "/adults",
                &[("authorization", &token), ("x-hasura-role", "OWNER")]
            )
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn a_bad_token_says_what_to_do_and_does_not_close_public_routes() {
    let scene = scene().await;
    let expired = scene.bearer(&json!({"exp": 1}));
    let answer = scene
        .get("/signed-in", &[("authorization", &expired)])
        .await;
    assert_eq!((answer.status, &*answer.code()), (401, "TOKEN_EXPIRED"));
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
    assert_eq!(
        scene
            .get("/public", &[("authorization", &expired)])
            .await
            .body,
        "nobody"
    );

    let good = scene.bearer(&json!({}));
    assert_eq!(
        scene.get("/public", &[("authorization", &good)]).await.body,
        "user"
    );
    scene.host.verifier.revoke(
        SESSION.parse().unwrap(),
        scene.hands.now() + std::time::Duration::from_secs(300),
    );
    let answer = scene.get("/signed-in", &[("authorization", &good)]).await;
    assert_eq!((answer.status, &*answer.code()), (401, "SESSION_REVOKED"));
}

#[tokio::test]
async fn api_keys_open_what_they_are_for_by_either_header() {
    let scene = scene().await;
    let (service, operator): (&str, &str) = (&scene.service_key.secret, &scene.operator_key.secret);
    let as_bearer = format!("bearer {service}");
    assert_eq!(
        scene
            .get("/jobs", &[("authorization", &as_bearer)])
            .await
            .body,
        "service"
    );
    for (key, path, status) in [
        (service, "/jobs", 200),
        (service, "/operator", 403),
        (service, "/adults", 403),
        (operator, "/operator", 200),
        (operator, "/jobs", 200),
        (operator, "/adults", 403),
        ("nsk_wrong", "/operator", 401),
    ] {
        assert_eq!(
            scene.get(path, &[("x-api-key", key)]).await.status,
            status,
            "{path}"
        );
    }
    scene.host.verifier.set_api_keys(Vec::new());
    assert_eq!(
        scene.get("/jobs", &[("x-api-key", service)]).await.status,
        401,
        "taken back while running"
    );
}

#[tokio::test]
async fn credentials_that_can_be_read_in_two_ways_are_refused() {
    let scene = scene().await;
    let (token, key) = (
        format!("Bearer {}", scene.issuer.sign(&claims())),
        &**scene.service_key.secret,
    );
    for headers in [
        &[("authorization", &*token), ("x-api-key", key)][..],
        &[("authorization", &*token), ("authorization", &*token)],
        &[("x-api-key", key), ("x-api-key", key)],
        &[("authorization", "Basic dTpw")],
        &[("authorization", "")],
    ] {
        let answer = scene.get("/signed-in", headers).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (401, "CREDENTIALS_MALFORMED")
        );
    }
}
