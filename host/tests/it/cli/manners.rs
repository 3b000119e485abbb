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
fn every_error_code_has_its_page_and_every_page_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut codes = BTreeSet::new();
    let mut rooms = vec![root.join("host/src"), root.join("plugin-api/src")];
    let plugins = fs::read_dir(root.join("plugins")).unwrap();
    rooms.extend(plugins.map(|plugin| plugin.unwrap().path().join("src")));
    for room in rooms.iter().filter(|room| room.is_dir()) {
        codes.extend(codes_in(room));
    }
    for code in ["CONFIG_UNKNOWN_KEY", "POSTGRES", "TIMEOUT", "NOTE_TITLE"] {
        assert!(codes.contains(code), "{code} is not found any more");
    }
    let pages = root.join("docs/errors");
    let has_page = |code: &&String| pages.join(format!("{code}.md")).is_file();
    let lacking: Vec<_> = codes.iter().filter(|code| !has_page(code)).collect();
    assert!(
        lacking.is_empty(),
        "codes without a page in docs/errors: {lacking:?}"
    );

    let index = fs::read_to_string(pages.join("README.md")).unwrap();
    for entry in fs::read_dir(&pages).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let row = format!("]({name}) |");
        assert!(
            name == "README.md" || index.contains(&row),
            "docs/errors/README.md does not list {name}"
        );
    }
}

/// Words that look like codes and are none.
const OTHER_WORDS: [&str; 25] = [
    "ADULT_MEMBER",
    "CHILD_MEMBER",
    "CONTAINER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "GLIBC_PRIVATE",
    "HASURA_GRAPHQL_ADMIN_SECRET",
    "HASURA_GRAPHQL_DATABASE_URL",
    "HASURA_GRAPHQL_ENDPOINT",
    "HASURA_GRAPHQL_UNAUTHORIZED_ROLE",
    "IDEMPOTENCY_KEY",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "NO_COLOR",
    "PGCONNECT_TIMEOUT",
    "PG_VERSION",
    "POST",
    "REDIS_URL",
    "SCREAMING_SNAKE_CASE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "UPPER_SNAKE",
    "XDG_RUNTIME_DIR",
    "YOUTH_MEMBER",
];

/// Every text in the sources at or below `path` that is used as a code.
fn codes_in(path: &Path) -> Vec<String> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries
            .flat_map(|entry| codes_in(&entry.unwrap().path()))
            .collect();
    }
    if path.ends_with("tests.rs") {
        return Vec::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let compact: String = code.split_whitespace().collect();
    let mut codes = Vec::new();
    let mut before = String::new();
    for piece in compact.split('"') {
        if is_code(piece) && (piece.contains('_') || makes_an_error(&before)) {
            codes.push(piece.to_owned());
        }
        before.clear();
        before.push_str(piece);
    }
    codes.retain(|code| !OTHER_WORDS.contains(&code.as_str()) && !code.contains("NSELF_"));
    let variables = ["CARGO_", "OTEL_"];
    codes.retain(|code| !variables.iter().any(|prefix| code.starts_with(prefix)));
    codes
}

/// Whether the word that comes after this is a code, although it has no underscore.
fn makes_an_error(before: &str) -> bool {
    let calls = [
        "=>(",
        "new(",
        "::of(",
        "available(",
        "enticated(",
        "request(",
        "not_found(",
        "invalid(",
        "forbidden(",
    ];
    let is_status = |letter: char| letter.is_ascii_digit() || letter.is_ascii_uppercase();
    let after_status = before
        .strip_suffix(',')
        .is_some_and(|rest| rest.ends_with(is_status));
    after_status || calls.iter().any(|call| before.ends_with(call))
}

fn is_code(text: &str) -> bool {
    text.len() > 3
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter == '_')
}
