//! Which web pages may connect. A browser says which page asks; a page that is nobody's here gets nothing, whatever token it has
//! got hold of. Whoever is no browser says no origin, and is judged by the token alone.

use nself_plugin_api::http::{HeaderMap, Uri, header::ORIGIN};

use crate::error::StreamError;

/// The origins that may.
#[derive(Debug)]
pub(crate) struct Origins {
    listed: Vec<String>,
    is_any: bool,
}

impl Origins {
    /// The host's own address, and those of the configuration; `*` is all of them.
    ///
    /// # Errors
    ///
    /// When one of the configuration's is no origin.
    pub(crate) fn new(public_url: &str, configured: &[String]) -> Result<Self, StreamError> {
        let mut listed: Vec<String> = read(public_url).into_iter().collect();
        for origin in configured.iter().filter(|origin| *origin != "*") {
            let read = read(origin).filter(|_| origin.matches('/').count() == 2);
            let origin = origin.clone();
            listed.push(read.ok_or(StreamError::OriginUnreadable { origin })?);
        }
        Ok(Self {
            listed,
            is_any: configured.iter().any(|origin| origin == "*"),
        })
    }

    /// The same for what a browser does by itself: a cookie comes with the requests of whatever page, so it counts only for pages that are
    /// known by name. Who changes something has to say which page asks.
    ///
    /// # Errors
    ///
    /// [`StreamError::Origin`].
    pub(crate) fn check_cookie(
        &self,
        headers: &HeaderMap,
        is_to_change: bool,
    ) -> Result<(), StreamError> {
        let may = match headers.get(ORIGIN) {
            None => !is_to_change,
            Some(origin) => {
                let origin = origin.to_str().ok().and_then(read);
                origin.is_some_and(|origin| self.listed.contains(&origin))
            }
        };
        may.then_some(()).ok_or(StreamError::Origin)
    }

    /// Lets a request through, or not.
    ///
    /// # Errors
    ///
    /// [`StreamError::Origin`] for a page that may not connect.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), StreamError> {
        let Some(origin) = headers.get(ORIGIN) else {
            return Ok(());
        };
        let origin = origin.to_str().ok().and_then(read);
        let is_known = origin.is_some_and(|origin| self.listed.contains(&origin));
        if self.is_any || is_known {
            Ok(())
        } else {
            Err(StreamError::Origin)
        }
    }
}

/// Scheme, host and port of an address, in the one way in which browsers write them.
fn read(address: &str) -> Option<String> {
    let address: Uri = address.parse().ok()?;
    let scheme = address.scheme_str()?.to_ascii_lowercase();
    let host = address.host()?.to_ascii_lowercase();
    let usual = match &*scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some(match address.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(configured: &[&str], origin: Option<&str>, may: bool) {
        let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
        let origins = Origins::new("https://Home.Example.org/app/", &configured);
        let origins = origins.expect("they are origins");
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).expect("a header"));
        }
        assert_eq!(
            origins.check(&headers).is_ok(),
            may,
            "{configured:?} {origin:?}"
        );
    }

    #[test]
    fn only_pages_of_the_host_and_those_that_are_listed_connect() {
        let listed = ["https://app.example.com", "http://localhost:5173"];
        for (origin, may) in [
            ("https://home.example.org", true),
            ("https://home.example.org:443", true),
            ("https://app.example.com", true),
            ("http://localhost:5173", true),
            ("http://home.example.org", false),
            ("https://home.example.org:8443", false),
            ("https://home.example.org.evil.example", false),
            ("https://evil.example/home.example.org", false),
            ("http://localhost", false),
            ("null", false),
            ("", false),
            ("file://", false),
        ] {
            check(&listed, Some(origin), may);
        }
        check(&listed, None, true);
        check(&["*"], Some("https://anybody.example"), true);
        check(&["*"], Some("null"), true);
    }

    #[test]
    fn what_is_no_origin_is_not_taken_for_one() {
        for bad in [
            "app.example.com",
            "https://app.example.com/x",
            "ftp://a",
            "https://*.a.org/",
        ] {
            assert!(Origins::new("", &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
