//! Somebody who reads the document of the API and sends what it promises to take, and what it does not: schemathesis, against a host
//! with every plugin.
//!
//! What is sent is the same each time, a few requests of each kind. `HOSTILE_WHOLE=1` makes it a hundred of each by a seed of its own, which
//! it prints when something is found.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nself_compose::shell::{Answer, answer, command, root, tool};
use serde_json::Value;
use tempfile::TempDir;

use crate::build::{PLUGINS, staged};

/// What is asked of each answer is left to schemathesis, but for these. A schema says less than a value is asked for (an address that mail
/// can be sent to, a zone that there is), so what fits it may be refused. What an address with a fixed word does not allow, the one
/// with a parameter in its place may, as `OPTIONS` says.
const NOT_ASKED: &str = "positive_data_acceptance,unsupported_method,allow_header_conformance";

const SETTINGS: &str = "[http]\nrate_per_minute = 100000000\nplugin_ports = false\n";

/// A project whose host runs with every plugin.
struct Household {
    directory: TempDir,
    nself: PathBuf,
    image: TempDir,
    url: String,
    /// The operator's.
    key: String,
}

impl Household {
    fn start() -> Self {
        let image = staged();
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The account of a private Postgres passes through, when the tests run as root.
        let passable = fs::Permissions::from_mode(0o711);
        fs::set_permissions(directory.path(), passable).expect("permissions");
        let mut household = Self {
            nself: image.path().join("usr/local/bin/nself"),
            directory,
            image,
            url: String::new(),
            key: String::new(),
        };
        let made = household.data(&["init"]);
        household.key = text(&made, "/operator_key");
        household.write("nself.toml", SETTINGS.as_bytes());
        for plugin in PLUGINS {
            let file = household
                .image
                .path()
                .join(format!("usr/lib/nself/plugins/{plugin}.so"));
            let file = fs::read(file).expect("a plugin");
            household.write(&format!("plugins.d/{plugin}.so"), &file);
        }
        household.data(&[&["plugin", "enable", "--yes"], &PLUGINS[..]].concat());
        let urls = household.data(&["up", "--detach", "--port", "0"]);
        household.url = text(&urls, "/urls/0/url");
        household
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).expect("a file of the project");
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, words: &[&str]) -> Answer {
        answer(command(&self.nself).args(words).current_dir(self.path()))
    }

    fn data(&self, words: &[&str]) -> Value {
        let said = self.run(&[words, &["--json"]].concat());
        let said = said.good(&words.join(" "));
        let mut answer: Value = serde_json::from_str(&said).expect("JSON");
        answer["data"].take()
    }

    /// How many operations the document has.
    fn operations(&self) -> usize {
        let url = format!("{}/openapi.json", self.url);
        let document = answer(command("curl").args(["--silent", "--fail", &url]));
        let document = document.good("the document of the API");
        let document: Value = serde_json::from_str(&document).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        paths
            .values()
            .filter_map(|path| Some(path.as_object()?.len()))
            .sum()
    }

    /// Every operation, as whoever has this header.
    fn is_hammered(&self, header: &str) {
        let document = format!("{}/openapi.json", self.url);
        let is_whole = std::env::var_os("HOSTILE_WHOLE").is_some();
        let amount: &[&str] = if is_whole {
            &[
                "--max-examples",
                "100",
                "--workers",
                "auto",
                "--generation-database",
                "none",
            ]
        } else {
            &[
                "--max-examples",
                "3",
                "--workers",
                "2",
                "--generation-deterministic",
            ]
        };
        let mut schemathesis = tool("schemathesis");
        let settings = root().join("compose/tests/schemathesis.toml");
        schemathesis
            .arg("--config-file")
            .arg(settings)
            .args(["run", &document, "--header", header])
            .args(["--phases", "coverage,fuzzing", "--request-timeout", "10"])
            .args(["--exclude-checks", NOT_ASKED, "--no-color"])
            .args(amount)
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", root().join("compose/tests"))
            // No bytes of Python's beside its source.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.path());
        let said = answer(&mut schemathesis);
        assert!(said.success, "{}\n{}", said.out, said.err);
        let mut words = said.out.split_whitespace();
        let tested = words.find(|word| *word == "Tested:").and(words.next());
        let tested: usize = tested
            .and_then(|tested| tested.parse().ok())
            .expect("how many");
        let operations = self.operations();
        // By its own count there is one fewer than it finds and tries.
        assert!(
            tested + 1 >= operations,
            "{tested} of {operations}: {}",
            said.out
        );
    }
}

impl Drop for Household {
    fn drop(&mut self) {
        self.run(&["stop"]);
        // Where root starts a cluster it stands outside of the project.
        if let Ok(elsewhere) = fs::read_link(self.path().join(".nself/pg")) {
            let _ = fs::remove_dir_all(elsewhere.parent().unwrap_or(&elsewhere));
        }
    }
}

#[track_caller]
fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no {pointer} in {value}"))
        .to_owned()
}

#[test]
fn what_fits_the_document_and_what_does_not_is_answered_as_it_says() {
    let household = Household::start();
    household.is_hammered(&format!("x-api-key: {}", household.key));
    let token = household.run(&["token", "--role", "owner"]);
    let token = token.good("a token").trim().to_owned();
    // In this spelling it is left out where it is tried whether one gets in without it.
    household.is_hammered(&format!("Authorization: Bearer {token}"));
}
