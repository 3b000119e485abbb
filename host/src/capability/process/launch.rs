//! The last step before a program: `nself` once more, which makes itself end with the supervisor, takes a session of its own, and becomes
//! the program.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::{CommandExt as _, parent_id},
    process::{Command, ExitCode},
};

use rustix::process::{Signal, set_parent_process_death_signal, setsid};

/// The first word of its command line.
pub(super) const WORD: &str = "--nself-launch";
/// What shells say of a program that cannot be run.
const CANNOT_RUN: u8 = 126;
/// The first to go when there is no memory.
const SCORE: &str = "1000";

/// A command that becomes the program `words`, as a child of the thread that starts it.
pub(super) fn command(words: &[String]) -> Command {
    let mut command = Command::new(super::THIS);
    command
        .arg(WORD)
        .arg(std::process::id().to_string())
        .args(words);
    command
}

/// Becomes the program: `words` are the supervisor's number, the program, and its arguments.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let [supervisor, program, arguments @ ..] = words else {
        return ExitCode::from(CANNOT_RUN);
    };
    let bound = set_parent_process_death_signal(Some(Signal::KILL));
    // It may have ended before that.
    let is_alone = supervisor.to_str() != Some(&*parent_id().to_string());
    if bound.is_err() || is_alone || setsid().is_err() {
        return ExitCode::from(CANNOT_RUN);
    }
    // Where that is not allowed, all are equal.
    drop(fs::write("/proc/self/oom_score_adj", SCORE));
    let error = Command::new(program).args(arguments).exec();
    eprintln!("{} cannot be run: {error}", program.display());
    ExitCode::from(CANNOT_RUN)
}
