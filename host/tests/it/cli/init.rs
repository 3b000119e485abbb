//! `nself init`

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::Project;

#[test]
fn a_project_is_made_privately_and_its_secrets_are_not_shown() {
    let project = Project::empty();
    let ran = project.run(&["init"]);
    ran.check(0, &[]);
    for (name, mode) in [
        (".nself", 0o700),
        ("plugins.d", 0o700),
        (".nself/secrets/master-key", 0o600),
    ] {
        assert_eq!(
            fs::metadata(project.path().join(name)).unwrap().mode() & 0o777,
            mode,
            "{name}"
        );
    }
    let secret = fs::read_to_string(project.path().join(".nself/secrets/master-key")).unwrap();
    assert_eq!(secret.len(), 64);
    assert!(
        ran.stdout.contains("generated secret master-key"),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains(&secret) && !ran.stderr.contains(&secret));
    assert!(
        fs::read_to_string(project.path().join(".gitignore"))
            .unwrap()
            .contains(".env.secrets")
    );
    project.run(&["config"]).check(0, &[]);
}

#[test]
fn a_second_time_changes_nothing() {
    let project = Project::with(&[("nself.toml", "# mine\n"), (".gitignore", "target\n.nself")]);
    project.run(&["init", "--template", "blank"]).check(0, &[]);
    let files = ["nself.toml", ".gitignore", ".nself/secrets/master-key"];
    let before = files.map(|name| fs::read_to_string(project.path().join(name)).unwrap());
    assert_eq!(before[0], "# mine\n");
    assert_eq!(
        before[1],
        "target\n.nself\n/plugins.d/\n/backups/\n.env\n.env.secrets\n"
    );

    let second = project.run(&["init", "--json"]);
    let report = &second.json()["data"];
    assert_eq!(
        (&report["created"], &report["secrets"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    assert_eq!(
        files.map(|name| fs::read_to_string(project.path().join(name)).unwrap()),
        before
    );
}

#[test]
fn a_name_with_quotes_is_a_name() {
    let project = Project::empty();
    project.run(&["init", "my \"family\" ü"]).check(0, &[]);
    let ran = project.run(&[
        "config",
        "project.name",
        "--json",
        "--project",
        "my \"family\" ü",
    ]);
    assert_eq!(ran.json()["data"][0]["value"], "my \"family\" ü");
}

#[test]
fn loose_permissions_are_refused_with_the_remedy() {
    let project = Project::empty();
    project.run(&["init"]).check(0, &[]);
    let state = project.path().join(".nself");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    project
        .run(&["init"])
        .check(77, &["error[SECRET_PERMISSIONS]", "help: chmod 700"]);
}

#[test]
fn a_place_that_cannot_be_made_is_said() {
    let project = Project::with(&[("file", "")]);
    project.run(&["init", "file/below"]).check(
        73,
        &["error[INIT_CREATE]: cannot create file/below", "cause: "],
    );
}

#[test]
fn many_at_a_time_make_one_project() {
    let project = Project::empty();
    let mut children: Vec<_> = (0..8)
        .map(|_| {
            project
                .command(&["init"], &[])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in &mut children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let ignored = fs::read_to_string(project.path().join(".gitignore")).unwrap();
    assert!(ignored.contains("/.nself/\n"), "{ignored}");
    assert_eq!(
        fs::read_dir(project.path().join(".nself/secrets"))
            .unwrap()
            .count(),
        2
    );
    project.run(&["config"]).check(0, &[]);
}
