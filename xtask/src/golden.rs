//! `cargo xtask golden`: files that a reader wants to see whole, generated from what is built.
//!
//! The command line and the routes are asked of the built programs. What a test of the host generates is written by that
//! test when `UPDATE_GOLDEN` is set, and compared by it otherwise.

mod cli;
mod routes;

use std::fs;

use crate::{Failure, house::House, program};

/// Tests that hold a file and what it is generated from together.
const TESTS: [&str; 4] = [
    "the_page_in_docs_is_this_one",
    "the_schema_file_is_this_one",
    "the_hasura_project_is_this_one",
    "the_data_model_page_is_this_one",
];

struct Golden {
    path: &'static str,
    text: String,
}

/// Writes all of them.
///
/// # Errors
///
/// [`Failure`] when something does not build or cannot be written.
pub(crate) fn write(house: &House) -> Result<(), Failure> {
    for golden in generate(house)? {
        fs::write(house.path(golden.path), golden.text).map_err(|error| Failure::File {
            path: golden.path.to_owned(),
            problem: error.to_string(),
        })?;
        println!("wrote {}", golden.path);
    }
    tests(house, true)
}

/// Compares all of them.
///
/// # Errors
///
/// [`Failure::Stale`] names those that differ.
pub(crate) fn check(house: &House) -> Result<(), Failure> {
    let stale: Vec<String> = generate(house)?
        .into_iter()
        .filter(|golden| house.read(golden.path).ok().as_ref() != Some(&golden.text))
        .map(|golden| golden.path.to_owned())
        .collect();
    if !stale.is_empty() {
        return Err(Failure::Stale(stale));
    }
    tests(house, false)
}

fn generate(house: &House) -> Result<Vec<Golden>, Failure> {
    let build = ["build", "--quiet", "--workspace", "--locked"];
    step(house.command("cargo").args(build), "binaries")?;
    Ok(vec![
        Golden {
            path: "docs/cli.md",
            text: cli::page(house)?,
        },
        Golden {
            path: "docs/routes.md",
            text: routes::page(house)?,
        },
    ])
}

fn tests(house: &House, write: bool) -> Result<(), Failure> {
    let mut command = house.command("cargo");
    command
        .args([
            "test", "--quiet", "--locked", "-p", "nself", "--lib", "--test", "it", "--",
        ])
        .args(TESTS);
    if write {
        command.env("UPDATE_GOLDEN", "1");
    }
    step(&mut command, "golden files of the tests")
}

fn step(command: &mut std::process::Command, step: &'static str) -> Result<(), Failure> {
    if program::succeeds(command) {
        return Ok(());
    }
    Err(Failure::Step {
        step,
        command: program::line(command),
    })
}
