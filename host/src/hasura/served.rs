//! Routes that the metadata can lead to: which of a host's routes an address means.

use matchit::Router;
use serde_json::Value;

use super::HOST;
use crate::plugin::manifest::{Access, Manifest};

/// A route of an enabled plugin.
#[derive(Debug, Clone)]
pub struct Served {
    /// Upper case.
    pub method: String,
    /// With its parameters.
    pub path: String,
    /// Who may call.
    pub access: Access,
}

/// Routes of enabled plugins.
#[derive(Debug, Clone, Default)]
pub struct Routes(Vec<Served>);

impl Routes {
    /// Adds those of a plugin.
    pub fn add(&mut self, manifest: &Manifest) {
        let routes = manifest.routes.iter().map(|route| Served {
            method: route.method.clone(),
            path: route.path.clone(),
            access: route.access.clone(),
        });
        self.0.extend(routes);
    }

    /// The route that answers a request to `path`, in which a `{{template}}` stands for anything without a slash.
    pub fn find(&self, method: &str, path: &str) -> Option<&Served> {
        let path = filled(path.split('?').next().unwrap_or_default());
        let mut router = Router::new();
        for route in self.0.iter().filter(|route| route.method == method) {
            // Two plugins that claim one route are refused where they are started.
            let _ = router.insert(&route.path, route);
        }
        router.at(&path).ok().map(|found| *found.value)
    }
}

/// The path on this host that an address names, if it is one of this host's.
pub fn own_path(address: &str) -> Option<&str> {
    address.strip_prefix(HOST)
}

/// The address that a webhook is called at, after what its transform makes of it.
pub fn address(webhook: &str, transform: &Value) -> String {
    match transform["url"].as_str() {
        Some(url) => url.replacen("{{$base_url}}", webhook, 1),
        None => webhook.to_owned(),
    }
}

/// A text with `~` for each template: no literal segment of a route is that.
fn filled(text: &str) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((_, after)) = after.split_once("}}") else {
            break;
        };
        whole.push_str(before);
        whole.push('~');
        rest = after;
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(all: &[(&str, &str)]) -> Routes {
        let served = |(method, path): &(&str, &str)| Served {
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            access: Access::Public,
        };
        Routes(all.iter().map(served).collect())
    }

    #[test]
    fn a_template_fits_where_a_parameter_is_and_nowhere_else() {
        let routes = routes(&[
            ("GET", "/a/{id}/b"),
            ("GET", "/a/c/b"),
            ("POST", "/a/{id}/d"),
        ]);
        let found = |method, path| routes.find(method, path).map(|route| route.path.clone());
        assert_eq!(
            found("GET", "/a/{{escapeUri($body.input.id)}}/b").as_deref(),
            Some("/a/{id}/b")
        );
        assert_eq!(found("GET", "/a/c/b?x={{y}}").as_deref(), Some("/a/c/b"));
        assert_eq!(found("GET", "/a/{{id}}/d"), None, "another method's");
        assert_eq!(found("POST", "/{{x}}/1/d"), None, "no parameter is there");
        assert_eq!(own_path("{{NSELF_URL}}/a"), Some("/a"));
        assert_eq!(own_path("https://elsewhere.example/a"), None);
        let url = serde_json::json!({"url": "{{$base_url}}/b"});
        assert_eq!(address("{{NSELF_URL}}/a", &url), "{{NSELF_URL}}/a/b");
    }
}
