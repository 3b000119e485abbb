//! What was accepted, what was not, and what the file looks like.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;

fn manifest(version: &str, requires: &serde_json::Value) -> Manifest {
    let manifest = json!({
        "schema": 1, "id": "auth", "version": version, "description": "",
        "abi": { "major": 1, "needs": 0 },
        "build": { "target": "x86_64-linux", "panic": "unwind", "api": "0.1.0" },
        "requires": requires,
    });
    serde_json::from_value(manifest).expect("a manifest")
}

fn wishes() -> serde_json::Value {
    json!({
        "capabilities": ["nself.db/1"],
        "tables": [{ "table": "public.users", "rights": ["select", "update"] }],
        "egress": ["api.example.org"], "secrets": ["KEY"], "ports": [1025], "emits": ["user.*"],
        "families": "all",
    })
}

fn sha(text: &str) -> Sha256 {
    Sha256::of(text.as_bytes())
}

fn accepted() -> Lock {
    let mut lock = Lock::default();
    lock.accept(&manifest("1.0.0", &wishes()), sha("one"), None);
    lock
}

#[test]
fn what_was_accepted_is_admitted() {
    let (mut lock, one) = (accepted(), manifest("1.0.0", &wishes()));
    assert_eq!(lock.admit(&one, &sha("one")), Ok(Standing::Enabled));
    lock.set_enabled("auth", false).expect("auth is locked");
    assert_eq!(lock.admit(&one, &sha("one")), Ok(Standing::Disabled));
    assert_eq!(Lock::default().admit(&one, &sha("one")), Ok(Standing::New));
}

#[test]
fn other_content_is_refused_with_both_hashes() {
    let refusal = accepted()
        .admit(&manifest("1.1.0", &wishes()), &sha("two"))
        .expect_err("changed");
    assert_eq!(
        refusal.to_string(),
        format!(
            "auth 1.1.0 is not the file that was accepted (sha256 {}, plugins.lock has 1.0.0 with {}): run nself plugin upgrade auth if you want it",
            sha("two"),
            sha("one")
        )
    );
}

#[test]
fn more_than_was_granted_is_refused_by_name() {
    let mut lock = accepted();
    lock.plugins
        .get_mut("auth")
        .expect("auth is locked")
        .granted = Requires::default();
    let refusal = lock
        .admit(&manifest("1.0.0", &wishes()), &sha("one"))
        .expect_err("not granted");
    assert_eq!(
        refusal.to_string(),
        "auth 1.0.0 asks for more than was granted (capability nself.db/1, select update on public.users, outgoing calls to api.example.org, secret KEY, port 1025, events user.*, reads and writes every family's rows): run nself plugin grant auth if you agree"
    );
}

#[test]
fn less_than_was_granted_is_fine_and_one_more_right_is_not() {
    let lock = accepted();
    assert_eq!(
        lock.missing(&manifest("1.1.0", &json!({}))),
        Vec::<String>::new()
    );
    let more = json!({ "tables": [{ "table": "public.users", "rights": ["select", "delete"] }] });
    assert_eq!(
        lock.missing(&manifest("1.1.0", &more)),
        ["delete on public.users"]
    );
    assert_eq!(
        Lock::default().missing(&manifest("1.0.0", &more)),
        ["select delete on public.users"]
    );
}

#[test]
fn an_upgrade_can_be_rolled_back_and_that_too() {
    let mut lock = accepted();
    lock.accept(&manifest("2.0.0", &json!({})), sha("two"), None);
    assert!(
        lock.admit(&manifest("1.0.0", &wishes()), &sha("one"))
            .is_err()
    );
    lock.roll_back("auth").expect("there is a previous one");
    // With the rights that it had, without asking again.
    assert_eq!(
        lock.admit(&manifest("1.0.0", &wishes()), &sha("one")),
        Ok(Standing::Enabled)
    );
    lock.roll_back("auth").expect("there is a previous one");
    assert_eq!(lock.plugins["auth"].version.to_string(), "2.0.0");
}

#[test]
fn accepting_the_same_content_again_keeps_the_way_back() {
    let mut lock = accepted();
    lock.accept(&manifest("2.0.0", &json!({})), sha("two"), None);
    lock.accept(&manifest("2.0.0", &json!({})), sha("two"), None);
    assert_eq!(
        lock.plugins["auth"]
            .previous
            .as_ref()
            .map(|previous| previous.sha256),
        Some(sha("one"))
    );
}

