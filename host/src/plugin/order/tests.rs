//! Small worlds of plugins, and which of them may live.

use serde_json::{Value, json};

use super::*;

/// A manifest of this id, with what `more` adds.
fn plugin(id: &str, more: Value) -> Manifest {
    let mut manifest = json!({
        "schema": 1, "id": id, "version": "1.0.0", "description": "",
        "abi": { "major": 1, "needs": 0 },
        "build": { "target": "x86_64-linux", "panic": "unwind", "api": "0.1.0" },
    });
    let Value::Object(more) = more else {
        panic!("an object")
    };
    manifest.as_object_mut().expect("an object").extend(more);
    serde_json::from_value(manifest).expect("a manifest")
}

fn needs(ids: &[&str]) -> Value {
    let depends: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "id": id, "version": "*" }))
        .collect();
    json!({ "depends": depends })
}

fn routes(paths: &[&str]) -> Value {
    let route = |path: &&str| json!({ "method": "GET", "path": path, "access": "public" });
    json!({ "routes": paths.iter().map(route).collect::<Vec<_>>() })
}

fn provides(capability: &str) -> Value {
    json!({ "provides": [capability] })
}

fn requires(capability: &str) -> Value {
    json!({ "requires": { "capabilities": [capability, "nself.db/1"] } })
}

fn candidates(plugins: &[Manifest]) -> Vec<Candidate<'_>> {
    plugins
        .iter()
        .map(|manifest| Candidate {
            manifest,
            file: Path::new("/plugins/x.so"),
        })
        .collect()
}

