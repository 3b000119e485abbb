//! Manifests that this host cannot keep its side of.

use serde_json::{Value, json};

use super::fixture::{Source, assert_refused, check, manifest, put_manifest};

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut manifest = manifest();
    change(&mut manifest);
    manifest
}

#[track_caller]
fn check_manifest(change: impl FnOnce(&mut Value), expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    assert_refused(&put_manifest(directory.path(), &with(change)), expected);
}

/// Sets the value at a JSON pointer and expects a refusal.
#[track_caller]
fn check_value(key: &str, value: Value, expected: &[&str]) {
    check_manifest(|manifest| manifest[key] = value, expected);
}

#[test]
fn a_manifest_with_everything_passes() {
    let full = |manifest: &mut Value| {
        let id = manifest["id"].as_str().unwrap().to_owned();
        manifest["depends"] = json!([{ "id": "auth", "version": ">=1.0, <3" }]);
        manifest["requires"] = json!({
            "capabilities": ["nself.db/1", "mail.send/1"], "optional": ["auth.claims/1"],
            "tables": [{ "table": "public.families", "rights": ["select", "references"] }],
            "egress": ["*.example.org", "{smtp_host}:{smtp_port}", "{smtp_host}:25"], "secrets": ["SMTP_PASSWORD"], "ports": [1025], "emits": ["note.*"], "families": "all",
        });
        manifest["config"] = json!({ "properties": { "smtp_host": {}, "smtp_port": {} } });
        manifest["provides"] = json!(["notes.search/1"]);
        manifest["routes"] = json!([
            { "method": "GET", "path": "/notes/{id}", "access": "authenticated" },
            { "method": "GET", "path": "/notes/mine", "access": { "roles": ["OWNER", "ADMIN"] } },
            { "method": "POST", "path": "/notes/{id}", "access": { "service": "notes.write" }, "kind": "stream" },
        ]);
        manifest["tasks"] = json!([{ "name": "tidy", "every_ms": 1000 }]);
        manifest["functions"] = json!([{ "capability": "notes.search/1", "signature": format!("{id}.find(text, int4[])") }]);
        manifest["jobs"] = json!([
            { "kind": format!("{id}.print") },
            { "kind": format!("{id}.print.all"), "queue": "paper", "attempts_max": 3, "timeout_ms": 1000, "keep": "failed" },
        ]);
        manifest["migrations"] =
            json!([{ "number": 1, "name": "notes", "up": "select 1", "down": "select 1" }]);
        manifest["a_key_of_a_later_minor"] = json!({ "x": 1 });
    };
    let directory = tempfile::tempdir().unwrap();
    let plugin = check(&put_manifest(directory.path(), &with(full))).unwrap();
    assert_eq!(plugin.manifest.routes.len(), 3);
}

#[test]
fn a_route_for_an_action_that_the_policy_does_not_have_is_refused_with_near_names() {
    let access = |action: &str| {
        let access = json!({ "action": action });
        json!([{ "method": "POST", "path": "/notes", "access": access }])
    };
    check_value(
        "routes",
        access("members.manage"),
        &[
            "POST /notes",
            "\"members.manage\"",
            "one of member.manage, ",
        ],
    );
    let directory = tempfile::tempdir().unwrap();
    let known = |manifest: &mut Value| manifest["routes"] = access("member.manage");
    check(&put_manifest(directory.path(), &with(known))).unwrap();
}

