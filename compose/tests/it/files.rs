//! What the tools of others say about the files; each of them is also shown a broken file, which it has to refuse.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nself_compose::{
    shell::{answer, root, tool},
    stack::{OPERATOR, STAGES, config},
};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A copy of a file with one thing changed.
fn broken(path: &str, from: &str, to: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = read(path);
    assert!(text.contains(from), "{path} has {from}");
    let name = path.rsplit('/').next().expect("a name");
    let copy = directory.path().join(name);
    fs::write(&copy, text.replacen(from, to, 1)).expect("a file");
    (directory, copy)
}

#[track_caller]
fn check_refused(mut tool: Command, expected: &str) {
    let said = answer(&mut tool);
    let all = said.out + &said.err;
    assert!(!said.success && all.contains(expected), "{tool:?}: {all}");
}

#[test]
fn compose_itself_reads_every_stage() {
    for stage in STAGES {
        config(&stage.files(), &OPERATOR).good(&format!("{stage:?}"));
    }
}

#[test]
fn compose_refuses_a_misspelt_key_and_a_network_that_is_not_there() {
    for (from, to, expected) in [
        ("read_only: true", "readonly: true", "readonly"),
        ("networks: [data]", "networks: [date]", "date"),
        (
            "postgres: {condition: service_healthy",
            "postgress: {condition: service_healthy",
            "postgress",
        ),
    ] {
        let (_directory, copy) = broken("compose/compose.yaml", from, to);
        let mut compose = tool("docker-compose");
        compose.arg("--file").arg(copy).args(["config", "--quiet"]);
        check_refused(compose, expected);
    }
}

#[test]
fn the_files_fit_the_schema_of_the_compose_specification() {
    let check = |file: PathBuf| {
        let mut check = tool("check-jsonschema");
        check
            .args(["--builtin-schema", "vendor.compose-spec"])
            .arg(file);
        check
    };
    for stage in STAGES {
        for file in stage.files() {
            answer(&mut check(root().join("compose").join(file))).good(file);
        }
    }
    let (_directory, copy) = broken("compose/compose.yaml", "read_only:", "readonly:");
    check_refused(check(copy), "readonly");
}

#[test]
fn hadolint_has_nothing_to_say_about_the_dockerfile() {
    answer(tool("hadolint").arg("compose/Dockerfile")).good("hadolint");
    let (_directory, copy) = broken("compose/Dockerfile", "WORKDIR /source", "WORKDIR source");
    let mut hadolint = tool("hadolint");
    hadolint.arg(copy);
    check_refused(hadolint, "DL3000");
}

#[test]
fn checkov_has_nothing_to_say_about_the_dockerfile() {
    let check = |directory: &Path| {
        let mut checkov = tool("checkov");
        checkov.arg("--directory").arg(directory);
        checkov.args(["--framework", "dockerfile", "--compact", "--quiet"]);
        checkov.arg("--skip-download");
        checkov
    };
    answer(&mut check(&root().join("compose"))).good("checkov");
    let (directory, _) = broken("compose/Dockerfile", "\nUSER ", "\n# USER ");
    check_refused(check(directory.path()), "CKV_DOCKER_3");
}

#[test]
fn caddy_reads_the_caddyfile() {
    let validate = |file: &str| {
        let mut caddy = tool("caddy");
        caddy.args(["validate", "--adapter", "caddyfile", "--config", file]);
        caddy
    };
    answer(&mut validate("compose/Caddyfile")).good("caddy validate");
    let mut formatted = tool("caddy");
    let formatted = answer(formatted.args(["fmt", "compose/Caddyfile"]));
    assert_eq!(formatted.out, read("compose/Caddyfile"), "caddy fmt");
    let (_directory, copy) = broken(
        "compose/Caddyfile",
        "reverse_proxy nself",
        "reverse_prox nself",
    );
    check_refused(validate(&copy.to_string_lossy()), "reverse_prox");
}

#[test]
fn shellcheck_has_nothing_to_say_about_the_scripts() {
    let scripts = ["compose", "compose/tests", "compose/tests/lab", "scripts"];
    let scripts = scripts.into_iter().flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder))
            .expect("a folder")
            .flatten();
        entries
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|ending| ending == "sh")
            })
            .map(move |entry| format!("{folder}/{}", entry.file_name().to_string_lossy()))
    });
    let scripts: Vec<String> = scripts.collect();
    assert!(scripts.len() > 10, "{scripts:?}");
    answer(tool("shellcheck").arg("--external-sources").args(&scripts)).good("shellcheck");
    let (_directory, copy) = broken(
        "compose/container.sh",
        "basename \"$file\"",
        "basename $file",
    );
    let mut shellcheck = tool("shellcheck");
    shellcheck.arg(copy);
    check_refused(shellcheck, "SC2086");
}

/// Names such as `NSELF_IMAGE` that the files ask Compose for.
fn variables(text: &str) -> BTreeSet<String> {
    let parts = text.split("${").skip(1);
    parts
        .map(|part| {
            part.chars()
                .take_while(|letter| letter.is_ascii_uppercase() || *letter == '_')
                .collect()
        })
        .collect()
}

#[test]
fn the_example_of_an_env_file_has_every_variable_that_the_files_read_and_no_other() {
    let files = [
        "compose.yaml",
        "compose.dev.yaml",
        "compose.staging.yaml",
        "compose.prod.yaml",
    ];
    let read_by_files: BTreeSet<String> = files
        .iter()
        .flat_map(|file| variables(&read(&format!("compose/{file}"))))
        .collect();
    let example = read("compose/.env.example");
    let stated = example.lines().filter_map(|line| {
        let (name, _) = line.trim_start_matches('#').split_once('=')?;
        let is_name = name
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter == '_');
        is_name.then(|| name.to_owned())
    });
    // Compose's own.
    let stated: BTreeSet<String> = stated
        .filter(|name| !name.starts_with("COMPOSE_"))
        .collect();
    assert_eq!(stated, read_by_files);
}

#[test]
fn compose_takes_the_example_as_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = |name: &str, to: &str| {
        fs::copy(root().join("compose").join(name), directory.path().join(to)).expect("a copy")
    };
    for file in ["compose.yaml", "compose.dev.yaml"] {
        copy(file, file);
    }
    copy(".env.example", ".env");
    let mut compose = tool("docker-compose");
    let services = answer(
        compose
            .current_dir(directory.path())
            .args(["config", "--services"]),
    )
    .good("the example");
    assert!(services.lines().any(|line| line == "nself"), "{services}");
    assert!(
        !services.lines().any(|line| line == "caddy"),
        "the proxy waits for its profile"
    );
}

/// The files of this directory that the README names are there.
#[test]
fn the_readme_names_files_that_are_there() {
    let readme = read("compose/README.md");
    let words = readme.split(|letter: char| letter.is_whitespace() || "`()|,;:".contains(letter));
    let paths: Vec<String> = words
        .map(|word| word.trim_end_matches('.'))
        .filter_map(|word| match word.rsplit_once('.') {
            Some((_, "sh")) if word.starts_with("compose/") => Some(word.to_owned()),
            Some((_, "yaml")) if word.starts_with("compose.") => Some(format!("compose/{word}")),
            _ => None,
        })
        .collect();
    assert!(paths.len() > 4, "{paths:?}");
    for path in paths {
        assert!(root().join(&path).exists(), "{path}");
    }
}
