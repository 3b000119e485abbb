//! How the command line behaves whatever the command: envelopes, exit codes, pipes, colours.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Project;

#[test]
fn answers_and_errors_have_one_envelope() {
    let project = Project::with(&[("nself.toml", "[http]\nprot = 1\n")]);
    let version = project.run(&["version", "--json"]);
    assert_eq!((version.code, &version.json()["ok"]), (0, &true.into()));
    assert_eq!(version.json()["data"]["version"], env!("CARGO_PKG_VERSION"));

    let refused = project.run(&["--json", "config"]);
    let error = &refused.json()["error"];
    assert_eq!(
        (refused.code, refused.stderr.as_str(), &refused.json()["ok"]),
        (78, "", &false.into())
    );
    assert_eq!(
        (&error["code"], &error["help"]),
        (
            &"CONFIG_UNKNOWN_KEY".into(),
            &"did you mean `http.port`?".into()
        )
    );

    let misspelt = project.run(&["confg", "--json"]);
    assert_eq!(
        (misspelt.code, &misspelt.json()["error"]["code"]),
        (2, &"USAGE".into())
    );
}

#[test]
fn a_misspelt_command_gets_a_suggestion_and_exit_code_2() {
    Project::empty().run(&["confg"]).check(2, &["config"]);
    Project::empty().run(&[]).check(2, &["Usage: nself"]);
    let help = Project::empty().run(&["--help"]);
    assert_eq!(
        (help.code, help.stdout.contains("Usage: nself")),
        (0, true),
        "{help:?}"
    );
    Project::empty()
        .run(&["config", "--project", "nowhere"])
        .check(2, &["error[PROJECT_NOT_FOUND]", "nself init 'nowhere'"]);
}

#[test]
fn a_full_disk_fails_and_a_closed_pipe_does_not() {
    let project = Project::empty();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = project
        .command(&["config"], &[])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("error[OUTPUT]")
    );

    let mut child = project
        .command(&["config"], &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
}

/// Runs a command on a terminal of its own, which `script` (bsdutils, essential in Debian) provides.
fn on_terminal(project: &Project, line: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("script");
    command.args([
        "-qec",
        &format!("{} {line}", env!("CARGO_BIN_EXE_nself")),
        "/dev/null",
    ]);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied());
    let output = command
        .current_dir(project.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let project = Project::with(&[("nself.toml", "[http]\nprot = 1\n")]);
    for line in ["gaps", "config", "--help", "gasp"] {
        assert!(
            !project
                .run(&line.split(' ').collect::<Vec<_>>())
                .stderr
                .contains('\x1b'),
            "{line} in a pipe"
        );
        assert!(
            !on_terminal(&project, line, &[("NO_COLOR", "1"), ("TERM", "xterm")]).contains('\x1b'),
            "{line} with NO_COLOR"
        );
        assert!(
            !on_terminal(&project, line, &[("TERM", "dumb")]).contains('\x1b'),
            "{line} on a dumb terminal"
        );
    }
    assert!(on_terminal(&project, "gaps", &[("TERM", "xterm")]).contains('\x1b'));
    assert!(on_terminal(&project, "config", &[("TERM", "xterm")]).contains("\x1b[1;31merror["));
}

#[test]
fn every_error_code_has_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut codes = BTreeSet::new();
    for room in ["config", "cli", "control", "telemetry"] {
        let file = root.join("src").join(room);
        codes.extend(codes_in(&file.with_extension("rs")));
        codes.extend(codes_in(&file));
    }
    assert!(
        codes.contains("CONFIG_UNKNOWN_KEY") && codes.contains("HOST_NOT_RUNNING"),
        "{codes:?}"
    );
    let has_page = |code: &String| root.join(format!("../docs/errors/{code}.md")).is_file();
    let lacking: Vec<_> = codes.iter().filter(|code| !has_page(code)).collect();
    assert_eq!(
        lacking,
        Vec::<&String>::new(),
        "codes without a page in docs/errors"
    );
}

/// Every text in the sources at or below `path` that is used as a code.
fn codes_in(path: &Path) -> Vec<String> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries
            .flat_map(|entry| codes_in(&entry.unwrap().path()))
            .collect();
    }
    let compact: String = fs::read_to_string(path)
        .unwrap()
        .split_whitespace()
        .collect();
    let starts = ["=>\"", "Error::new(\"", "Self::new(\"", "::of(\""];
    let texts = starts.iter().flat_map(|start| compact.split(start).skip(1));
    let words = texts.filter_map(|rest| rest.split('"').next());
    words
        .filter(|word| is_code(word))
        .map(str::to_owned)
        .collect()
}

fn is_code(text: &str) -> bool {
    text.len() > 4
        && text
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter == '_')
}
