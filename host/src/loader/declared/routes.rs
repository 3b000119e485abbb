//! Routes: each can be matched, each says who may call, no two of them mean the same requests.

use std::collections::{HashMap, HashSet};

use matchit::{InsertError, Router};

use crate::hasura::action;
use crate::loader::refusal::{ManifestFault, one_line};
use crate::plugin::manifest::{Access, Route};
use crate::policy::Policy;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const KINDS: [&str; 5] = ["json", "stream", "sse", "websocket", "raw"];

/// Longest path pattern in bytes.
const PATH_BYTES_MAX: usize = 512;

pub(super) fn admit(routes: &[Route]) -> Result<(), ManifestFault> {
    let mut routers: HashMap<&str, Router<()>> = HashMap::new();
    let mut fields = HashSet::new();
    for route in routes {
        well_formed(route)?;
        has_callers(route)?;
        is_field(route, &mut fields)?;
        let router = routers.entry(&route.method).or_default();
        router
            .insert(&route.path, ())
            .map_err(|error| clash(route, error))?;
    }
    Ok(())
}

fn well_formed(route: &Route) -> Result<(), ManifestFault> {
    let refuse = |reason: String| {
        Err(ManifestFault::Route {
            route: shown(route),
            reason,
        })
    };
    if !METHODS.contains(&route.method.as_str()) {
        return refuse(format!("its method is none of {}", METHODS.join(" ")));
    }
    if !KINDS.contains(&route.kind.as_str()) {
        return refuse(format!(
            "its kind {:?} is none of {}",
            one_line(&route.kind),
            KINDS.join(" ")
        ));
    }
    let path = route.path.as_str();
    let plain = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'%'));
    if !path.starts_with('/') || !plain || path.len() > PATH_BYTES_MAX {
        return refuse(format!(
            "a path starts with / and has up to {PATH_BYTES_MAX} visible characters without ? # % \\"
        ));
    }
    // Requests are normalised before they are matched: such a route would never be reached.
    if path
        .split('/')
        .skip(1)
        .any(|segment| matches!(segment, "." | ".."))
        || path.contains("//")
    {
        return refuse("a path has no empty, . or .. segments".to_owned());
    }
    Ok(())
}

fn has_callers(route: &Route) -> Result<(), ManifestFault> {
    let nobody = match &route.access {
        Access::Roles(roles) => roles.is_empty(),
        Access::Action(action) => return is_known(route, action),
        Access::Service(scope) => scope.trim().is_empty(),
        Access::Public | Access::Authenticated | Access::Operator => false,
    };
    if nobody {
        return Err(ManifestFault::NoAccess(shown(route)));
    }
    Ok(())
}

/// The roles behind an action are said by the policy; one that it does not have would close the route to everybody.
fn is_known(route: &Route, action: &str) -> Result<(), ManifestFault> {
    let policy = Policy::embedded();
    if policy.action(action).is_some() {
        return Ok(());
    }
    Err(ManifestFault::Action {
        route: shown(route),
        action: one_line(action),
        near: policy.near(action).join(", "),
    })
}

/// Whether GraphQL can reach it as it says, under a name that no other route of the plugin has.
fn is_field<'a>(route: &'a Route, fields: &mut HashSet<&'a str>) -> Result<(), ManifestFault> {
    action::admit(route).map_err(|reason| ManifestFault::Route {
        route: shown(route),
        reason: one_line(&reason),
    })?;
    match &route.graphql {
        Some(name) if !fields.insert(name) => Err(ManifestFault::Twice {
            kind: "field of GraphQL",
            name: one_line(name),
        }),
        _ => Ok(()),
    }
}

fn clash(route: &Route, error: InsertError) -> ManifestFault {
    match error {
        InsertError::Conflict { with } => ManifestFault::SameRoute {
            first: one_line(&format!("{} {with}", route.method)),
            second: shown(route),
        },
        other => ManifestFault::Route {
            route: shown(route),
            reason: one_line(&other.to_string()),
        },
    }
}

fn shown(route: &Route) -> String {
    one_line(&format!("{} {}", route.method, route.path))
}
