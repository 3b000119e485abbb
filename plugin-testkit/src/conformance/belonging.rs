//! Things of a family, which no other family may reach.

use std::{future::Future, pin::Pin};

use nself::plugin::manifest::Route;
use uuid::Uuid;

use crate::host::TestHost;

/// What makes them.
pub type Maker = for<'a> fn(&'a TestHost, Uuid) -> Making<'a>;

/// They, once they are made.
pub type Making<'a> = Pin<Box<dyn Future<Output = Vec<Belonging>> + Send + 'a>>;

/// One thing of a family.
#[derive(Debug, Clone)]
pub struct Belonging {
    path: String,
    ids: Vec<String>,
}

impl Belonging {
    /// The thing that `path` is about, as the manifest writes it, with what stands in the places for parameters:
    /// `("/v1/runs/{id}", &[id])`. Routes that begin with the path, and have no other parameters, are about it too.
    pub fn new(path: &str, ids: &[impl ToString]) -> Self {
        Self {
            path: path.to_owned(),
            ids: ids.iter().map(ToString::to_string).collect(),
        }
    }

    pub(super) fn ids(&self) -> &[String] {
        &self.ids
    }

    pub(super) fn is_about(&self, route: &Route) -> bool {
        let rest = route.path.strip_prefix(&*self.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            && route.path.matches('{').count() == self.ids.len()
    }
}
