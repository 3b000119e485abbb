//! What only one plugin can have: a route, a provided capability, a capability of the host that is not shared.

use std::collections::HashMap;

use matchit::{InsertError, Router};

use super::{Candidate, OrderRefusal};
use crate::plugin::manifest::is_exclusive;

/// The first plugin, in order of precedence, that claims what an earlier one has.
pub(super) fn first(candidates: &[Candidate<'_>]) -> Option<(String, OrderRefusal)> {
    let mut claims = Claims::default();
    candidates.iter().find_map(|candidate| {
        let refusal = claims.add(candidate)?;
        Some((candidate.manifest.id.clone(), refusal))
    })
}

/// The same trees that requests are matched with, so their idea of a conflict is ours: `/x/{id}` and `/x/{name}` are
/// one route, `/x/{id}` and `/x/me` are two.
#[derive(Default)]
struct Claims<'a> {
    routers: HashMap<&'a str, Router<()>>,
    routes: HashMap<(&'a str, &'a str), &'a str>,
    capabilities: HashMap<&'a str, &'a str>,
    exclusive: HashMap<&'a str, &'a str>,
}

impl<'a> Claims<'a> {
    fn add(&mut self, candidate: &Candidate<'a>) -> Option<OrderRefusal> {
        self.add_routes(candidate)
            .or_else(|| self.add_capabilities(candidate))
            .or_else(|| self.add_exclusive(candidate))
    }

    fn add_routes(&mut self, candidate: &Candidate<'a>) -> Option<OrderRefusal> {
        let id = candidate.manifest.id.as_str();
        for route in &candidate.manifest.routes {
            let router = self.routers.entry(&route.method).or_default();
            match router.insert(&route.path, ()) {
                Err(InsertError::Conflict { with }) => {
                    return Some(self.clash(id, &route.method, &route.path, &with));
                }
                // A path that cannot be routed at all was refused with its own manifest.
                Ok(()) | Err(_) => _ = self.routes.insert((&route.method, &route.path), id),
            }
        }
        None
    }

    fn clash(&self, id: &str, method: &str, path: &str, held: &str) -> OrderRefusal {
        let holder = self.routes.get(&(method, held)).copied().unwrap_or(id);
        OrderRefusal::Route {
            id: id.to_owned(),
            route: format!("{method} {path}"),
            holder: holder.to_owned(),
            held: format!("{method} {held}"),
        }
    }

    fn add_exclusive(&mut self, candidate: &Candidate<'a>) -> Option<OrderRefusal> {
        let id = candidate.manifest.id.as_str();
        let asked = candidate.manifest.requires.capabilities.iter();
        for capability in asked.filter(|capability| is_exclusive(capability)) {
            if let Some(holder) = self.exclusive.insert(capability, id) {
                return Some(OrderRefusal::Exclusive {
                    id: id.to_owned(),
                    capability: capability.clone(),
                    holder: holder.to_owned(),
                });
            }
        }
        None
    }

    fn add_capabilities(&mut self, candidate: &Candidate<'a>) -> Option<OrderRefusal> {
        let id = candidate.manifest.id.as_str();
        for capability in &candidate.manifest.provides {
            if let Some(holder) = self.capabilities.insert(capability, id) {
                return Some(OrderRefusal::Provides {
                    id: id.to_owned(),
                    capability: capability.clone(),
                    holder: holder.to_owned(),
                });
            }
        }
        None
    }
}
