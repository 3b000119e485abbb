//! A browser: it keeps cookies per site and can be watched at each redirect.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use nself_plugin_testkit::{TestHost, within};

/// Where this installation says that it is.
pub(super) const HOME: &str = "http://localhost:3000";

pub(super) struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Where this installation really is.
    home: String,
    cookies: BTreeMap<(String, String), String>,
    /// Who sits before it, for the foreign provider; nobody says no.
    pub(super) person: Option<String>,
}

/// An answer, with where it leads.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    /// Absolute, where there is one.
    pub(super) leads_to: Option<String>,
}

impl Page {
    pub(super) fn leads_to(&self) -> &str {
        let leads_to = self.leads_to.as_deref();
        leads_to.unwrap_or_else(|| panic!("{} leads nowhere: {}", self.status, self.text))
    }

    pub(super) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Browser {
    pub(super) fn of(host: &TestHost, person: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            home: format!("http://{}", host.address()),
            cookies: BTreeMap::new(),
            person: (!person.is_empty()).then(|| person.to_owned()),
        }
    }

    pub(super) async fn open(&mut self, address: &str) -> Page {
        self.send(Method::GET, address, String::new()).await
    }

    /// Sends a form.
    pub(super) async fn post(&mut self, address: &str, form: String) -> Page {
        self.send(Method::POST, address, form).await
    }

    async fn send(&mut self, method: Method, address: &str, form: String) -> Page {
        let site = site(address);
        let really = match address.strip_prefix(HOME) {
            Some(path) => format!("{}{path}", self.home),
            None => address.to_owned(),
        };
        let uri: Uri = really.parse().expect("an address");
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|((of, _), _)| *of == site)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/x-www-form-urlencoded");
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(person) = &self.person {
            request = request.header("x-login", person);
        }
        let request = request.body(Full::from(form)).expect("a request");
        let answer = within(address, self.client.request(request)).await;
        let (head, body) = answer.expect("an answer").into_parts();
        let body = within(address, body.collect())
            .await
            .expect("a whole answer");
        self.keep(&site, &head.headers);
        let leads_to = head.headers.get("location").map(|location| {
            let location = location.to_str().expect("an address");
            match location.strip_prefix('/') {
                Some(path) => format!("{site}/{path}"),
                None => location.to_owned(),
            }
        });
        Page {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            leads_to,
        }
    }

    fn keep(&mut self, site: &str, headers: &HeaderMap) {
        for cookie in headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("a cookie is ASCII");
            let (pair, _) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            self.cookies
                .insert((site.to_owned(), name.to_owned()), value.to_owned());
        }
    }

    /// Follows redirects until one leads to an address that begins so; that address.
    pub(super) async fn follow_to(&mut self, address: &str, until: &str) -> String {
        let mut address = address.to_owned();
        for _ in 0..10 {
            if address.starts_with(until) {
                return address;
            }
            let page = self.open(&address).await;
            page.leads_to().clone_into(&mut address);
        }
        panic!("{address} does not lead to {until}");
    }
}

/// Scheme, host and port.
fn site(address: &str) -> String {
    address.split('/').take(3).collect::<Vec<_>>().join("/")
}

/// A parameter of an address.
pub(super) fn parameter(address: &str, name: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    let found = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)?;
    Some(found.1.replace('+', " "))
}

/// The address with another value of a parameter, or without it.
pub(super) fn changed(address: &str, name: &str, value: Option<&str>) -> String {
    let (page, query) = address.split_once('?').expect("there is a query");
    let kept = query
        .split('&')
        .filter(|pair| !pair.starts_with(&format!("{name}=")));
    let added = value.map(|value| format!("{name}={value}"));
    let query: Vec<String> = kept.map(str::to_owned).chain(added).collect();
    format!("{page}?{}", query.join("&"))
}
