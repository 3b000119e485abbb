//! `scripts/bootstrap.sh --compose`, beside a Docker that only notes what it is asked.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nself_compose::shell::{Answer, answer, command, root};
use tempfile::TempDir;

/// The scripts and the stack in a directory of their own, so that nothing of the checkout is touched.
fn checkout() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for folder in ["scripts", "compose"] {
        answer(
            command("cp")
                .arg("-r")
                .arg(root().join(folder))
                .arg(directory.path()),
        )
        .good("cp");
    }
    for leftover in ["compose/secrets", "compose/.env"] {
        let path = directory.path().join(leftover);
        drop(fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)));
    }
    directory
}

/// A program of this name, found before any other.
fn docker(directory: &Path, script: &str) {
    let programs = directory.join("programs");
    fs::create_dir_all(&programs).expect("a directory");
    let file = programs.join("docker");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("ours");
}

fn bootstrap(directory: &Path) -> Answer {
    let path = format!(
        "{}:/usr/bin:/bin:/usr/sbin:/sbin",
        directory.join("programs").display()
    );
    let mut bootstrap = command(directory.join("scripts/bootstrap.sh"));
    bootstrap.arg("--compose").env("PATH", path);
    answer(bootstrap.current_dir(directory))
}

#[test]
fn without_a_docker_that_works_one_line_says_what_is_missing() {
    for script in ["exit 1", "[ \"$1\" = compose ]"] {
        let checkout = checkout();
        docker(checkout.path(), script);
        let said = bootstrap(checkout.path());
        assert!(!said.success);
        let line = "error: --compose needs Docker with Compose 2 and a daemon that this user may use; without --compose no Docker is needed\n";
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", line));
        assert!(
            !checkout.path().join("compose/secrets").exists(),
            "nothing was made"
        );
    }
}

#[test]
fn with_docker_it_makes_the_secrets_builds_starts_and_waits() {
    let checkout = checkout();
    let notes = checkout.path().join("notes");
    docker(
        checkout.path(),
        // What it is given on standard input it takes, as a container would: whoever writes there must not find it closed.
        &format!(
            "echo \"$*\" >>{}\n[ \"$1\" != run ] || cat >/dev/null",
            notes.display()
        ),
    );
    let said = bootstrap(checkout.path());
    let key = said.good("bootstrap.sh --compose");
    assert!(
        key.starts_with("nsk_"),
        "the operator's key is shown: {key}"
    );
    let notes = fs::read_to_string(notes).expect("notes");
    let compose: Vec<&str> = notes
        .lines()
        .filter(|line| line.starts_with("compose"))
        .collect();
    assert_eq!(
        compose,
        [
            "compose version",
            "compose up --build --detach",
            "compose up --detach --wait nself hasura"
        ]
    );
    let gives: Vec<&str> = notes
        .lines()
        .filter(|line| line.starts_with("run "))
        .collect();
    assert_eq!(
        gives.len(),
        1,
        "the owners of the secrets are set in a container: {notes}"
    );
    assert!(
        gives[0].contains("--cap-drop ALL --cap-add CHOWN"),
        "{}",
        gives[0]
    );
    let env = fs::read_to_string(checkout.path().join("compose/.env")).expect("an .env");
    assert!(env.contains("COMPOSE_FILE=compose.yaml:compose.dev.yaml"));

    // A second time, the operator's own settings stay, and no key is shown.
    fs::write(
        checkout.path().join("compose/.env"),
        "COMPOSE_FILE=compose.yaml\n",
    )
    .expect("a file");
    assert_eq!(bootstrap(checkout.path()).good("again"), "");
    let env = fs::read_to_string(checkout.path().join("compose/.env")).expect("an .env");
    assert_eq!(env, "COMPOSE_FILE=compose.yaml\n");
}
