//! Routes: reachable, guarded, and never at a loss.

use bytes::Bytes;
use http_body_util::BodyExt;
use nself::{
    plugin::manifest::{Access, Role, Route},
    policy::Policy,
};
use nself_plugin_api::manifest::Role as ApiRole;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Conformance;
use crate::{answer::Answer, host::TestHost, request::Request, sample::sample, wait::within};

/// Bodies that are not what any route asks for.
const BROKEN: [&str; 4] = ["", "{", "[1, 2", "\u{0}"];

/// Far from the numbers that a test gives out.
const NUMBER_OF_NOTHING: u64 = 30_000;

impl Conformance {
    /// Whoever may call a route reaches its handler, and a request of the declared form is no 5xx.
    ///
    /// # Panics
    ///
    /// With the first route that is not so.
    pub async fn every_route_answers(&self) {
        let host = self.start().await;
        let family = Uuid::now_v7();
        for route in self.routes() {
            let path = path_of(route);
            let answer = head(route, filled(route, admitted(&host, route, &path, family))).await;
            assert!(!is_unknown(&answer), "{}: nothing answers", name(route));
            assert!(
                !is_refused(&answer),
                "{}: its own rule keeps everybody out: {}",
                name(route),
                answer.text()
            );
            assert!(
                answer.status < 500 || self.is_excepted(route),
                "{}: a request of the declared form fails: {}",
                name(route),
                answer.text()
            );
        }
        self.finish(host).await;
    }

    /// Without a token every route that is not public answers 401.
    ///
    /// # Panics
    ///
    /// With the first route that is not so.
    pub async fn callers_without_a_token_are_refused(&self) {
        let host = self.start().await;
        for route in self.guarded() {
            let path = path_of(route);
            let answer = filled(route, host.request(&route.method, &path))
                .send()
                .await;
            assert_eq!(
                answer.status,
                401,
                "{} without a token: {}",
                name(route),
                answer.text()
            );
            let forged =
                filled(route, host.request(&route.method, &path)).token("eyJhbGciOiJub25lIn0.e30.");
            let answer = forged.send().await;
            assert_eq!(
                answer.status,
                401,
                "{} with a forged token: {}",
                name(route),
                answer.text()
            );
        }
        self.finish(host).await;
    }

    /// Every role that a rule does not name is answered 403; services and operators are people to nobody.
    ///
    /// # Panics
    ///
    /// With the first route that lets somebody else in, or keeps out one that it names.
    pub async fn only_the_roles_of_the_rule_are_let_in(&self) {
        let host = self.start().await;
        let family = Uuid::now_v7();
        for route in self.guarded() {
            let path = path_of(route);
            for role in ApiRole::ALL {
                let request = host.request(&route.method, &path).role(*role, family);
                let answer = head(route, filled(route, request)).await;
                let named = is_named(&route.access, *role);
                assert_eq!(
                    !is_refused(&answer),
                    named,
                    "{} as {}: {} {}",
                    name(route),
                    role.name(),
                    answer.status,
                    answer.text()
                );
                assert!(
                    named || answer.status == 403,
                    "{} as {}",
                    name(route),
                    role.name()
                );
            }
            if matches!(route.access, Access::Roles(_) | Access::Action(_)) {
                let nobody = host.token_of(Uuid::now_v7(), None);
                let request = host.request(&route.method, &path).token(&nobody);
                let answer = filled(route, request).send().await;
                assert_eq!(answer.status, 403, "{} without a family", name(route));
            }
        }
        self.finish(host).await;
    }

    /// JSON that does not read, or is not JSON, is answered 4xx.
    ///
    /// # Panics
    ///
    /// With the first route that is not so.
    pub async fn a_body_that_does_not_read_is_the_callers_fault(&self) {
        let host = self.start().await;
        let family = Uuid::now_v7();
        for route in self.routes().filter(|route| route.request.is_some()) {
            let path = path_of(route);
            let asked = || admitted(&host, route, &path, family);
            for body in BROKEN {
                let answer = asked()
                    .header("content-type", "application/json")
                    .body(body)
                    .send()
                    .await;
                check_refused(route, body, &answer);
            }
            for body in [
                json!([]),
                json!(7),
                json!("a"),
                json!({"\u{1F600}": [null]}),
            ] {
                let answer = asked().json(&body).send().await;
                assert!(
                    answer.status < 500,
                    "{} with {body}: {}",
                    name(route),
                    answer.text()
                );
            }
            let answer = asked()
                .header("content-type", "text/plain")
                .body("{}")
                .send()
                .await;
            check_refused(route, "a body of another type", &answer);
        }
        self.finish(host).await;
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.library.manifest.routes.iter()
    }

