//! What commands print: answers on standard output, everything else on standard error.

use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::json;

use super::{CliError, Exit};
use crate::config::Variables;
use crate::telemetry::logs::is_colourful;

/// How to print: as text or JSON, with or without colours.
#[derive(Debug)]
pub struct Output {
    json: bool,
    /// Whether an answer was printed: with `--json` an error after it is told by the exit code alone.
    answered: AtomicBool,
    colourful_answers: bool,
    colourful_errors: bool,
}

impl Output {
    /// Text, or with `json` one JSON object. Colours only on a terminal, and not with `NO_COLOR`, `TERM=dumb` or `CI`.
    pub fn new(json: bool, variables: &Variables) -> Self {
        let wanted = is_colourful(variables) && variables.get("CI").is_none_or(String::is_empty);
        Self {
            json,
            answered: AtomicBool::new(false),
            colourful_answers: wanted && io::stdout().is_terminal(),
            colourful_errors: wanted && io::stderr().is_terminal(),
        }
    }

    /// Whether answers are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether somebody watches: spinners make sense.
    pub fn is_lively(&self) -> bool {
        self.colourful_errors && !self.json
    }

    /// Whether log lines on standard error may have colours.
    pub fn is_colourful(&self) -> bool {
        self.colourful_errors
    }

    /// The answer: `data` in the JSON envelope, or what `text` says.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written; a reader that closed its pipe is content.
    pub fn answer(
        &self,
        data: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        let answer = if self.json {
            format!("{}\n", json!({"ok": true, "data": data}))
        } else {
            text()
        };
        self.write(answer).map(|_| ())
    }

    /// A line of an answer that goes on; whether somebody still reads.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn line(&self, line: &str) -> Result<bool, CliError> {
        self.write(format!("{line}\n"))
    }

    /// A piece of an answer that is printed as it is; whether somebody still reads.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn chunk(&self, chunk: &[u8]) -> Result<bool, CliError> {
        self.write(chunk)
    }

    fn write(&self, answer: impl AsRef<[u8]>) -> Result<bool, CliError> {
        self.answered.store(true, Ordering::Relaxed);
        let mut stdout = io::stdout().lock();
        match stdout
            .write_all(answer.as_ref())
            .and_then(|()| stdout.flush())
        {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(
                CliError::new("OUTPUT", Exit::Failed, "cannot write the answer")
                    .with_cause(error.to_string()),
            ),
        }
    }

    /// A remark beside the answer; nothing in JSON.
    pub fn note(&self, text: &str) {
        if !self.json {
            to_stderr(&format!("{text}\n"));
        }
    }

    /// The error: the JSON envelope on standard output, or text on standard error. One object is one object: when an
    /// answer stands there already (a status that is not healthy), the exit code says the rest.
    pub fn error(&self, error: &CliError) -> Exit {
        if self.json && self.answered.load(Ordering::Relaxed) {
            return error.exit;
        }
        if self.json {
            let envelope = json!({"ok": false, "error": error});
            // When this cannot be written either, the exit code still tells.
            drop(writeln!(io::stdout().lock(), "{envelope}"));
            return error.exit;
        }
        let (start, end) = if self.colourful_errors {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        let mut text = format!(
            "{start}error[{}]{end}: {}\n",
            error.code,
            clean(&error.message)
        );
        for cause in &error.causes {
            add(&mut text, format_args!("cause: {}\n", clean(cause)));
        }
        if let Some(help) = &error.help {
            add(&mut text, format_args!("help: {}\n", clean(help)));
        }
        to_stderr(&text);
        error.exit
    }

    /// `text` in a colour, given by its escape sequence, where the answer may have colours.
    pub(super) fn paint(&self, colour: &str, text: &str) -> String {
        if self.colourful_answers && !colour.is_empty() {
            format!("{colour}{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// The table as text; its heads are bold on a terminal.
    pub fn table(&self, table: &Table) -> String {
        let (start, end) = if self.colourful_answers {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        table.render(start, end)
    }
}

fn to_stderr(text: &str) {
    // Nobody is left to tell when standard error is gone.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

fn add(text: &mut String, more: fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes all text");
}

/// Control characters from files and plugins must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && letter != '\n' {
            clean.extend(letter.escape_default());
        } else {
            clean.push(letter);
        }
    }
    clean
}

/// Rows under heads, in columns as wide as their widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads and no rows.
    pub fn new(heads: &[&str]) -> Self {
        Self {
            heads: heads.iter().map(|head| clean(head)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: one cell per head.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.cells(cells);
    }

    /// Adds a row whose length is known only here: cells that are missing are empty, and those too many are left out.
    pub fn cells(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells
            .into_iter()
            .map(|cell| clean(&cell).replace('\n', " "));
        let filled = cells.chain(std::iter::repeat_with(String::new));
        self.rows.push(filled.take(self.heads.len()).collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn render(&self, start: &str, end: &str) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([self.heads[column].chars().count()])
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut text = format!(
            "{start}{}{end}\n",
            line(&mut self.heads.iter().map(String::as_str))
        );
        for row in &self.rows {
            add(
                &mut text,
                format_args!("{}\n", line(&mut row.iter().map(String::as_str))),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_cells_cannot_steer_the_terminal() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["auth".to_owned(), "started".to_owned()]);
        table.row(["orchestrator".to_owned(), "\x1b[31mfailed".to_owned()]);
        assert_eq!(
            table.render("", ""),
            "NAME          STATE\nauth          started\norchestrator  \\u{1b}[31mfailed\n"
        );
    }
}