#[track_caller]
fn check(plugins: &[Manifest], start: &[&str], refused: &[(&str, &str)]) {
    let order = order(&candidates(plugins), &BTreeMap::new());
    let told = order
        .refused
        .iter()
        .map(|(id, refusal)| (id.clone(), refusal.to_string()));
    let expected = refused
        .iter()
        .map(|(id, line)| ((*id).to_owned(), (*line).to_owned()));
    assert_eq!(told.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!(order.start, start);
}

#[test]
fn plugins_start_after_what_they_need_and_otherwise_by_name() {
    let plugins = [
        plugin("jobs", needs(&["auth"])),
        plugin("auth", json!({})),
        plugin("admin", needs(&["jobs"])),
        plugin("zoo", json!({})),
        plugin("billing", json!({})),
    ];
    check(&plugins, &["auth", "billing", "jobs", "admin", "zoo"], &[]);
    let backwards: Vec<Manifest> = plugins.iter().rev().cloned().collect();
    check(
        &backwards,
        &["auth", "billing", "jobs", "admin", "zoo"],
        &[],
    );
}

#[test]
fn a_capability_of_another_plugin_is_a_need_too() {
    let plugins = [
        plugin("auth", requires("mail.send/1")),
        plugin("mail", provides("mail.send/1")),
    ];
    check(&plugins, &["mail", "auth"], &[]);
    let nobody = "auth needs the capability mail.send/1, which no enabled plugin offers: enable one that does";
    check(&plugins[..1], &[], &[("auth", nobody)]);
    let own = json!({ "provides": ["a.b/1"], "requires": { "capabilities": ["a.b/1"] } });
    check(&[plugin("own", own)], &["own"], &[]);
}

#[test]
fn a_missing_dependency_takes_its_dependents_along_and_no_others() {
    let plugins = [
        plugin("a", needs(&["b"])),
        plugin("b", needs(&["gone"])),
        plugin("c", json!({})),
    ];
    let b = "b needs the plugin gone *, which is not enabled: run nself plugin enable gone";
    let a = format!("a needs b, which was refused: {b}");
    check(&plugins, &["c"], &[("a", &a), ("b", b)]);
}

#[test]
fn a_dependency_that_was_refused_elsewhere_is_told_with_its_reason() {
    let plugins = [plugin("jobs", needs(&["auth"]))];
    let reason = "auth 2.1.0 needs plugin ABI 1.4";
    let refused = BTreeMap::from([("auth".to_owned(), reason.to_owned())]);
    let order = order(&candidates(&plugins), &refused);
    assert_eq!(
        order.refused["jobs"].to_string(),
        format!("jobs needs auth, which was refused: {reason}")
    );
}

#[test]
fn a_dependency_in_the_wrong_version_is_refused() {
    let depends = json!({ "depends": [{ "id": "auth", "version": "^2.1" }] });
    let plugins = [plugin("auth", json!({})), plugin("jobs", depends)];
    let line = "jobs needs auth ^2.1, 1.0.0 is here: install a matching auth, or another jobs";
    check(&plugins, &["auth"], &[("jobs", line)]);
}

#[test]
fn a_cycle_is_told_as_a_path_by_all_its_members() {
    let plugins = [
        plugin("c", needs(&["b"])),
        plugin("b", needs(&["a"])),
        plugin("a", needs(&["c"])),
        plugin("outside", needs(&["b"])),
        plugin("free", json!({})),
    ];
    let line = |id: &str| {
        format!(
            "{id} is part of a dependency cycle (a -> c -> b -> a): break it in one of their manifests"
        )
    };
    let outside = format!("outside needs b, which was refused: {}", line("b"));
    let expected = [
        ("a", line("a")),
        ("b", line("b")),
        ("c", line("c")),
        ("outside", outside),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(id, line)| (*id, line.as_str()))
        .collect();
    check(&plugins, &["free"], &expected);
}

#[test]
fn a_cycle_can_go_through_a_capability() {
    let plugins = [
        plugin("auth", requires("mail.send/1")),
        plugin(
            "mail",
            json!({ "provides": ["mail.send/1"], "depends": [{ "id": "auth", "version": "*" }] }),
        ),
    ];
    let order = order(&candidates(&plugins), &BTreeMap::new());
    assert!(order.start.is_empty());
    assert!(
        order.refused["mail"]
            .to_string()
            .contains("(auth -> mail -> auth)")
    );
}

#[test]
fn two_files_with_one_id_are_both_refused_by_name() {
    let plugins = [
        plugin("auth", json!({})),
        plugin("auth", json!({})),
        plugin("jobs", json!({})),
    ];
    let files = ["/plugins/z.so", "/plugins/a.so", "/plugins/jobs.so"].map(Path::new);
    let pairs = plugins.iter().zip(files);
    let candidates: Vec<_> = pairs
        .map(|(manifest, file)| Candidate { manifest, file })
        .collect();
    let order = order(&candidates, &BTreeMap::new());
    assert_eq!(order.start, ["jobs"]);
    let line = "auth is there twice (/plugins/a.so and /plugins/z.so): keep one of them";
    assert_eq!(order.refused["auth"].to_string(), line);
}

#[test]
fn one_route_belongs_to_one_plugin_the_earlier_one() {
    let plugins = [
        plugin("b", routes(&["/x/{id}", "/y"])),
        plugin("a", routes(&["/z", "/x/{name}"])),
    ];
    let line =
        "a has the route GET /x/{name}, which b has too (GET /x/{id}): disable one of the two";
    check(&plugins, &["b"], &[("a", line)]);
}

#[test]
fn routes_that_only_look_alike_live_together() {
    let mut post = routes(&["/x/{id}"]);
    post["routes"][0]["method"] = json!("POST");
    let plugins = [
        plugin("a", routes(&["/x/{id}"])),
        plugin("b", routes(&["/x/me"])),
        plugin("c", post),
    ];
    check(&plugins, &["a", "b", "c"], &[]);
}

#[test]
fn a_refused_plugin_holds_nothing() {
    let mut first = routes(&["/x"]);
    first["depends"] = json!([{ "id": "gone", "version": "*" }]);
    let plugins = [plugin("a", first), plugin("b", routes(&["/x"]))];
    let line = "a needs the plugin gone *, which is not enabled: run nself plugin enable gone";
    check(&plugins, &["b"], &[("a", line)]);
}

#[test]
fn one_capability_has_one_provider_and_its_users_stay_with_it() {
    let plugins = [
        plugin("mail", provides("mail.send/1")),
        plugin("auth", requires("mail.send/1")),
        plugin("post", provides("mail.send/1")),
    ];
    let line =
        "post offers the capability mail.send/1, which mail offers too: disable one of the two";
    check(&plugins, &["mail", "auth"], &[("post", line)]);
}

#[test]
fn a_lost_provider_is_told_to_those_who_need_it() {
    let mut mail = provides("mail.send/1");
    mail["depends"] = json!([{ "id": "gone", "version": "*" }]);
    let plugins = [
        plugin("auth", requires("mail.send/1")),
        plugin("mail", mail),
    ];
    let order = order(&candidates(&plugins), &BTreeMap::new());
    assert!(
        order.refused["auth"]
            .to_string()
            .starts_with("auth needs mail, which was refused: mail needs the plugin gone")
    );
}

#[test]
fn dependents_stop_before_what_they_need() {
    let plugins = [
        plugin("auth", provides("auth.verify/1")),
        plugin("jobs", needs(&["auth"])),
        plugin("mail", requires("auth.verify/1")),
        plugin("admin", needs(&["jobs", "mail"])),
        plugin("zoo", json!({})),
    ];
    let running = candidates(&plugins);
    assert_eq!(dependents_of("auth", &running), ["admin", "mail", "jobs"]);
    assert_eq!(dependents_of("jobs", &running), ["admin"]);
    assert!(dependents_of("zoo", &running).is_empty());
    assert!(dependents_of("unknown", &running).is_empty());
}

#[test]
fn what_a_plugin_uses_where_it_is_provided_is_no_need() {
    let uses = |capability: &str, provided: &str| json!({ "requires": { "optional": [capability] }, "provides": [provided] });
    let plugins = [
        plugin("auth", uses("gate.ask/1", "auth.who/1")),
        plugin("gate", uses("auth.who/1", "gate.ask/1")),
        plugin("zoo", uses("nobody.has/1", "zoo.show/1")),
    ];
    check(&plugins, &["auth", "gate", "zoo"], &[]);
    let (one, _) = plugins.split_first().expect("there are three");
    assert!(dependents_of(&one.id, &candidates(&plugins)).is_empty());
}

#[test]
fn two_identity_providers_do_not_run_beside_each_other() {
    let plugins = [
        plugin("auth", requires("nself.identity/1")),
        plugin("badge", requires("nself.identity/1")),
    ];
    let refusal = "badge asks for nself.identity/1, which only one plugin may have, and auth has it: \
                   run nself plugin disable auth first";
    check(&plugins, &["auth"], &[("badge", refusal)]);
}
