//! What a plugin was built from, as CycloneDX 1.5 has it: read from what cargo says of the crate. No time of day and no random
//! number is in it, so that the same crate gives the same text.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// A package as `cargo metadata` describes it.
fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// Where a package came from says whether others can fetch it by its name.
fn reference(package: &Value) -> String {
    let (name, version) = (text(package, "name"), text(package, "version"));
    if package["source"].is_null() {
        format!("{name}@{version}")
    } else {
        format!("pkg:cargo/{name}@{version}")
    }
}

fn component(package: &Value, sums: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut component = json!({
        "type": "library", "bom-ref": reference(package), "name": name, "version": version,
    });
    if !package["source"].is_null() {
        component["purl"] = reference(package).into();
    }
    if let Some(license) = package["license"].as_str() {
        // The older spelling of a choice, which is no expression any more.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{"expression": expression}]);
    }
    if let Some(sum) = sums.get(&(name.to_owned(), version.to_owned())) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    component
}

/// The checksums of a `Cargo.lock`, by name and version.
fn sums_of(lock: &str) -> BTreeMap<(String, String), String> {
    let lock: toml::Table = lock.parse().unwrap_or_default();
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let sum = |package: &toml::Value| {
        let text = |key: &str| Some(package.get(key)?.as_str()?.to_owned());
        Some(((text("name")?, text("version")?), text("checksum")?))
    };
    packages.into_iter().flatten().filter_map(sum).collect()
}

/// The document for the package `root` of what `cargo metadata` says; nothing when it says nothing of it.
pub fn of(metadata: &Value, lock: &str, root: &str) -> Option<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package, "id").to_owned(), package))
        .collect();
    // What is linked in, not what tests and build scripts need beside it.
    let is_linked = |dep: &Value| {
        list(&dep["dep_kinds"])
            .iter()
            .any(|kind| kind["kind"].is_null())
    };
    let depends: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let deps = list(&node["deps"]).into_iter().filter(is_linked);
            let deps = deps.map(|dep| text(&dep, "pkg").to_owned()).collect();
            (text(node, "id").to_owned(), deps)
        })
        .collect();
    let sums = sums_of(lock);
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(id) = waiting.pop() {
        if seen.insert(id.clone()) {
            waiting.extend(depends.get(&id).into_iter().flatten().cloned());
        }
    }
    let mut components: Vec<Value> = seen
        .iter()
        .filter(|id| *id != root)
        .filter_map(|id| Some(component(packages.get(id)?, &sums)))
        .collect();
    components.sort_by_key(|component| text(component, "bom-ref").to_owned());
    let mut dependencies: Vec<Value> = seen
        .iter()
        .filter_map(|id| {
            let on = depends.get(id).into_iter().flatten();
            let on: BTreeSet<String> = on
                .filter_map(|id| packages.get(id))
                .map(reference)
                .collect();
            Some(json!({"ref": reference(packages.get(id)?), "dependsOn": on}))
        })
        .collect();
    dependencies.sort_by_key(|dependency| text(dependency, "ref").to_owned());
    let tool =
        json!({"type": "application", "name": "nself", "version": env!("CARGO_PKG_VERSION")});
    Some(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": component(packages.get(root)?, &sums), "tools": {"components": [tool]}},
        "components": components, "dependencies": dependencies,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_with_licence_and_sum_and_what_tests_need_is_not() {
        let package = |name: &str, source: Value| json!({"id": name, "name": name, "version": "1.0.0", "source": source, "license": "MIT/Apache-2.0"});
        let registry = json!("registry+https://example.org/index");
        let dep = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                package("hello", Value::Null), package("serde", registry.clone()), package("tempfile", registry),
            ],
            "resolve": {"nodes": [
                {"id": "hello", "deps": [dep("serde", Value::Null), dep("tempfile", json!("dev"))]},
                {"id": "serde", "deps": []}, {"id": "tempfile", "deps": []},
            ]},
        });
        let sum = "0".repeat(64);
        let lock =
            format!("[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nchecksum = \"{sum}\"\n");
        let bom = of(&metadata, &lock, "hello").expect("a document");
        assert_eq!(bom["metadata"]["component"]["bom-ref"], "hello@1.0.0");
        let serde = json!({
            "type": "library", "bom-ref": "pkg:cargo/serde@1.0.0", "name": "serde", "version": "1.0.0",
            "purl": "pkg:cargo/serde@1.0.0", "licenses": [{"expression": "MIT OR Apache-2.0"}],
            "hashes": [{"alg": "SHA-256", "content": sum}],
        });
        assert_eq!(bom["components"], json!([serde]));
        assert_eq!(
            bom["dependencies"],
            json!([
                {"ref": "hello@1.0.0", "dependsOn": ["pkg:cargo/serde@1.0.0"]}, {"ref": "pkg:cargo/serde@1.0.0", "dependsOn": []},
            ])
        );
        assert!(of(&metadata, &lock, "other").is_none());
    }
}
