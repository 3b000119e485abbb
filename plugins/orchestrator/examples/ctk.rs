//! Runs the scenarios of a directory, the standard's conformance test kit for one, against the engine with stub servers, or with `host`
//! on a real host; on it, the definitions of the directory (`*.yaml`) are kept as well:
//! `cargo run -p nself-plugin-orchestrator --example ctk -- [host] DIRECTORY`. With `examples` in place of `host` the directory holds
//! examples: definitions that are judged, and run to their ends when they need nothing that is not there.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[cfg_attr(not(test), expect(dead_code, reason = "the tests use more of it"))]
#[path = "../tests/it/conformance.rs"]
mod conformance;
#[expect(dead_code, reason = "the tests use more of the driver")]
#[path = "../tests/it/driver.rs"]
mod driver;
#[path = "../tests/it/examples.rs"]
mod examples;
#[path = "../tests/it/kit.rs"]
mod kit;
#[expect(dead_code, reason = "the tests use more of the stage")]
#[path = "../tests/it/stage.rs"]
mod stage;
#[expect(dead_code, reason = "the tests use more of the stub")]
#[path = "../tests/it/stub.rs"]
mod stub;

use crate::examples::Verdict;

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // A scenario that fails panics with its name and what it expected.
    let count = match words[..] {
        ["host", directory] => on_host(Path::new(directory)).await,
        ["examples", directory] => return judge(Path::new(directory)).await,
        [directory] => {
            let scenarios = conformance::read_directory(Path::new(directory));
            for scenario in &scenarios {
                println!("{}", scenario.name);
                conformance::check(scenario);
            }
            scenarios.len()
        }
        _ => {
            eprintln!(
                "name the directory of the features, after `host` when they are for a host, or that of examples after `examples`"
            );
            return ExitCode::FAILURE;
        }
    };
    println!("{count} pass");
    if count == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn on_host(directory: &Path) -> usize {
    let kit = kit::Kit::open().await;
    let scenarios = conformance::read_directory(directory);
    for (number, scenario) in scenarios.iter().enumerate() {
        println!("{}", scenario.name);
        kit.check(number, scenario).await;
    }
    let definitions = definitions(directory);
    for (number, path) in definitions.iter().enumerate() {
        println!("{}", path.display());
        let text = fs::read_to_string(path).expect("a text");
        kit.keep(scenarios.len() + number, &text).await;
    }
    kit.close().await;
    scenarios.len() + definitions.len()
}

/// Judges examples, each in a line as soon as it is known, and how many there are of each kind at last.
async fn judge(directory: &Path) -> ExitCode {
    let verdicts = examples::run(directory).await;
    let count =
        |is_one: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, one)| is_one(one)).count();
    let runs = count(|one| matches!(one, Verdict::Runs(_)));
    let left_out = count(|one| matches!(one, Verdict::LeftOut(_)));
    let fails = count(|one| matches!(one, Verdict::Fails(_)));
    println!("{runs} run, {left_out} are left out, {fails} fail");
    if fails == 0 && runs > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn definitions(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    paths.sort();
    paths
}
