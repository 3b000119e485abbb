//! A command on a terminal of its own, and who sits before it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::ioctl_fionbio;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::project::{PATIENCE, Project, send_signal};

/// A running command. It is killed when the test ends, however it ends.
pub(super) struct Sitting {
    child: Child,
    /// Where the command is; open here, so that what it is can be asked for after its end.
    terminal: OwnedFd,
    /// Where the person is; nothing when they have left.
    person: Option<File>,
    /// What was written to it so far.
    text: String,
    before: String,
}

fn size(width: u16, height: u16) -> Winsize {
    Winsize {
        ws_col: width,
        ws_row: height,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Sitting {
    /// Runs the command in a session whose terminal it is.
    pub(super) fn down(project: &Project, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let person =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = open(&name, flags, Mode::empty()).unwrap();
        tcsetwinsize(&terminal, size(120, 30)).unwrap();
        let before = modes(&terminal);
        let inner = project.command(arguments);
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(inner.get_program())
            .args(arguments);
        let kept = inner.get_envs();
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm")
            .envs(kept.filter_map(|(key, value)| Some((key, value?))))
            .envs(variables.iter().copied())
            .current_dir(project.path())
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap());
        let child = command.spawn().unwrap();
        // What is not there yet is not waited for: there is a limit to that.
        ioctl_fionbio(&person, true).unwrap();
        Self {
            child,
            terminal,
            person: Some(person.into()),
            text: String::new(),
            before,
        }
    }

    /// Types.
    pub(super) fn types(&mut self, keys: &str) {
        let person = self.person.as_mut().unwrap();
        person.write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the terminal larger or smaller.
    pub(super) fn resizes(&self, width: u16, height: u16) {
        tcsetwinsize(&self.terminal, size(width, height)).unwrap();
    }

    /// Waits until the picture is as `condition` wants it; its lines.
    #[track_caller]
    pub(super) fn sees(
        &mut self,
        what: &str,
        condition: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let limit = Instant::now() + PATIENCE;
        loop {
            self.read();
            let picture = self.picture();
            if condition(&picture) {
                return picture;
            }
            assert!(
                Instant::now() < limit,
                "did not see {what}: {picture:#?}\n{:?}",
                self.text
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads what is there.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        // An error: nothing more at the moment, or nobody has the terminal any more.
        while let Some(Ok(read @ 1..)) = self.person.as_mut().map(|person| person.read(&mut bytes))
        {
            self.text += &String::from_utf8_lossy(&bytes[..read]);
        }
    }

    /// The last picture that was drawn to its end, without colours.
    fn picture(&self) -> Vec<String> {
        let whole = self.text.rfind("\x1b[?2026l").map(|end| &self.text[..end]);
        let start = whole.and_then(|whole| Some(&whole[whole.rfind("\x1b[H")? + 3..]));
        let Some(picture) = start else {
            return Vec::new();
        };
        picture.split("\r\n").map(plain).collect()
    }

    /// Everything that was written to the terminal so far.
    pub(super) fn everything(&mut self) -> &str {
        self.read();
        &self.text
    }

    pub(super) fn signal(&self, signal: Signal) {
        send_signal(self.child.id(), signal);
    }

    /// Closes the window.
    pub(super) fn leaves(&mut self) {
        self.person = None;
    }

    /// Waits for the end of the command.
    #[track_caller]
    pub(super) fn ended(&mut self) -> ExitStatus {
        let limit = Instant::now() + PATIENCE;
        loop {
            // Who does not read holds up who writes.
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < limit, "still runs: {:?}", self.text);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the terminal is as it was before the command.
    #[track_caller]
    pub(super) fn is_as_before(&self) {
        assert_eq!(modes(&self.terminal), self.before);
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modes(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

/// A line without escape sequences.
fn plain(line: &str) -> String {
    let mut pieces = line.split('\x1b');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        let end = piece.find(|letter: char| letter.is_ascii_alphabetic());
        text + end.map_or("", |end| &piece[end + 1..])
    })
}
