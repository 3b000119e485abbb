//! The boundary's unsafe code under tools that see what a test cannot: Miri and valgrind. Not part of `ci`, because neither
//! is everywhere.

use std::process::Command;

use crate::{Failure, house::House, program};

/// What they run: the tests of both sides of the boundary in one process.
const TESTS: [&str; 6] = [
    "-p",
    "nself-plugin-api",
    "--lib",
    "--test",
    "boundary",
    "--locked",
];

/// Runs the tests in Miri: undefined behaviour, leaks.
///
/// # Errors
///
/// [`Failure::Step`], also without Miri; it says how to install it.
pub(crate) fn miri(house: &House) -> Result<(), Failure> {
    let mut command = house.command("cargo");
    command.args(["+nightly", "miri", "test"]).args(TESTS);
    // A test reads the file with the released layout.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    run(
        "Miri (rustup toolchain install nightly --component miri,rust-src)",
        command,
    )
}

/// Runs the tests in valgrind: what is read before it is written, what is used after it was freed, leaks.
///
/// # Errors
///
/// [`Failure::Step`], also without valgrind; it says how to install it.
pub(crate) fn memcheck(house: &House) -> Result<(), Failure> {
    let runner = "target.'cfg(all())'.runner = ['valgrind', '--quiet', '--leak-check=full', '--show-leak-kinds=definite', \
         '--errors-for-leak-kinds=definite', '--error-exitcode=1']";
    let mut command = house.command("cargo");
    command.args(["test", "--config", runner]).args(TESTS);
    run("memcheck (apt-get install valgrind)", command)
}

fn run(step: &'static str, mut command: Command) -> Result<(), Failure> {
    let line = program::line(&command);
    println!("==> {line}");
    if program::succeeds(&mut command) {
        return Ok(());
    }
    Err(Failure::Step {
        step,
        command: line,
    })
}