#[test]
fn a_route_that_graphql_could_not_answer_is_refused_with_the_reason() {
    let answer = json!({"type": "object", "properties": {"id": {"type": "string"}}});
    let route = |change: fn(&mut Value)| {
        let mut route = json!({
            "method": "GET", "path": "/notes/{id}", "access": "authenticated", "response": answer, "graphql": "note",
        });
        change(&mut route);
        json!([route])
    };
    let directory = tempfile::tempdir().unwrap();
    let good = |manifest: &mut Value| manifest["routes"] = route(|_| {});
    check(&put_manifest(directory.path(), &with(good))).unwrap();
    let refused =
        |routes: Value, reason: &str| check_value("routes", routes, &["GET /notes/", reason]);
    refused(
        route(|route| route["graphql"] = json!("a-note")),
        "no name of GraphQL",
    );
    refused(
        route(|route| route["access"] = json!("operator")),
        "services and operators do not come by GraphQL",
    );
    refused(
        route(|route| route["access"] = json!({"service": "notes"})),
        "services and operators do not come by GraphQL",
    );
    refused(
        route(|route| route["response"] = json!({"type": "string"})),
        "an answer that is Data or Created",
    );
    refused(
        route(|route| route["kind"] = json!("raw")),
        "an answer that is Data or Created",
    );
    refused(
        route(|route| route["request"] = json!({"type": "array"})),
        "a body that is an object",
    );
    refused(
        route(|route| route["path"] = json!("/notes/{input}")),
        "\"input\" cannot be an argument",
    );
    refused(
        route(|route| route["path"] = json!("/notes/{*rest}")),
        "the rest of a path",
    );
    let twice = json!([
        {"method": "GET", "path": "/a", "access": "public", "response": answer, "graphql": "note"},
        {"method": "GET", "path": "/b", "access": "public", "response": answer, "graphql": "note"},
    ]);
    check_value("routes", twice, &["field of GraphQL", "\"note\" twice"]);
}

