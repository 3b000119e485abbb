//! Runs the scenarios of a directory, the standard's conformance test kit for one, against the engine with stub servers:
//! `cargo run -p nself-plugin-orchestrator --example ctk -- DIRECTORY`.

use std::{env, path::Path, process::ExitCode};

#[path = "../tests/it/conformance.rs"]
mod conformance;
#[expect(dead_code, reason = "the tests use more of the driver")]
#[path = "../tests/it/driver.rs"]
mod driver;

fn main() -> ExitCode {
    let Some(directory) = env::args().nth(1) else {
        eprintln!("name the directory of the features");
        return ExitCode::FAILURE;
    };
    // A scenario that fails panics with its name and what it expected.
    let count = conformance::run_directory(Path::new(&directory));
    println!("{count} scenarios pass");
    if count == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
