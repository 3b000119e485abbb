//! The build of the image, without Docker: the Dockerfile calls `build.sh`, and so do these tests.

use std::fs;

use nself_compose::{
    shell::{answer, command, root},
    stack::{Stack, Stage},
};
use tempfile::TempDir;

/// What the image has beside the host.
pub(crate) const PLUGINS: [&str; 6] = [
    "auth",
    "jobs",
    "mail",
    "orchestrator",
    "scheduler",
    "stream",
];

/// The files of the image, laid out by the script that the Dockerfile calls, out of the build that the tests use.
pub(crate) fn staged() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let build = |words: &[&str]| {
        let mut build = command("compose/build.sh");
        build.env("PROFILE", "dev").args(words);
        answer(&mut build).good("compose/build.sh");
    };
    build(&["compile"]);
    build(&["stage", &directory.path().to_string_lossy()]);
    directory
}

fn dockerfile() -> Vec<String> {
    let text = fs::read_to_string(root().join("compose/Dockerfile")).expect("a Dockerfile");
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// What stands behind an instruction, each time it occurs.
fn instructions(name: &str) -> Vec<String> {
    let lines = dockerfile().into_iter();
    lines
        .filter_map(|line| {
            Some(
                line.strip_prefix(name)?
                    .strip_prefix(' ')?
                    .trim()
                    .to_owned(),
            )
        })
        .collect()
}

#[test]
fn the_image_is_made_of_the_host_and_every_plugin() {
    let image = staged();
    let said = answer(command(image.path().join("usr/local/bin/nself")).arg("version"));
    assert!(said.good("nself").contains(env!("CARGO_PKG_VERSION")));
    let plugins = fs::read_dir(image.path().join("usr/lib/nself/plugins")).expect("plugins");
    let mut plugins: Vec<String> = plugins
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    plugins.sort();
    for id in [
        "auth.so",
        "jobs.so",
        "mail.so",
        "orchestrator.so",
        "scheduler.so",
        "stream.so",
    ] {
        assert!(plugins.iter().any(|plugin| plugin == id), "{plugins:?}");
    }
}

#[test]
fn the_dockerfile_builds_by_the_script_and_by_nothing_else() {
    let runs = instructions("RUN");
    assert_eq!(runs.len(), 1, "{runs:?}");
    let options = runs[0]
        .split_whitespace()
        .filter(|word| word.starts_with("--mount="));
    let words = runs[0].split_whitespace().skip(options.count());
    let line = words.collect::<Vec<_>>().join(" ");
    assert_eq!(
        line,
        "compose/build.sh compile && compose/build.sh stage /image"
    );
}

#[test]
fn the_image_runs_as_a_number_with_the_health_check_and_the_ports_of_the_stack() {
    let stack = Stack::of(Stage::Base);
    let service = stack.service("nself");
    assert_eq!(instructions("USER"), [service.text("/user")]);
    let health = instructions("HEALTHCHECK").remove(0);
    let (options, check) = health.split_once("CMD ").expect("a command");
    let check: Vec<String> = serde_json::from_str(check).expect("a list");
    assert_eq!(check, service.words("/healthcheck/test")[1..]);
    for option in [
        "--interval=10s",
        "--timeout=5s",
        "--retries=6",
        "--start-period=2m",
        "--start-interval=1s",
    ] {
        assert!(options.contains(option), "{option}");
    }
    let ports = service.list("/ports");
    let ports: Vec<String> = ports
        .iter()
        .map(|port| port["target"].to_string())
        .collect();
    assert_eq!(instructions("EXPOSE"), [ports.join(" ")]);
}

#[test]
fn every_image_of_the_build_is_pinned_by_tag_and_digest() {
    for image in instructions("FROM") {
        let reference = image.split_whitespace().next().expect("an image");
        crate::checklist::check_pinned(reference);
    }
}

/// What the ignore file keeps out, the compiler does not find.
#[test]
fn the_context_holds_every_member_of_the_workspace_and_no_secret() {
    let ignored =
        fs::read_to_string(root().join("compose/Dockerfile.dockerignore")).expect("it is there");
    let lines: Vec<&str> = ignored.lines().collect();
    assert!(lines.contains(&"*"), "nothing is let in unless it is named");
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("a workspace");
    let workspace: toml::Table = workspace.parse().expect("TOML");
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("members");
    for member in members.iter().filter_map(toml::Value::as_str) {
        let top = member.split('/').next().expect("a name");
        assert!(lines.contains(&format!("!{top}").as_str()), "{top}");
    }
    for kept_out in ["compose/secrets", "compose/.env"] {
        assert!(lines.contains(&kept_out), "{kept_out}");
    }
}
