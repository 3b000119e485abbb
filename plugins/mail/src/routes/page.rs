//! The catcher's page: written on the server, with a few lines of script to delete and to see new mails.
//!
//! HTML of a mail is shown in a frame whose content may run nothing, send nothing and reach nothing of the page around it.

use std::sync::LazyLock;

use minijinja::{Environment, context, value::Serde};
use nself_plugin_api::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    prelude::*,
};
use serde::{Deserialize, Serialize};

use super::mailhog;
use crate::{
    Mail,
    catcher::{gate::Visitor, mime::Mime},
    store::caught::{self, Caught, Search},
};

/// Mails on one page.
const PAGE: i64 = 50;

/// Nothing but what this plugin serves itself.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// No script, no form; pictures and styles are the mail's own. Its links open in a page of their own.
const MAIL_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; \
    img-src data: http: https:; frame-ancestors 'self'";

const ASSETS: &[(&str, &str, &str)] = &[
    (
        "catcher.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/catcher.css"),
    ),
    (
        "catcher.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/catcher.js"),
    ),
];

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    for (name, text) in [
        ("frame.html", include_str!("../../assets/frame.html")),
        ("list.html", include_str!("../../assets/list.html")),
        ("mail.html", include_str!("../../assets/mail.html")),
    ] {
        let added = pages.add_template(name, text);
        added.expect("the pages are part of the plugin, and a test renders them");
    }
    pages
});

/// Which mails.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Asked {
    /// Where to look: `from`, `to` or `containing`.
    pub kind: Option<String>,
    /// What to look for.
    pub query: Option<String>,
    /// How many mails to leave out.
    pub start: Option<i64>,
}

/// How a mail is looked at.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Look {
    /// `html`, `text` or `source`; the first that there is.
    pub view: Option<String>,
}

/// A mail in the list.
#[derive(Serialize)]
struct Line {
    id: String,
    from: String,
    to: String,
    subject: String,
    at: String,
}

impl From<&Caught> for Line {
    fn from(caught: &Caught) -> Self {
        let subject = Some(caught.subject.clone()).filter(|subject| !subject.is_empty());
        Self {
            id: caught.id.to_string(),
            from: caught.from.clone(),
            to: caught.to.join(", "),
            subject: subject.unwrap_or_else(|| "(no subject)".to_owned()),
            at: caught.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        }
    }
}

pub(crate) async fn front(cx: Cx<Mail>, visitor: Visitor) -> Result<Response> {
    visitor.admit(&cx)?;
    let there = HeaderValue::from_static("/mail/catcher");
    Ok(Response::new(StatusCode::TEMPORARY_REDIRECT, "").header(header::LOCATION, there))
}

pub(crate) async fn list(
    cx: Cx<Mail>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    let query = asked.query.unwrap_or_default().replace('\0', "");
    let kind = asked.kind.unwrap_or_default();
    let search = match (kind.as_str(), query.as_str()) {
        (_, "") => Search::All,
        ("from", query) => Search::From(query),
        ("to", query) => Search::To(query),
        (_, query) => Search::Containing(query),
    };
    let start = asked.start.unwrap_or(0).max(0);
    let page = caught::page(&cx.db(), search, start, PAGE).await?;
    let lines: Vec<Line> = page.items.iter().map(Line::from).collect();
    let end = start.saturating_add(i64::try_from(lines.len()).unwrap_or(0));
    let newer = (start > 0).then(|| (start - PAGE).max(0));
    let older = (end < page.total).then_some(end);
    let smtp_port = cx.plugin().catcher.port();
    render(
        "list.html",
        context! { mails => Serde(&lines), total => page.total, first => start.saturating_add(1), last => end, newer, older, kind, query, smtp_port },
    )
}

pub(crate) async fn show(
    cx: Cx<Mail>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(look): Query<Look>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    let caught = mailhog::find(&cx, &id).await?;
    let mime = Mime::parse(&caught.data);
    let (text, has_html) = (mime.text(), mime.html().is_some());
    let first = match (has_html, &text) {
        (true, _) => "html",
        (false, Some(_)) => "text",
        (false, None) => "source",
    };
    let view = look.view.as_deref().unwrap_or(first);
    let source = (view == "source").then(|| String::from_utf8_lossy(&caught.data));
    render(
        "mail.html",
        context! {
            mail => Serde(Line::from(&caught)), from => mime.header("From"), to => mime.header("To"),
            attachments => mime.attachments(), view, has_html, text, source,
        },
    )
}

pub(crate) async fn html(
    cx: Cx<Mail>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    let caught = mailhog::find(&cx, &id).await?;
    let mime = Mime::parse(&caught.data);
    let html = mime.html().unwrap_or_default();
    let answer = guarded(with_links_outside(&html), MAIL_POLICY);
    // The page shows it in a frame, which the host would forbid.
    let framing = HeaderValue::from_static("SAMEORIGIN");
    Ok(answer.header(header::X_FRAME_OPTIONS, framing))
}

pub(crate) async fn asset(
    cx: Cx<Mail>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response> {
    visitor.admit(&cx)?;
    let asset = ASSETS.iter().find(|(known, ..)| *known == name);
    let Some((_, kind, text)) = asset else {
        return Err(Error::not_found("NOT_FOUND", "nothing is here"));
    };
    Ok(Response::new(StatusCode::OK, *text)
        .content_type(kind)
        .header(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
}

/// Lets links open beside the page: in the frame they would lead to a page that may do nothing.
fn with_links_outside(html: &str) -> String {
    const BASE: &str = "<base target=\"_blank\">";
    let lower = html.to_ascii_lowercase();
    let after_head = lower
        .find("<head")
        .and_then(|head| Some(head + lower[head..].find('>')? + 1));
    let at = after_head.unwrap_or(0);
    format!("{}{BASE}{}", &html[..at], &html[at..])
}

fn render(name: &str, context: minijinja::Value) -> Result<Response> {
    let page = PAGES
        .get_template(name)
        .and_then(|page| page.render(context))
        .map_err(Error::internal)?;
    Ok(guarded(page, PAGE_POLICY))
}

fn guarded(html: String, policy: &'static str) -> Response {
    Response::new(StatusCode::OK, html)
        .content_type("text/html; charset=utf-8")
        .header(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        )
        .header(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        )
        .header(
            HeaderName::from_static("referrer-policy"),
            HeaderValue::from_static("no-referrer"),
        )
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_mail_open_outside_of_the_frame() {
        let head = with_links_outside("<!doctype html><HTML><Head lang=en><p>ü");
        assert_eq!(
            head,
            "<!doctype html><HTML><Head lang=en><base target=\"_blank\"><p>ü"
        );
        assert_eq!(with_links_outside("<p>a"), "<base target=\"_blank\"><p>a");
    }

    #[test]
    fn the_pages_render() {
        let mail = Line {
            id: "1".to_owned(),
            from: "<b>".to_owned(),
            to: String::new(),
            subject: "<script>".to_owned(),
            at: String::new(),
        };
        let list = context! { mails => Serde([&mail]), total => 1, first => 1, last => 1, kind => "", query => "\"" };
        for (name, context) in [
            ("list.html", list),
            (
                "mail.html",
                context! { mail => Serde(&mail), view => "text", text => "<i>", attachments => Vec::<String>::new() },
            ),
        ] {
            let page = PAGES.get_template(name).expect("it is there");
            let page = page.render(context).expect("it renders");
            assert!(page.contains("&lt;script&gt;"), "{page}");
            assert!(!page.contains("<script>"), "{page}");
        }
    }
}
