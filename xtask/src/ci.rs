//! `cargo xtask ci`: every check in order, cheap ones first; the first failure ends it and says how to repeat it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{Failure, golden, house::House, program, squawk, tidy};

/// Runs everything; `test_arguments` go to the test runner.
///
/// # Errors
///
/// [`Failure`] of the first check that failed.
pub(crate) fn run(house: &House, test_arguments: &[&str]) -> Result<(), Failure> {
    let begun = Instant::now();
    cargo(house, "formatting", &["fmt", "--all", "--check"], &[])?;
    heading("tidy", "cargo xtask tidy");
    tidy::run(house)?;
    heading("steps of migrations", "cargo xtask squawk");
    squawk::run(house)?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    cargo(house, "lints", &clippy, &[])?;
    let doc = ["doc", "--workspace", "--no-deps", "--locked"];
    cargo(
        house,
        "documentation",
        &doc,
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    // The tests load the plugins' files and run the binary; `cargo test` alone would not write them.
    let build = ["build", "--workspace", "--locked"];
    cargo(house, "binaries", &build, &[])?;
    let tally = tests(house, test_arguments)?;
    heading("golden files", "cargo xtask golden --check");
    golden::check(house)?;
    println!(
        "\nall checks passed in {}\n{tally}",
        minutes(begun.elapsed())
    );
    Ok(())
}

/// `cargo test`, not nextest: the tests of one binary share a Postgres cluster, and nextest would start one per test.
fn tests(house: &House, arguments: &[&str]) -> Result<Tally, Failure> {
    let fixed = ["test", "--workspace", "--locked", "--no-fail-fast", "--"];
    let mut command = house.command("cargo");
    command.args([&fixed, arguments].concat());
    let line = typed(&command, &[]);
    heading("tests", &line);
    let mut tally = Tally::default();
    if program::each_line(&mut command, |line| tally.add(line)) {
        return Ok(tally);
    }
    println!("\n{tally}");
    Err(Failure::Step {
        step: "tests",
        command: line,
    })
}

/// What all test binaries report together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Counts a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; …`; others are none of its business.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in counts.split([';', '.']) {
            if let Some((number, what)) = part.trim().split_once(' ') {
                let number = number.parse().unwrap_or(0);
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.failed == 0 { "ok" } else { "FAILED" };
        let Self {
            passed,
            failed,
            ignored,
        } = self;
        write!(
            f,
            "test result: {word}. {passed} passed; {failed} failed; {ignored} ignored (all test binaries)"
        )
    }
}

fn cargo(
    house: &House,
    step: &'static str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<(), Failure> {
    let mut command = house.command("cargo");
    command.args(arguments).envs(environment.iter().copied());
    let line = typed(&command, environment);
    heading(step, &line);
    if program::succeeds(&mut command) {
        return Ok(());
    }
    Err(Failure::Step {
        step,
        command: line,
    })
}

fn typed(command: &Command, environment: &[(&str, &str)]) -> String {
    let set = environment
        .iter()
        .map(|(name, value)| format!("{name}='{value}' "));
    set.chain([program::line(command)]).collect()
}

fn heading(step: &str, line: &str) {
    println!("\n==> {step}: {line}");
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{} min {} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_repeated_with_the_words_that_it_printed() {
        let mut command = Command::new("cargo");
        command.args(["doc", "--no-deps"]);
        assert_eq!(
            typed(&command, &[("RUSTDOCFLAGS", "-D warnings")]),
            "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps"
        );
    }

    #[test]
    fn results_of_all_test_binaries_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s",
            "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            tally.add(line);
        }
        assert_eq!(
            tally.to_string(),
            "test result: FAILED. 7 passed; 1 failed; 1 ignored (all test binaries)"
        );
    }

    #[test]
    fn times_are_printed_for_people() {
        assert_eq!(minutes(Duration::from_secs(125)), "2 min 5 s");
    }
}