#[test]
fn another_signer_is_told_from_the_first_and_comes_and_goes_with_its_version() {
    const ALICE: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let (one, two) = (manifest("1.0.0", &json!({})), manifest("2.0.0", &json!({})));
    let mut lock = Lock::default();
    lock.accept(&one, sha("one"), None);
    assert_eq!(lock.same_signer(&two, Some(ALICE), "auth"), Ok(()));
    lock.accept(&one, sha("one"), Some(ALICE.to_owned()));
    assert_eq!(lock.same_signer(&two, Some(ALICE), "auth"), Ok(()));
    let refusal = |signer| {
        let refusal = lock.same_signer(&two, signer, "auth");
        refusal.expect_err("another one").to_string()
    };
    assert_eq!(
        refusal(Some("this machine")),
        "auth 2.0.0 is signed by this machine, and what was accepted by key E7620F1842B4E81F: run nself plugin upgrade auth --new-signer if you know why"
    );
    assert!(refusal(None).contains("is signed by nobody who is trusted"));
    lock.accept(&two, sha("two"), None);
    lock.roll_back("auth").expect("there is a previous one");
    assert_eq!(lock.plugins["auth"].signer.as_deref(), Some(ALICE));
    lock.roll_back("auth").expect("that too");
    assert_eq!(lock.plugins["auth"].signer, None);
}

#[test]
fn what_is_not_there_cannot_be_changed() {
    let mut lock = accepted();
    let line = "no plugin jobs in plugins.lock: run nself plugin enable jobs first";
    assert_eq!(
        lock.set_enabled("jobs", true)
            .expect_err("unknown")
            .to_string(),
        line
    );
    let line = "auth has no previous version in plugins.lock: nothing to roll back to";
    assert_eq!(
        lock.roll_back("auth").expect_err("nothing").to_string(),
        line
    );
}

#[test]
fn the_file_reads_back_and_does_not_change_by_itself() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("plugins.lock");
    assert_eq!(
        Lock::read(&path).expect("no file, no plugins"),
        Lock::default()
    );
    let mut lock = accepted();
    lock.accept(
        &manifest("2.0.0", &json!({ "ports": [25] })),
        sha("two"),
        None,
    );
    lock.write(&path).expect("written");
    assert_eq!(Lock::read(&path).expect("read"), lock);
    let text = fs::read_to_string(&path).expect("text");
    lock.write(&path).expect("written");
    assert_eq!(fs::read_to_string(&path).expect("text"), text);
    assert!(
        text.contains("schema = 1") && text.contains("[plugins.auth.previous.granted]"),
        "{text}"
    );
    assert_eq!(
        fs::read_dir(home.path()).expect("entries").count(),
        1,
        "nothing else is left behind"
    );
    assert_eq!(
        fs::metadata(&path).expect("the file").permissions().mode() & 0o777,
        0o644
    );
}

#[track_caller]
fn check_mistake(text: &str, expected: &[&str]) {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("plugins.lock");
    fs::write(&path, text).expect("written");
    let error = Lock::read(&path).expect_err("a mistake").to_string();
    assert!(!error.contains('\n'), "{error}");
    for part in expected {
        assert!(error.contains(part), "{error:?} should contain {part:?}");
    }
}

#[test]
fn mistakes_are_told_with_their_line() {
    let entry = format!(
        "schema = 1\n[plugins.auth]\nversion = \"1.0.0\"\nsha256 = \"{}\"\nenabled = true\n",
        sha("x")
    );
    check_mistake(&format!("{entry}enabeld = true\n"), &["line 6", "enabeld"]);
    check_mistake(
        &format!("{entry}[plugins.auth.granted]\negres = []\n"),
        &["line 7", "egres"],
    );
    check_mistake(
        &format!("{entry}[plugins.auth.granted]\ntables = [{{ table = \"a.b\", rigths = [] }}]\n"),
        &["line 7", "rigths"],
    );
    check_mistake("schema = 1\n[plugins.auth]\nversion = \"1\"\n", &["line 3"]);
    check_mistake(
        "schema = 1\n[plugins.auth]\nsha256 = \"abc\"\n",
        &["line 3", "64 lower-case hexadecimal digits"],
    );
    check_mistake(
        "schema = 2\nnew_key = true\n",
        &["has schema 2, this host reads 1: upgrade nself"],
    );
    check_mistake("", &["schema"]);
    check_mistake("schema = [\n", &["restore it from version control"]);
}

#[test]
fn a_lock_that_cannot_be_written_leaves_the_old_one() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("absent/plugins.lock");
    let error = accepted()
        .write(&path)
        .expect_err("no directory")
        .to_string();
    assert!(
        error.contains("absent/plugins.lock") && error.contains("the file is unchanged"),
        "{error}"
    );
}

#[test]
fn a_capability_is_one_right_whether_it_is_needed_or_used_where_it_is_provided() {
    let needs = json!({ "capabilities": ["mail.send/1"] });
    let uses = json!({ "optional": ["mail.send/1"] });
    for (before, after) in [(&needs, &uses), (&uses, &needs)] {
        let mut lock = Lock::default();
        lock.accept(&manifest("1.0.0", before), sha("one"), None);
        assert!(lock.missing(&manifest("1.1.0", after)).is_empty());
    }
    let more = json!({ "optional": ["mail.send/1", "auth.claims/1"] });
    let mut lock = Lock::default();
    lock.accept(&manifest("1.0.0", &needs), sha("one"), None);
    assert_eq!(
        lock.missing(&manifest("1.1.0", &more)),
        ["capability auth.claims/1 where it is provided"]
    );
}
