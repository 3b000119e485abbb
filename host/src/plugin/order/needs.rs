//! Who needs whom: dependencies by id, and capabilities through whoever provides them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, OrderRefusal, Plan};

/// Prefix of capabilities that the host itself provides.
const HOST_CAPABILITY: &str = "nself.";

/// The ids that a plugin needs and that are among `others`, itself excluded.
pub(super) fn needed_ids<'a>(
    candidate: &Candidate<'a>,
    others: &'a [Candidate<'a>],
) -> impl Iterator<Item = &'a str> {
    let manifest = candidate.manifest;
    let depends = manifest
        .depends
        .iter()
        .map(|dependency| dependency.id.as_str());
    let wanted =
        plugin_capabilities(candidate).filter_map(|capability| provider(capability, others));
    let is_here = |id: &&str| others.iter().any(|other| other.manifest.id == *id);
    depends
        .filter(is_here)
        .chain(wanted)
        .filter(|id| *id != manifest.id)
}

fn plugin_capabilities<'a>(candidate: &Candidate<'a>) -> impl Iterator<Item = &'a str> {
    let required = candidate
        .manifest
        .requires
        .capabilities
        .iter()
        .map(String::as_str);
    required.filter(|capability| !capability.starts_with(HOST_CAPABILITY))
}

/// The first that offers it: the same that keeps it when two do.
fn provider<'a>(capability: &str, others: &'a [Candidate<'a>]) -> Option<&'a str> {
    let offers = |other: &&Candidate<'_>| {
        other
            .manifest
            .provides
            .iter()
            .any(|offered| offered == capability)
    };
    others
        .iter()
        .find(offers)
        .map(|other| other.manifest.id.as_str())
}

/// The first need of a plugin that nobody alive meets.
pub(super) fn unmet(candidate: &Candidate<'_>, plan: &Plan<'_>) -> Option<(String, OrderRefusal)> {
    let refusal =
        unmet_dependency(candidate, plan).or_else(|| unmet_capability(candidate, plan))?;
    Some((candidate.manifest.id.clone(), refusal))
}

fn unmet_dependency(candidate: &Candidate<'_>, plan: &Plan<'_>) -> Option<OrderRefusal> {
    candidate.manifest.depends.iter().find_map(|wanted| {
        let (id, dependency) = (candidate.manifest.id.clone(), wanted.id.clone());
        let Some(found) = plan
            .alive
            .iter()
            .find(|other| other.manifest.id == wanted.id)
        else {
            return Some(match plan.reason(&wanted.id) {
                Some(reason) => OrderRefusal::Dependency {
                    id,
                    dependency,
                    reason,
                },
                None => OrderRefusal::Missing {
                    id,
                    dependency,
                    wanted: wanted.version.clone(),
                },
            });
        };
        let found = &found.manifest.version;
        (!wanted.version.matches(found)).then(|| OrderRefusal::Version {
            id,
            dependency,
            wanted: wanted.version.clone(),
            found: found.clone(),
        })
    })
}

fn unmet_capability(candidate: &Candidate<'_>, plan: &Plan<'_>) -> Option<OrderRefusal> {
    let missing = plugin_capabilities(candidate)
        .find(|capability| provider(capability, &plan.alive).is_none())?;
    let (id, capability) = (candidate.manifest.id.clone(), missing.to_owned());
    let lost = provider(missing, plan.candidates).map(str::to_owned);
    Some(
        match lost.and_then(|lost| Some((plan.reason(&lost)?, lost))) {
            Some((reason, dependency)) => OrderRefusal::Dependency {
                id,
                dependency,
                reason,
            },
            None => OrderRefusal::NoProvider { id, capability },
        },
    )
}

/// Edges from each plugin to those that it needs.
fn edges<'a>(candidates: &'a [Candidate<'a>]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let needed = |one: &Candidate<'a>| needed_ids(one, candidates).collect();
    candidates
        .iter()
        .map(|one| (one.manifest.id.as_str(), needed(one)))
        .collect()
}

/// Starting order; members of cycles, which `order` has refused before, are left out.
pub(super) fn start_order(candidates: &[Candidate<'_>]) -> Vec<String> {
    started(&edges(candidates))
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Repeatedly takes the first plugin by name whose needs have all been taken.
fn started<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    let is_next = |(id, needed): &(&&'a str, &BTreeSet<&str>), order: &[&str]| {
        !order.contains(*id) && needed.iter().all(|one| order.contains(one))
    };
    while let Some((id, _)) = edges.iter().find(|one| is_next(one, &order)) {
        order.push(id);
    }
    order
}

/// A refusal for each plugin that is on a cycle; those that merely need one of them follow as its dependents.
pub(super) fn cycles(candidates: &[Candidate<'_>]) -> Vec<(String, OrderRefusal)> {
    let edges = edges(candidates);
    let on_cycle = |id: &str| {
        let path = cycle_through(id, &edges)?;
        Some((
            id.to_owned(),
            OrderRefusal::Cycle {
                id: id.to_owned(),
                path,
            },
        ))
    };
    edges.keys().filter_map(|id| on_cycle(id)).collect()
}

/// The shortest way from `id` back to itself, told from its first name on, so that all its members tell the same.
fn cycle_through(id: &str, edges: &BTreeMap<&str, BTreeSet<&str>>) -> Option<Vec<String>> {
    let mut paths: Vec<Vec<&str>> = vec![vec![id]];
    let mut seen = BTreeSet::new();
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        for needed in path
            .last()
            .and_then(|last| edges.get(last))
            .into_iter()
            .flatten()
        {
            if *needed == id {
                return Some(rotated(path));
            }
            if seen.insert(*needed) {
                paths.push(path.iter().copied().chain([*needed]).collect());
            }
        }
    }
    None
}

fn rotated(mut path: Vec<&str>) -> Vec<String> {
    let first = path
        .iter()
        .enumerate()
        .min_by_key(|(_, id)| **id)
        .map_or(0, |(index, _)| index);
    path.rotate_left(first);
    let closing = path.first().copied();
    path.into_iter().chain(closing).map(str::to_owned).collect()
}
