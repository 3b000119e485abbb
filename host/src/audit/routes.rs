//! `/v1/audit`: a family's own log, for whom the policy lets see it, page by page and as JSON Lines.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use deadpool_postgres::Pool;
use futures_util::{future::BoxFuture, stream};
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::StreamBody;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::{Entry, Filter, append, export, tail};
use crate::{
    http::{Admitted, Body, BoxError, HostRoute, Problem, Target},
    plugin::manifest::{Access, Route},
};

/// Most entries of a page.
const PAGE_MAX: u32 = 1_000;
/// Pause to tell callers while the database is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The two routes.
pub fn routes(pool: &Pool) -> Vec<HostRoute> {
    let page = route(
        "/v1/audit",
        "What happened in the family, the newest first",
        "json",
        page_schema(),
    );
    let export = route(
        "/v1/audit/export",
        "The family's audit log as JSON Lines, the oldest entry first; itself audited",
        "raw",
        window_schema(),
    );
    vec![
        HostRoute {
            route: Arc::new(page),
            target: Arc::new(Page(pool.clone())),
            everywhere: false,
        },
        HostRoute {
            route: Arc::new(export),
            target: Arc::new(Export(pool.clone())),
            everywhere: false,
        },
    ]
}

fn route(path: &str, summary: &str, kind: &str, query: Value) -> Route {
    Route {
        method: "GET".to_owned(),
        path: path.to_owned(),
        access: Access::Action("audit.view".to_owned()),
        summary: summary.to_owned(),
        body_bytes_max: Some(0),
        timeout_ms: None,
        rate_per_minute: None,
        params: None,
        request: None,
        query: Some(query.into()),
        response: None,
        kind: kind.to_owned(),
        graphql: None,
    }
}

/// What `/v1/audit` may be asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Question {
    action: Option<String>,
    actor: Option<String>,
    target: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    before: Option<i64>,
    limit: Option<u32>,
}

fn page_schema() -> Value {
    let moment = json!({"type": "string", "format": "date-time"});
    json!({"type": "object", "properties": {
        "action": {"type": "string", "description": "only this action; `*` stands for anything: `family.*`"},
        "actor": {"type": "string", "description": "only what this one did"},
        "target": {"type": "string", "description": "only what was done to this"},
        "since": moment, "until": moment,
        "before": {"type": "integer", "description": "`next` of the page before"},
        "limit": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100},
    }})
}

/// What `/v1/audit/export` may be asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Window {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

fn window_schema() -> Value {
    let moment = json!({"type": "string", "format": "date-time"});
    json!({"type": "object", "properties": {"since": moment, "until": moment}})
}

fn read<T: for<'de> Deserialize<'de>>(request: &Admitted) -> Result<T, Problem> {
    serde_urlencoded::from_str(request.parts.uri.query().unwrap_or_default())
        .map_err(|error| Problem::bad_request("QUERY_INVALID", format!("query string: {error}")))
}

/// The caller's family; the access rule has seen to it that there is one.
fn family_of(request: &Admitted) -> Result<Uuid, Problem> {
    let principal = request.principal.as_ref();
    principal
        .and_then(|principal| principal.family_id)
        .ok_or_else(Problem::forbidden)
}

fn actor_of(request: &Admitted) -> Option<String> {
    request
        .principal
        .as_ref()
        .map(|principal| principal.subject.to_string())
}

fn away(error: &dyn std::fmt::Display) -> Problem {
    warn!(%error, "cannot read the audit log");
    Problem::unavailable(
        "DATABASE_UNAVAILABLE",
        "the database does not answer: try again",
        RETRY_AFTER,
    )
}

struct Page(Pool);

impl Target for Page {
    fn call(&self, request: Admitted) -> BoxFuture<'static, Response<Body>> {
        let pool = self.0.clone();
        Box::pin(async move {
            match page(&pool, &request).await {
                Ok(document) => data(&document),
                Err(problem) => problem.into_response(),
            }
        })
    }
}

async fn page(pool: &Pool, request: &Admitted) -> Result<Value, Problem> {
    let question: Question = read(request)?;
    let limit = question.limit.unwrap_or(100);
    if !(1..=PAGE_MAX).contains(&limit) {
        let message = format!("query string: limit {limit}: from 1 to {PAGE_MAX}");
        return Err(Problem::bad_request("QUERY_INVALID", message));
    }
    let filter = Filter {
        action: question.action,
        actor: question.actor,
        target: question.target,
        since: question.since,
        until: question.until,
        before: question.before,
        limit,
        ..Filter::of_family(family_of(request)?)
    };
    let client = pool.get().await.map_err(|error| away(&error))?;
    let entries = tail(&**client, &filter)
        .await
        .map_err(|error| away(&error))?;
    // A full page may have been the last one; the next is empty then.
    let is_full = entries.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = entries
        .last()
        .filter(|_| is_full)
        .map(|entry| entry.sequence);
    Ok(json!({"entries": entries, "next": next}))
}

fn data(document: &Value) -> Response<Body> {
    let text = serde_json::to_vec(&json!({"data": document})).expect("JSON values can be written");
    let mut response = Response::new(Body::from(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct Export(Pool);

impl Target for Export {
    fn call(&self, request: Admitted) -> BoxFuture<'static, Response<Body>> {
        let pool = self.0.clone();
        Box::pin(async move {
            match export(&pool, &request).await {
                Ok(body) => file(body),
                Err(problem) => problem.into_response(),
            }
        })
    }
}

/// The entry about the export comes first, so the file tells of itself, and there is no file of which nobody knows.
async fn export(pool: &Pool, request: &Admitted) -> Result<Body, Problem> {
    let window: Window = read(request)?;
    let family = family_of(request)?;
    let entry = Entry {
        family_id: Some(family),
        actor: actor_of(request),
        ..Entry::new("audit.exported", family.to_string())
    };
    {
        let client = pool.get().await.map_err(|error| away(&error))?;
        append(&**client, &entry)
            .await
            .map_err(|error| away(&error))?;
    }
    let (pool, family) = (pool.clone(), family.to_string());
    let window = (window.since, window.until);
    // When a part fails the connection breaks off, so nobody takes half of it for the whole.
    let parts = stream::try_unfold(Some(0), move |after| {
        let (pool, family) = (pool.clone(), family.clone());
        async move {
            let Some(after) = after else {
                return Ok::<_, BoxError>(None);
            };
            let client = pool.get().await?;
            let (lines, next) = export::part(&**client, &family, window, after).await?;
            Ok(Some((Frame::data(lines), next)))
        }
    });
    Ok(Body::stream(StreamBody::new(parts)))
}

fn file(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/jsonl; charset=utf-8"),
    );
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"audit.jsonl\""),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
