//! The commands of a page, and typing them.

use std::{
    collections::VecDeque,
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Stdio},
};

use nself_compose::shell::{Answer, answer, eventually, root};
use tempfile::NamedTempFile;

use crate::household::Household;

/// What a command of a page begins with.
const PROGRAMS: [&str; 8] = [
    "nself",
    "curl",
    "du",
    "journalctl",
    "psql",
    "readlink",
    "systemctl",
    "tail",
];

/// The host's address as the pages have it.
const ADDRESS: &str = "localhost:3000";

/// A page, and those of its commands that have not been typed yet.
pub(super) struct Page {
    name: &'static str,
    commands: VecDeque<String>,
}

impl Page {
    pub(super) fn read(name: &'static str) -> Self {
        let path = root().join("docs/operator").join(name);
        let text = fs::read_to_string(path).expect("the page is there");
        let spans = text.split('`').skip(1).step_by(2);
        let commands = spans.filter(|span| {
            let mut words = span.split(' ');
            let program = words.next().unwrap_or_default();
            PROGRAMS.contains(&program) && words.next().is_some()
        });
        Self {
            name,
            commands: commands.map(str::to_owned).collect(),
        }
    }

    /// The page's next command must be this one.
    #[track_caller]
    fn next(&mut self, expected: &str) {
        let next = self.commands.pop_front();
        assert_eq!(
            next.as_deref(),
            Some(expected),
            "the next command of {}",
            self.name
        );
    }

    /// Types the page's next command, which must be this one, with what is meant in the place of words.
    #[track_caller]
    pub(super) fn types(
        &mut self,
        household: &Household,
        expected: &str,
        meant: &[(&str, &str)],
    ) -> Answer {
        self.next(expected);
        answer(&mut household.shell(&filled(household, expected, meant)))
    }

    /// The same of one that asks first: with `y` on a terminal.
    #[track_caller]
    pub(super) fn confirms(
        &mut self,
        household: &Household,
        expected: &str,
        meant: &[(&str, &str)],
    ) -> Answer {
        self.next(expected);
        let line = filled(household, expected, meant);
        let mut terminal = household.shell("exec script -qec \"$LINE\" /dev/null");
        terminal.env("LINE", line).stdin(Stdio::piped());
        let spawned = terminal
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut typed = spawned.expect("a shell starts");
        let mut keyboard = typed.stdin.take().expect("it was piped");
        keyboard.write_all(b"y\n").expect("it reads");
        let output = typed.wait_with_output().expect("it ends");
        drop(keyboard);
        let [out, err] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(out.contains("[y/N]"), "{expected} asks first: {out}{err}");
        Answer {
            success: output.status.success(),
            out,
            err,
        }
    }

    /// The same of one that goes on until it is ended.
    #[track_caller]
    pub(super) fn watches(
        &mut self,
        household: &Household,
        expected: &str,
        meant: &[(&str, &str)],
    ) -> Watched {
        self.next(expected);
        Watched::begin(household, &filled(household, expected, meant))
    }

    /// The same of one that takes systemd, which no test has: what it says of the unit is what the unit is called.
    #[track_caller]
    pub(super) fn leaves_to_systemd(&mut self, household: &Household, expected: &str) {
        self.next(expected);
        let help = household.run(&["systemd", "--help"]).good("the units");
        assert!(help.contains("/etc/systemd/system/nself.service"), "{help}");
        assert!(expected.split(' ').any(|word| word == "nself"));
    }

    /// Nothing of the page is left.
    pub(super) fn ends(self) {
        let left = self.commands;
        assert!(
            left.is_empty(),
            "nobody types these of {}: {left:?}",
            self.name
        );
    }
}

/// The command as an operator types it who knows what is meant.
#[track_caller]
fn filled(household: &Household, command: &str, meant: &[(&str, &str)]) -> String {
    let (_, address) = household.url.split_once("://").expect("a URL");
    let mut filled = command.replace(ADDRESS, address);
    for (word, meaning) in meant {
        assert!(filled.contains(word), "no {word} in {filled}");
        filled = filled.replace(word, meaning);
    }
    filled
}

/// A command that goes on, and what it has shown.
pub(super) struct Watched {
    child: Child,
    shown: NamedTempFile,
}

impl Watched {
    /// Begins one command.
    pub(super) fn begin(household: &Household, line: &str) -> Self {
        let shown = NamedTempFile::new().expect("there is room");
        let child = household
            .shell(&format!("exec {line}"))
            .stdout(shown.reopen().expect("it is there"))
            .spawn();
        Self {
            child: child.expect("a shell starts"),
            shown,
        }
    }

    /// Waits until it shows this.
    #[track_caller]
    pub(super) fn until(&self, text: &str) {
        let path: &Path = self.shown.path();
        eventually(text, || {
            let shown = fs::read_to_string(path).expect("it reads");
            if shown.contains(text) {
                return Ok(());
            }
            Err(shown)
        });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a look saw, unless it saw what was waited for.
pub(super) fn when(is_so: bool, seen: impl Into<String>) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(seen.into()) }
}

/// The cell of a table in the column of that head, in the first row that has all of these words.
#[track_caller]
pub(super) fn cell(table: &str, words: &[&str], head: &str) -> String {
    let mut lines = table.lines();
    let heads = lines.next().unwrap_or_default();
    let from = heads
        .find(head)
        .unwrap_or_else(|| panic!("no {head} in {table}"));
    let row = lines.find(|line| words.iter().all(|word| line.contains(word)));
    let row = row.unwrap_or_else(|| panic!("no row with {words:?} in {table}"));
    let rest: String = row.chars().skip(from).collect();
    // Two spaces are the least that stands between two cells.
    rest.split("  ")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}
