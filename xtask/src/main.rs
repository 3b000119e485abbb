//! cargo xtask: what CI runs, machine-checked invariants, golden files.
//!
//! It calls the built `nself` instead of linking the host, so that it compiles in seconds.

mod ci;
mod common_passwords;
mod golden;
mod house;
mod kept;
mod memory;
mod program;
mod squawk;
mod tidy;

use std::process::ExitCode;

use house::House;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci [-- ARGUMENTS]    everything that CI checks, in order; ARGUMENTS go to the test runner
  tidy                 the rules of the house that a machine can check
  squawk               what a linter of others says about the migrations
  golden [--check]     write the files that a reader wants to see whole, or compare them
  miri                 the tests of the boundary in Miri, where a nightly toolchain has it
  memcheck             the same in valgrind
  common-passwords FILE...
                       write the list of common passwords anew, from public lists
  password-words FILE  write the words that passwords are made of anew, from lists in Rust
  keep                 build hello and the fixture as released, and keep them for every later host to load
  new-plugin NAME      write a plugin crate to plugins/NAME, as `nself plugin new` does
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let house = House::here();
    let done = match words.as_slice() {
        ["ci"] => ci::run(&house, &[]),
        ["ci", "--", rest @ ..] => ci::run(&house, rest),
        ["tidy"] => tidy::run(&house),
        ["squawk"] => squawk::run(&house),
        ["golden"] => golden::write(&house),
        ["golden", "--check"] => golden::check(&house),
        ["miri"] => memory::miri(&house),
        ["memcheck"] => memory::memcheck(&house),
        ["password-words", source] => common_passwords::write_words(&house, source),
        ["common-passwords", sources @ ..] if !sources.is_empty() => {
            common_passwords::write(&house, sources)
        }
        ["keep"] => kept::keep(&house),
        ["new-plugin", name] => new_plugin(&house, name),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(Failure::Usage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage) => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The built host knows how.
fn new_plugin(house: &House, name: &str) -> Result<(), Failure> {
    let nself = house.nself();
    let mut command = house.command(&nself.to_string_lossy());
    print!(
        "{}",
        program::output(command.args(["plugin", "new", name]))?
    );
    Ok(())
}

/// Why a command of xtask failed. The texts end with what to do.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("unknown command")]
    Usage,
    #[error("{step} failed; repeat it with: {command}")]
    Step { step: &'static str, command: String },
    #[error(
        "{0} complaints: correct them, or add an exemption with its reason in xtask/src/tidy/exempt.rs"
    )]
    Untidy(usize),
    #[error("not current: {}; run cargo xtask golden and look at the difference", .0.join(", "))]
    Stale(Vec<String>),
    #[error("{program}: {problem}")]
    Program { program: String, problem: String },
    #[error("{path}: {problem}")]
    File { path: String, problem: String },
}
