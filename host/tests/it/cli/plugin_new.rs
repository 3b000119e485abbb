//! `nself plugin new`: what it writes builds and loads. That its tests pass is shown by hello, whose tests they are: to
//! build the test kit once more for the copy would take minutes.

use std::{env, fs, path::Path, process::Command};

use super::Project;

/// This repository.
fn checkout() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap().display().to_string()
}

#[test]
fn a_new_plugin_builds_and_loads() {
    let project = Project::empty();
    let checkout = checkout();
    project
        .run(&["plugin", "new", "albums", "--checkout", &checkout])
        .check(0, &[]);
    let crate_directory = project.path().join("albums");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Where this binary stands: target/debug. What is built there already is not built again.
    let debug = Path::new(env!("CARGO_BIN_EXE_nself")).parent().unwrap();
    let target = debug.parent().unwrap();
    let built = Command::new(&cargo)
        .args(["build", "--offline", "--target-dir"])
        .arg(target)
        .current_dir(&crate_directory)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let library = debug.join("libnself_plugin_albums.so");
    let inspected = project.run(&["plugin", "inspect", library.to_str().unwrap()]);
    inspected.check(0, &[]);
    for line in ["/albums/notes/{id}", "sweep every", "0001 notes"] {
        assert!(
            inspected.stdout.contains(line),
            "no {line} in {inspected:?}"
        );
    }
    fs::remove_file(library).unwrap();
}

#[test]
fn nothing_is_written_for_a_bad_name_a_taken_place_or_without_a_checkout() {
    let project = Project::with(&[("taken", "")]);
    let checkout = checkout();
    let new = |arguments: &[&str]| project.run(&[&["plugin", "new"], arguments].concat());
    new(&["albums"]).check(2, &["error[PLUGIN_CHECKOUT]", "--checkout DIR"]);
    new(&["albums", "--checkout", "taken"]).check(2, &["taken is no checkout"]);
    new(&["Albums", "--checkout", &checkout]).check(2, &["error[PLUGIN_NAME]", "lower-case"]);
    new(&["select", "--checkout", &checkout]).check(2, &["it is a word of SQL"]);
    new(&["taken", "--checkout", &checkout]).check(73, &["error[PLUGIN_EXISTS]"]);
    new(&["albums", "--checkout", &checkout, "--to", "taken/x"])
        .check(73, &["error[PLUGIN_CREATE]"]);
    let left: Vec<_> = fs::read_dir(project.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
