//! MailHog's HTTP API (v1 and v2) over the caught mails, for test helpers that speak it. Names and shapes are MailHog's own.

use std::collections::BTreeMap;

use nself_plugin_api::{
    http::{HeaderValue, StatusCode, header},
    jiff::Timestamp,
    prelude::*,
    serde_json,
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use crate::{
    Mail,
    catcher::{gate::Visitor, mime},
    store::caught::{self, Caught, Search},
};

/// Mails on one page unless stated, and at most.
const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 250;
/// Mails that v1 lists, which knows no pages.
const LIST_MAX: i64 = 1_000;

/// Which page.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Window {
    /// How many mails to leave out.
    pub start: Option<i64>,
    /// How many mails to show, 50 unless stated, at most 250.
    pub limit: Option<i64>,
}

/// What to look for.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Wanted {
    /// Where: `from`, `to` or `containing`.
    pub kind: String,
    /// What.
    pub query: String,
    /// How many mails to leave out.
    pub start: Option<i64>,
    /// How many mails to show, 50 unless stated, at most 250.
    pub limit: Option<i64>,
}

/// A page of mails.
#[derive(Serialize)]
struct Messages {
    total: i64,
    count: usize,
    start: i64,
    items: Vec<Message>,
}

/// A mail.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(rename = "ID")]
    id: String,
    from: PathOf,
    to: Vec<PathOf>,
    content: Content,
    created: Timestamp,
    #[serde(rename = "MIME")]
    mime: Option<Parts>,
    raw: Raw,
}

/// An address of the envelope.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PathOf {
    relays: Option<Vec<String>>,
    mailbox: String,
    domain: String,
    params: String,
}

/// A mail, or a part of one.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    size: usize,
    #[serde(rename = "MIME")]
    mime: Option<Parts>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parts {
    parts: Vec<Content>,
}

/// The dialogue that brought the mail.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    from: String,
    to: Vec<String>,
    data: String,
    helo: String,
}

impl PathOf {
    fn new(address: &str) -> Self {
        let (mailbox, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        Self {
            relays: None,
            mailbox: mailbox.to_owned(),
            domain: domain.to_owned(),
            params: String::new(),
        }
    }
}

impl From<mime::Part> for Content {
    fn from(part: mime::Part) -> Self {
        Self {
            headers: part.headers,
            size: part.size,
            body: part.body,
            mime: part.parts.map(Parts::from),
        }
    }
}

impl From<Vec<mime::Part>> for Parts {
    fn from(parts: Vec<mime::Part>) -> Self {
        Self {
            parts: parts.into_iter().map(Content::from).collect(),
        }
    }
}

impl From<&Caught> for Message {
    fn from(caught: &Caught) -> Self {
        let mut tree = mime::Mime::parse(&caught.data).tree();
        let parts = tree.parts.take();
        let return_path = format!("<{}>", caught.from);
        let headers = &mut tree.headers;
        headers.insert("Return-Path".to_owned(), vec![return_path]);
        Self {
            id: caught.id.to_string(),
            from: PathOf::new(&caught.from),
            to: caught.to.iter().map(|to| PathOf::new(to)).collect(),
            content: tree.into(),
            created: caught.at,
            mime: parts.map(Parts::from),
            raw: Raw {
                from: caught.from.clone(),
                to: caught.to.clone(),
                data: String::from_utf8_lossy(&caught.data).into_owned(),
                helo: caught.helo.clone(),
            },
        }
    }
}

pub(crate) async fn list_v2(
    cx: Cx<Mail>,
    visitor: Visitor,
    Query(window): Query<Window>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    page(&cx, Search::All, window).await
}

pub(crate) async fn search(
    cx: Cx<Mail>,
    visitor: Visitor,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    let query = wanted.query.replace('\0', "");
    let search = match wanted.kind.as_str() {
        "from" => Search::From(&query),
        "to" => Search::To(&query),
        "containing" => Search::Containing(&query),
        _ => {
            return Err(Error::bad_request(
                "QUERY_INVALID",
                "kind: expected from, to or containing",
            ));
        }
    };
    let (start, limit) = (wanted.start, wanted.limit);
    page(&cx, search, Window { start, limit }).await
}

async fn page(cx: &Cx<Mail>, search: Search<'_>, window: Window) -> Result<Response> {
    let start = window.start.unwrap_or(0).max(0);
    let limit = window.limit.unwrap_or(LIMIT).clamp(0, LIMIT_MAX);
    let page = caught::page(&cx.db(), search, start, limit).await?;
    json(&Messages {
        total: page.total,
        count: page.items.len(),
        start,
        items: page.items.iter().map(Message::from).collect(),
    })
}

pub(crate) async fn list_v1(cx: Cx<Mail>, visitor: Visitor) -> Result<Response> {
    visitor.admit(&cx)?;
    let page = caught::page(&cx.db(), Search::All, 0, LIST_MAX).await?;
    let items: Vec<Message> = page.items.iter().map(Message::from).collect();
    json(&items)
}

pub(crate) async fn show(
    cx: Cx<Mail>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    json(&Message::from(&find(&cx, &id).await?))
}

pub(crate) async fn download(
    cx: Cx<Mail>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    let caught = find(&cx, &id).await?;
    let name = format!("attachment; filename=\"{}.eml\"", caught.id);
    let name = HeaderValue::try_from(name).map_err(Error::internal)?;
    Ok(Response::new(StatusCode::OK, caught.data)
        .content_type("message/rfc822")
        .header(header::CONTENT_DISPOSITION, name))
}

pub(crate) async fn remove(
    cx: Cx<Mail>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    let found = match id.parse() {
        Ok(id) => caught::remove(&cx.db(), id).await?,
        Err(_) => false,
    };
    if found { done() } else { Err(missing()) }
}

pub(crate) async fn clear(cx: Cx<Mail>, visitor: Visitor) -> Result<Response> {
    visitor.admit(&cx)?;
    caught::clear(&cx.db()).await?;
    done()
}

/// The caught mail of that id, which is a UUID in text.
pub(super) async fn find(cx: &Cx<Mail>, id: &str) -> Result<Caught> {
    let id: Uuid = id.parse().map_err(|_| missing())?;
    caught::find(&cx.db(), id).await?.ok_or_else(missing)
}

fn missing() -> Error {
    Error::not_found("MAIL_NOT_FOUND", "there is no such mail")
}

/// MailHog's answer to a deletion: 200 with nothing in it.
#[expect(clippy::unnecessary_wraps, reason = "it is what the handlers return")]
fn done() -> Result<Response> {
    Ok(Response::new(StatusCode::OK, "").content_type("text/plain"))
}

fn json(answer: &impl Serialize) -> Result<Response> {
    let bytes = serde_json::to_vec(answer).map_err(Error::internal)?;
    Ok(Response::new(StatusCode::OK, bytes).content_type("application/json"))
}
