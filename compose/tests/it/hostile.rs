//! Somebody who reads the document of the API and sends what it promises to take, and what it does not: schemathesis, against a host
//! with every plugin.
//!
//! What is sent is the same each time, a few requests of each kind. `HOSTILE_WHOLE=1` makes it a hundred of each by a seed of its own, which
//! it prints when something is found.

use nself_compose::shell::{answer, command, root, tool};
use serde_json::Value;

use crate::{build::PLUGINS, household::Household};

/// What is asked of each answer is left to schemathesis, but for these. A schema says less than a value is asked for (an address that mail
/// can be sent to, a zone that there is), so what fits it may be refused. What an address with a fixed word does not allow, the one
/// with a parameter in its place may, as `OPTIONS` says.
const NOT_ASKED: &str = "positive_data_acceptance,unsupported_method,allow_header_conformance";

#[test]
fn what_fits_the_document_and_what_does_not_is_answered_as_it_says() {
    let household = Household::start(&PLUGINS, "");
    // An operator has no token, so leaving that out leaves nothing out.
    let not_asked = format!("{NOT_ASKED},missing_required_header");
    is_hammered(&household, &household.operator(), &not_asked);
    let token = household.run(&["token", "--role", "owner"]);
    let token = token.good("a token").trim().to_owned();
    // In this spelling it is left out where it is tried whether one gets in without it.
    let token = format!("Authorization: Bearer {token}");
    is_hammered(&household, &token, NOT_ASKED);
}

/// How many operations the document has.
fn operations(household: &Household) -> usize {
    let url = format!("{}/openapi.json", household.url);
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
fn is_hammered(household: &Household, header: &str, not_asked: &str) {
    let document = format!("{}/openapi.json", household.url);
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
        .args(["--exclude-checks", not_asked, "--no-color"])
        .args(amount)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", root().join("compose/tests"))
        // No bytes of Python's beside its source.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(household.path());
    let said = answer(&mut schemathesis);
    assert!(said.success, "{}\n{}", said.out, said.err);
    let mut words = said.out.split_whitespace();
    let tested = words.find(|word| *word == "Tested:").and(words.next());
    let tested: usize = tested
        .and_then(|tested| tested.parse().ok())
        .expect("how many");
    let operations = operations(household);
    // By its own count there is one fewer than it finds and tries.
    assert!(
        tested + 1 >= operations,
        "{tested} of {operations}: {}",
        said.out
    );
}