    fn guarded(&self) -> impl Iterator<Item = &Route> {
        self.routes().filter(|route| route.access != Access::Public)
    }

    pub(super) fn is_excepted(&self, route: &Route) -> bool {
        self.except.contains(&name(route))
    }
}

fn check_refused(route: &Route, sent: &str, answer: &Answer) {
    let status = answer.status;
    assert!(
        (400..500).contains(&status),
        "{} with {sent:?}: {status} {}",
        name(route),
        answer.text()
    );
}

/// The route's method and path.
pub(super) fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

/// The path with a value of the declared form in every place for a parameter, one that names nothing there is.
pub(super) fn path_of(route: &Route) -> String {
    fill(route, |position, name| match route.param(position, name) {
        Some(schema) if schema["type"] == "integer" => {
            let most = schema["maximum"].as_u64().unwrap_or(u64::MAX);
            most.min(NUMBER_OF_NOTHING).to_string()
        }
        _ => Uuid::now_v7().to_string(),
    })
}

/// The path with these ids in the places for parameters.
pub(super) fn path_with(route: &Route, ids: &[String]) -> String {
    fill(route, |position, _| ids[position].clone())
}

fn fill(route: &Route, value: impl Fn(usize, &str) -> String) -> String {
    let mut position = 0;
    let filled = route.path.split('/').map(|segment| {
        let Some(name) = segment.strip_prefix('{') else {
            return segment.to_owned();
        };
        let name = name.trim_start_matches('*').trim_end_matches('}');
        position += 1;
        value(position - 1, name)
    });
    filled.collect::<Vec<_>>().join("/")
}

/// A request of somebody whom the rule lets in.
pub(super) fn admitted<'a>(
    host: &'a TestHost,
    route: &Route,
    path: &str,
    family: Uuid,
) -> Request<'a> {
    let query = query_of(route);
    let request = host.request(&route.method, &format!("{path}{query}"));
    match &route.access {
        Access::Public => request,
        Access::Authenticated => request.role(ApiRole::Owner, family),
        Access::Roles(_) | Access::Action(_) => {
            let named = ApiRole::ALL
                .iter()
                .find(|role| is_named(&route.access, **role));
            request.role(*named.expect("a rule names a role"), family)
        }
        Access::Service(_) => request.token(TestHost::SERVICE_KEY),
        Access::Operator => request.operator(),
    }
}

/// The request with a body of the declared form.
pub(super) fn filled<'a>(route: &Route, request: Request<'a>) -> Request<'a> {
    match &route.request {
        Some(schema) => request.json(&sample(&schema.read())),
        None => request,
    }
}

/// What the query must have, with its `?`.
pub(super) fn query_of(route: &Route) -> String {
    let query = route.query.as_ref().map(|query| sample(&query.read()));
    let Some(Value::Object(fields)) = query else {
        return String::new();
    };
    let pairs = fields.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() {
        query
    } else {
        format!("?{query}")
    }
}

/// The answer; of a success that may be a stream without an end, its head.
pub(super) async fn head(route: &Route, request: Request<'_>) -> Answer {
    if route.kind == "json" {
        return request.send().await;
    }
    let (head, body) = request.open().await.into_parts();
    let body = if head.status.is_success() {
        Bytes::new()
    } else {
        let refusal = within(&name(route), body.collect()).await;
        refusal.expect("a refusal has an end").to_bytes()
    };
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        what: name(route),
    }
}

/// Whether a principal with this role may pass.
pub(super) fn is_named(access: &Access, role: ApiRole) -> bool {
    match access {
        Access::Public | Access::Authenticated => true,
        Access::Roles(roles) => roles.iter().any(|named| same(*named, role)),
        Access::Action(action) => {
            let roles = Policy::embedded().action(action).unwrap_or_default();
            roles.iter().any(|named| named.name() == role.name())
        }
        Access::Service(_) | Access::Operator => false,
    }
}

fn same(named: Role, role: ApiRole) -> bool {
    json!(named) == json!(role.name())
}

/// The host knows no such route, or not with this method.
fn is_unknown(answer: &Answer) -> bool {
    let said = answer.text();
    (answer.status == 404 && said.contains("nothing answers at this address"))
        || answer.status == 405
}

/// The host's own refusal by the access rule. A handler may answer 401 as well, such as to a wrong password: only the host
/// says how to ask instead (RFC 9110, section 11.6.1).
fn is_refused(answer: &Answer) -> bool {
    (answer.status == 401 && answer.headers.contains_key("www-authenticate"))
        || (answer.status == 403 && answer.code() == "FORBIDDEN")
}
