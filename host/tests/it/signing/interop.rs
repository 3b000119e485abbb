//! Debian's minisign and we: each verifies what the other signs, and reads the other's keys.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::lifecycle::plugin_file::hello;
use super::super::lifecycle::project::Project;
use super::{keygen, project, settings, sign, write};

const FILE: &str = "plugins.d/hello.so";

/// Runs minisign in the project, and types this.
#[track_caller]
fn minisign(project: &Project, arguments: &[&str], typed: &str) -> String {
    let mut child = Command::new("minisign")
        .args(arguments)
        .current_dir(project.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("minisign is installed: apt-get install minisign");
    // It may not want to hear any of it.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn with_file(settings: &str) -> Project {
    let project = project(settings);
    write(&project, FILE, &hello());
    project
}

#[test]
fn minisign_verifies_what_we_sign() {
    let project = with_file("");
    let key = keygen(&project, "own");
    sign(&project, FILE, "own");
    let by_key = minisign(&project, &["-V", "-P", &key, "-m", FILE], "");
    assert!(
        by_key.contains("Trusted comment: file:hello.so\tplugin:hello\tversion:"),
        "{by_key}"
    );
    minisign(&project, &["-V", "-p", "own.pub", "-m", FILE], "");
}

#[test]
fn we_verify_what_minisign_signs_and_not_its_legacy_form() {
    let project = with_file("");
    minisign(
        &project,
        &["-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"],
        "",
    );
    minisign(&project, &["-S", "-s", "theirs.key", "-m", FILE], "");
    project.configure(&settings("require", &[]));
    project
        .nself(&["plugin", "trust", "add", "theirs.pub", "--name", "them"])
        .done();
    project.nself(&["plugin", "check", FILE]).done();
    assert_eq!(project.plugin("hello")["signer"]["name"], "them");
    minisign(&project, &["-S", "-l", "-s", "theirs.key", "-m", FILE], "");
    let refused = project.nself(&["plugin", "check", FILE]);
    assert!(refused.stdout.contains("legacy form"), "{refused:?}");
}

#[test]
fn each_reads_the_keys_of_the_other_with_and_without_a_password() {
    let project = with_file("");
    write(&project, "password", b"correct horse\n");
    let from_file = ["--password-file", "password"];
    // Ours with a password, theirs to sign with.
    let own = ["plugin", "keygen", "own", from_file[0], from_file[1]];
    project.nself(&own).done();
    minisign(
        &project,
        &["-S", "-s", "own.key", "-m", FILE],
        "correct horse\n",
    );
    minisign(&project, &["-V", "-p", "own.pub", "-m", FILE], "");
    // Theirs with a password, ours to sign with.
    let make = ["-G", "-p", "theirs.pub", "-s", "theirs.key"];
    minisign(&project, &make, "correct horse\ncorrect horse\n");
    let sign = [
        "plugin",
        "sign",
        FILE,
        "--key",
        "theirs.key",
        from_file[0],
        from_file[1],
    ];
    project.nself(&sign).done();
    minisign(&project, &["-V", "-p", "theirs.pub", "-m", FILE], "");
    // Without one, both ways.
    keygen(&project, "plain");
    minisign(&project, &["-S", "-s", "plain.key", "-m", FILE], "");
    minisign(
        &project,
        &["-G", "-W", "-p", "bare.pub", "-s", "bare.key"],
        "",
    );
    super::sign(&project, FILE, "bare");
    minisign(&project, &["-V", "-p", "bare.pub", "-m", FILE], "");
}
