//! Who may depend on whom: `plugins/* -> plugin-api <- host <- plugin-testkit`, and nothing else.

use crate::house::Crate;

use super::{Complaint, Rule};

const API: &str = "nself-plugin-api";
const MACROS: &str = "nself-plugin-macros";
const TESTKIT: &str = "nself-plugin-testkit";
const HOST: &str = "nself";
/// Plugins that exist only for the testkit's own tests.
const FIXTURES: [&str; 6] = [
    "nself-plugin-fixture",
    "nself-plugin-fixture-author",
    "nself-plugin-fixture-caller",
    "nself-plugin-fixture-hooks",
    "nself-plugin-fixture-ledger",
    "nself-plugin-bad",
];

/// Complains about every dependency inside the house that the layers do not allow.
pub(super) fn check(crates: &[Crate]) -> Vec<Complaint> {
    crates.iter().flat_map(check_crate).collect()
}

fn check_crate(one: &Crate) -> Vec<Complaint> {
    let always = allowed(one);
    // Cargo lets a test lean on what leans on the crate itself.
    let mut in_tests = [always, [API, TESTKIT].as_slice()].concat();
    if one.name() == TESTKIT {
        in_tests.extend(FIXTURES);
    }
    [
        ("dependencies", always),
        ("build-dependencies", always),
        ("dev-dependencies", &in_tests),
    ]
    .into_iter()
    .flat_map(|(table, allowed)| {
        one.dependencies(table)
            .into_iter()
            .filter(|name| is_ours(name) && !allowed.contains(name))
            .map(|name| complaint(one, table, name))
    })
    .collect()
}

fn allowed(one: &Crate) -> &'static [&'static str] {
    match one.name() {
        MACROS | "xtask" => &[],
        API => &[MACROS],
        HOST => &[API],
        TESTKIT => &[API, HOST],
        name if one.plugin_id().is_some() || FIXTURES.contains(&name) => &[API],
        // Programs that measure or try the whole: they lean on everything and nothing leans on them.
        _ => &[API, HOST, TESTKIT],
    }
}

fn is_ours(name: &str) -> bool {
    name == HOST || name.starts_with("nself-")
}

fn complaint(one: &Crate, table: &str, name: &str) -> Complaint {
    Complaint {
        rule: Rule::Layers,
        path: format!("{}/Cargo.toml", one.folder),
        line: 0,
        text: format!(
            "{} must not have {name} in [{table}]: plugins meet in capabilities and events",
            one.name()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_manifest(folder: &str, manifest: &str, expected: usize) {
        let one = Crate {
            folder: folder.to_owned(),
            manifest: manifest.parse().expect("TOML"),
        };
        assert_eq!(check(&[one]).len(), expected, "{manifest}");
    }

    const NOTES: &str = "package = { name = \"nself-plugin-notes\" }\nlib = { crate-type = [\"cdylib\", \"rlib\"] }\n";

    #[test]
    fn a_plugin_leans_on_the_contract_and_on_crates_of_others() {
        check_manifest(
            "plugins/notes",
            &format!("{NOTES}[dependencies]\nnself-plugin-api = \"0\"\nserde = \"1\"\n"),
            0,
        );
        check_manifest(
            "plugins/notes",
            &format!("{NOTES}[dev-dependencies]\nnself-plugin-testkit = \"0\"\n"),
            0,
        );
    }

    #[test]
    fn a_plugin_leans_neither_on_the_host_nor_on_another_plugin() {
        check_manifest(
            "plugins/notes",
            &format!("{NOTES}[dependencies]\nnself = \"0\"\n"),
            1,
        );
        check_manifest(
            "plugins/notes",
            &format!("{NOTES}[dependencies]\nnself-plugin-jobs = \"0\"\n"),
            1,
        );
        check_manifest(
            "plugins/notes",
            &format!("{NOTES}[dev-dependencies]\nnself-plugin-jobs = \"0\"\n"),
            1,
        );
        check_manifest(
            "plugins/notes",
            &format!("{NOTES}[dependencies]\nnself-plugin-testkit = \"0\"\n"),
            1,
        );
    }

    #[test]
    fn the_host_imports_no_plugin() {
        check_manifest(
            "host",
            "[package]\nname = \"nself\"\n[dependencies]\nnself-plugin-hello = \"0\"\n",
            1,
        );
    }
}
