//! Passwords of signing keys: from a file or a terminal, never from the arguments, which everybody on a machine can read.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::super::{CliError, Exit};

/// Where a password comes from.
#[derive(Debug, Clone, clap::Args)]
pub struct PasswordArgs {
    /// File whose first line is the password of the key [default: it is asked for on the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// The password; `question` is what is asked on a terminal.
    ///
    /// # Errors
    ///
    /// Without a terminal there is nobody to ask: the error names the flag.
    pub(super) fn read(&self, question: &str) -> Result<Zeroizing<String>, CliError> {
        let Some(file) = &self.password_file else {
            return ask(question);
        };
        let text = fs::read_to_string(file).map(Zeroizing::new);
        let text = text.map_err(|error| {
            CliError::of("SIGNING_KEY", Exit::BadData, &error)
                .with_help(format!("make {} readable", file.display()))
        })?;
        Ok(Zeroizing::new(
            text.lines().next().unwrap_or_default().to_owned(),
        ))
    }
}

fn ask(question: &str) -> Result<Zeroizing<String>, CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() || !io::stderr().is_terminal() {
        let message = "the key has a password, and nobody is there to type it";
        return Err(CliError::new("SIGNING_KEY", Exit::Usage, message)
            .with_help("put it into a file of mode 0600 and pass --password-file FILE"));
    }
    let failed = |error: &dyn std::error::Error| CliError::of("SIGNING_KEY", Exit::Failed, error);
    let quiet = Quiet::begin().map_err(|error| failed(&error))?;
    let mut line = Zeroizing::new(String::new());
    let asked = write!(io::stderr(), "{question}: ")
        .and_then(|()| io::stderr().flush())
        .and_then(|()| stdin.lock().read_line(&mut line));
    drop(quiet);
    // The typed end of line was not shown either; when this fails, the terminal is gone.
    let _ = writeln!(io::stderr());
    asked.map_err(|error| failed(&error))?;
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    Ok(line)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
