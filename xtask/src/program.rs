//! Running other programs.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use crate::Failure;

/// Runs it with our terminal; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{}: {error}", name(command));
            false
        }
    }
}

/// Runs it, prints what it prints and shows each line to `see`; whether it succeeded.
pub(crate) fn each_line(command: &mut Command, mut see: impl FnMut(&str)) -> bool {
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("{}: {error}", name(command));
            return false;
        }
    };
    let pipe = child.stdout.take().expect("standard output was piped");
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        see(&line);
    }
    child.wait().is_ok_and(|status| status.success())
}

/// What it prints.
///
/// # Errors
///
/// [`Failure::Program`] with its standard error when it does not succeed.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&bytes(command)?).into_owned())
}

/// What it prints, which may be no text.
///
/// # Errors
///
/// As [`output`].
pub(crate) fn bytes(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::Program {
        program: line(command),
        problem: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if problem.is_empty() {
        problem = output.status.to_string();
    }
    Err(Failure::Program {
        program: line(command),
        problem,
    })
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