#[test]
fn a_newer_plugin_is_told_which_boundary_it_needs_and_does_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("ran");
    let code = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void run(void) {{ fclose(fopen(\"{}\", \"w\")); }}",
        trace.display()
    );
    let newer = |manifest: &mut Value| {
        manifest["id"] = json!("auth");
        manifest["version"] = json!("2.1.0");
        manifest["abi"]["needs"] = json!(4);
        // What the newer boundary added may be unreadable here; the boundary is told all the same.
        manifest["routes"] =
            json!([{ "method": "GET", "path": "/x", "access": { "moon_phase": "full" } }]);
    };
    let path = Source::with(&with(newer))
        .code(&code)
        .build(directory.path(), "auth.so");
    let refusal = check(&path).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "auth 2.1.0 needs plugin ABI 1.4, this host (nself 0.6.2) speaks 1.2: upgrade nself, or use an older auth"
    );
    assert_eq!(refusal.plugin_id(), Some("auth"));
    assert!(!trace.exists(), "the constructor ran");
}

#[test]
fn the_major_of_the_boundary_must_be_ours() {
    let major = |major: u32| move |manifest: &mut Value| manifest["abi"]["major"] = json!(major);
    check_manifest(
        major(2),
        &[
            "needs plugin ABI 2.0",
            "speaks 1.2: upgrade nself, or use an older notes",
        ],
    );
    check_manifest(
        major(0),
        &[
            "needs plugin ABI 0.0",
            "use a newer notes that was built for 1.x",
        ],
    );
}

#[test]
fn the_minor_may_be_lower_or_equal() {
    for needs in [0, 2] {
        let directory = tempfile::tempdir().unwrap();
        let manifest = with(|manifest| manifest["abi"]["needs"] = json!(needs));
        assert!(check(&put_manifest(directory.path(), &manifest)).is_ok());
    }
}

#[test]
fn who_it_is() {
    for id in ["Notes", "", "../etc", "no tes", &"n".repeat(41)] {
        check_value("id", json!(id), &["unreadable nself manifest", "its id"]);
    }
    for id in ["public", "nself", "pg_notes"] {
        check_value("id", json!(id), &["uses a reserved id"]);
    }
    check_value("version", json!("1.2"), &["unreadable nself manifest"]);
    check_value(
        "version",
        json!(format!("1.2.3-{}", "x".repeat(80))),
        &["its version has more than 60"],
    );
    check_value("schema", json!(2), &["its schema is 2, this host reads 1"]);
    check_value(
        "description",
        json!("a\u{1b}[2Jb"),
        &["description", "without control characters"],
    );
    check_value("description", json!("a".repeat(301)), &["300 characters"]);
    let directory = tempfile::tempdir().unwrap();
    let longest = with(|manifest| manifest["description"] = json!("a".repeat(300)));
    assert!(check(&put_manifest(directory.path(), &longest)).is_ok());
}

#[test]
fn a_plugin_does_not_wait_for_itself() {
    check_value(
        "depends",
        json!([{ "id": "notes", "version": "^1" }]),
        &["\"notes\"", "cannot wait for itself"],
    );
}

#[test]
fn how_it_was_built() {
    check_manifest(
        |manifest| manifest["build"]["panic"] = json!("abort"),
        &[
            "notes 1.2.3 is built with panic = \"abort\"",
            "would end the host",
            "panic = \"unwind\"",
        ],
    );
    check_manifest(
        |manifest| manifest["build"]["target"] = json!("sparc64-solaris"),
        &["is built for sparc64-solaris, this machine is"],
    );
}

#[test]
fn routes() {
    let route =
        |method: &str, path: &str| json!({ "method": method, "path": path, "access": "public" });
    let check = |routes: Value, expected: &[&str]| check_value("routes", routes, expected);
    check(
        json!([{ "method": "GET", "path": "/a" }]),
        &["nobody who may call it (GET /a)", "give it an access rule"],
    );
    check(
        json!([{ "method": "GET", "path": "/a", "access": { "roles": [] } }]),
        &["nobody who may call it"],
    );
    check(
        json!([{ "method": "GET", "path": "/a", "access": { "service": " " } }]),
        &["nobody who may call it"],
    );
    check(
        json!([{ "method": "GET", "path": "/a", "access": "everyone" }]),
        &["manifest that this host cannot read"],
    );
    check(
        json!([route("GET", "/notes/{id}"), route("GET", "/notes/{name}")]),
        &["two routes for the same requests (GET /notes/{id} and GET /notes/{name})"],
    );
    check(
        json!([route("get", "/a")]),
        &["impossible route get /a", "its method is none of GET"],
    );
    check(json!([route("GET", "a")]), &["a path starts with /"]);
    check(json!([route("GET", "/a?b")]), &["without ? #"]);
    check(
        json!([route("GET", "/a/../b")]),
        &["no empty, . or .. segments"],
    );
    check(json!([route("GET", "/{a")]), &["impossible route GET /{a"]);
    check(
        json!([{ "method": "GET", "path": "/a", "access": "public", "kind": "fax" }]),
        &["its kind \"fax\""],
    );
    check(
        json!([{ "method": "GET", "path": "/a", "access": "public", "summary": "a".repeat(301) }]),
        &["summary", "300 characters"],
    );
}

#[test]
fn names_are_used_once() {
    let task = json!({ "name": "tidy", "every_ms": 1000 });
    check_value(
        "tasks",
        json!([task, task]),
        &["declares the task \"tidy\" twice"],
    );
    let subscription = json!({ "name": "s", "types": ["family.*"] });
    check_value(
        "subscriptions",
        json!([subscription, subscription]),
        &["the subscription \"s\" twice"],
    );
    let schedule = json!({ "name": "s", "cron": "* * * * *", "timezone": "UTC" });
    check_value(
        "schedules",
        json!([schedule, schedule]),
        &["the schedule \"s\" twice"],
    );
    check_value(
        "provides",
        json!(["a.b/1", "a.b/1"]),
        &["the capability \"a.b/1\" twice"],
    );
    check_value(
        "tasks",
        json!([{ "name": "tidy", "every_ms": 0 }]),
        &["longer than 0 ms"],
    );
}

#[test]
fn a_kind_of_job_begins_with_the_id_of_its_plugin() {
    let id = manifest()["id"].as_str().unwrap().to_owned();
    let job = |kind: &str| json!({ "kind": kind });
    for kind in [
        "print",
        "other.print",
        &id,
        &format!("{id}."),
        &format!("{id}.A b"),
    ] {
        let expected = "a kind begins with the plugin's id and a dot, as in photos.resize: so that no two plugins";
        check_value("jobs", json!([job(kind)]), &["declares the job", expected]);
    }
    let print = format!("{id}.print");
    let twice = format!("declares the job {print:?} twice");
    check_value("jobs", json!([job(&print), job(&print)]), &[&twice]);
    for key in ["attempts_max", "timeout_ms"] {
        let mut none = job(&print);
        none[key] = json!(0);
        check_value("jobs", json!([none]), &["it needs at least one attempt"]);
    }
    let mut queue = job(&print);
    queue["queue"] = json!("two words");
    check_value("jobs", json!([queue]), &["the queue \"two words\""]);
}

#[test]
fn functions_come_with_a_capability_and_from_the_plugins_own_schema() {
    let id = manifest()["id"].as_str().unwrap().to_owned();
    let check = |capability: &str, signature: &str, expected: &str| {
        let change = |manifest: &mut Value| {
            manifest["provides"] = json!(["a.b/1"]);
            let function = json!({ "capability": capability, "signature": signature });
            manifest["functions"] = json!([function, function]);
        };
        check_manifest(change, &["the function", expected]);
    };
    let find = format!("{id}.find(text)");
    check(
        "a.b/1",
        &format!("{id}.find"),
        "a function is called schema.name(type,type)",
    );
    check(
        "a.b/1",
        &format!("{id}.find('); drop"),
        "a function is called schema.name(type,type)",
    );
    check(
        "a.b/1",
        "nself.audit(text)",
        "functions of its own schema only",
    );
    check(
        "c.d/1",
        &find,
        "comes with a capability that the plugin does not offer",
    );
    check("a.b/1", &find, "twice");
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let migration = |number: u32| json!({ "number": number, "name": "m", "up": "", "down": "" });
    let check = |numbers: &[u32], expected: &[&str]| {
        let migrations: Vec<Value> = numbers.iter().copied().map(migration).collect();
        check_value("migrations", json!(migrations), expected);
    };
    check(&[0], &["has migration 0 where 1 is due"]);
    check(&[1, 3], &["has migration 3 where 2 is due", "without gaps"]);
    check(&[1, 1], &["has migration 1 where 2 is due"]);
}

#[test]
fn capabilities() {
    let requires = |ids: Value| {
        move |manifest: &mut Value| manifest["requires"] = json!({ "capabilities": ids })
    };
    check_manifest(
        requires(json!(["nself.teleport/1"])),
        &[
            "asks for the capability \"nself.teleport/1\", which this host does not have",
            "upgrade nself",
        ],
    );
    check_manifest(requires(json!(["nself.db/2"])), &["nself.db/2"]);
    check_manifest(
        requires(json!(["database"])),
        &["a capability is called name.name/1"],
    );
    check_value(
        "provides",
        json!(["nself.db/1"]),
        &["offers the capability \"nself.db/1\"", "belong to the host"],
    );
}

#[test]
fn what_is_used_where_it_is_provided_is_of_another_plugin_and_named_once() {
    let requires = |needs: Value, uses: Value| {
        move |manifest: &mut Value| {
            manifest["requires"] = json!({ "capabilities": needs, "optional": uses });
        }
    };
    check_manifest(
        requires(json!([]), json!(["nself.kv/1"])),
        &["optional capability \"nself.kv/1\"", "require it"],
    );
    check_manifest(
        requires(json!([]), json!(["claims"])),
        &["a capability is called name.name/1"],
    );
    check_manifest(
        requires(json!(["mail.send/1"]), json!(["mail.send/1"])),
        &["capability", "mail.send/1", "twice"],
    );
}

#[test]
fn grants_are_readable_and_name_what_exists() {
    let requires = |key: &'static str, value: Value| {
        move |manifest: &mut Value| manifest["requires"] = json!({ key: value })
    };
    let table = |table: &str, right: &str| json!([{ "table": table, "rights": [right] }]);
    check_manifest(
        requires("tables", table("families", "select")),
        &["called schema.table"],
    );
    check_manifest(
        requires("tables", table("public.families", "drop")),
        &["rights are select insert"],
    );
    check_manifest(
        requires("egress", json!(["ok.org\u{8}\u{8}"])),
        &["the egress", "visible ASCII"],
    );
    for entry in ["{smtp_host}", "mail.{domain}", "{}:25"] {
        check_manifest(
            requires("egress", json!([entry])),
            &["the egress", "is written {key}:{key} or {key}:587"],
        );
    }
    check_manifest(
        requires("egress", json!(["{smtp_host}:{smtp_port}"])),
        &["the egress", "configuration has no such key"],
    );
    check_value(
        "config",
        json!("text"),
        &["config schema that is no JSON object"],
    );
    let fragment = json!([{ "name": "../../metadata.yaml", "yaml": "" }]);
    check_value("hasura", fragment, &["use a plain file name"]);
}
