//! What a plugin asks for beyond what it was granted, in words for the operator.

use crate::plugin::manifest::{Families, Requires};

/// One phrase per right in `asked` that `granted` does not contain; empty when everything is granted.
///
/// Patterns are compared as text: `*` does not contain `api.example.org`. A plugin that asks for something else, asks.
pub fn missing(asked: &Requires, granted: &Requires) -> Vec<String> {
    let mut missing = Vec::new();
    capabilities(asked, granted, &mut missing);
    tables(asked, granted, &mut missing);
    absent(
        "outgoing calls to",
        &asked.egress,
        &granted.egress,
        &mut missing,
    );
    absent("secret", &asked.secrets, &granted.secrets, &mut missing);
    absent("port", &asked.ports, &granted.ports, &mut missing);
    absent("events", &asked.emits, &granted.emits, &mut missing);
    if !asked.families.is_active() && asked.families != granted.families {
        missing.push(Families::ALL_SHOWN.to_owned());
    }
    missing
}

/// One right, whether the plugin insists on it or not: what it no longer needs, or needs now, was granted before.
fn capabilities(asked: &Requires, granted: &Requires, missing: &mut Vec<String>) {
    let lists = [
        (&asked.capabilities, ""),
        (&asked.optional, " where it is provided"),
    ];
    for (ids, when) in lists {
        let is_granted = |id: &&String| granted.usable().any(|one| one == *id);
        let beyond = ids.iter().filter(|id| !is_granted(id));
        missing.extend(beyond.map(|id| format!("capability {id}{when}")));
    }
}

fn absent<T: PartialEq + ToString>(
    kind: &str,
    asked: &[T],
    granted: &[T],
    missing: &mut Vec<String>,
) {
    let beyond = asked.iter().filter(|one| !granted.contains(one));
    missing.extend(beyond.map(|one| format!("{kind} {}", one.to_string())));
}

fn tables(asked: &Requires, granted: &Requires, missing: &mut Vec<String>) {
    for wish in &asked.tables {
        let has = |right: &String| {
            granted
                .tables
                .iter()
                .any(|grant| grant.table == wish.table && grant.rights.contains(right))
        };
        let rights: Vec<&str> = wish
            .rights
            .iter()
            .filter(|right| !has(right))
            .map(String::as_str)
            .collect();
        if !rights.is_empty() {
            missing.push(format!("{} on {}", rights.join(" "), wish.table));
        }
    }
}
