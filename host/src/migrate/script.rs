//! A step's text as something that can be run: its statements, and whether they may share a transaction.

use super::error::MigrateError;
use super::index::Resumable;
use super::statements::{Statement, split};

/// One direction of a step, checked.
#[derive(Debug)]
pub(super) enum Script<'a> {
    /// All statements in one transaction.
    Transaction(Vec<Statement<'a>>),
    /// A single statement that Postgres refuses in a transaction, in a form that can be resumed.
    Alone(Statement<'a>, Resumable),
}

const DIRECTIVE: &str = "-- nself:";
const NO_TRANSACTION: &str = "no-transaction";

/// Statements that would end the step's transaction in the middle, or leave a part of it behind.
const TRANSACTION_CONTROL: &[&[&str]] = &[
    &["begin"],
    &["start"],
    &["commit"],
    &["end"],
    &["rollback"],
    &["abort"],
    &["savepoint"],
    &["release"],
    &["prepare", "transaction"],
];

impl<'a> Script<'a> {
    /// Reads `text`; `owner` and `file` are for errors.
    pub(super) fn parse(owner: &str, file: &str, text: &'a str) -> Result<Self, MigrateError> {
        let invalid = |problem: String| MigrateError::invalid(owner, file, problem);
        let alone = directive(text).map_err(invalid)?;
        let mut statements = split(text).map_err(|error| invalid(error.to_string()))?;
        if statements.is_empty() {
            return Err(invalid(
                "it has no statement: write one, `SELECT 1` if there is nothing to do".to_owned(),
            ));
        }
        if let Some(problem) = statements.iter().find_map(refusal) {
            return Err(invalid(problem));
        }
        if !alone {
            return Ok(Self::Transaction(statements));
        }
        if statements.len() > 1 {
            return Err(invalid(format!(
                "line {}: a step without transaction holds one statement, so that it can be resumed: move the rest to the next step",
                statements[1].line
            )));
        }
        let statement = statements.remove(0);
        let resumable = Resumable::of(&statement)
            .map_err(|problem| invalid(format!("line {}: {problem}", statement.line)))?;
        Ok(Self::Alone(statement, resumable))
    }

    pub(super) fn is_transactional(&self) -> bool {
        matches!(self, Self::Transaction(_))
    }

    pub(super) fn statement_count(&self) -> usize {
        match self {
            Self::Transaction(statements) => statements.len(),
            Self::Alone(..) => 1,
        }
    }
}

/// Whether the comments at the head of the file ask for no transaction.
fn directive(text: &str) -> Result<bool, String> {
    let head = text
        .lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("--"));
    let mut alone = false;
    for value in head
        .filter_map(|line| line.strip_prefix(DIRECTIVE))
        .map(str::trim)
    {
        if value != NO_TRANSACTION {
            return Err(format!(
                "unknown directive `{DIRECTIVE} {value}`: the only one is `{NO_TRANSACTION}`"
            ));
        }
        alone = true;
    }
    Ok(alone)
}

fn refusal(statement: &Statement<'_>) -> Option<String> {
    let line = statement.line;
    if TRANSACTION_CONTROL
        .iter()
        .any(|words| statement.starts_with(words))
    {
        return Some(format!(
            "line {line}: `{}` is not allowed: the step runs in a transaction of its own",
            statement.atoms[0]
        ));
    }
    if statement.sql.starts_with('\\') {
        return Some(format!(
            "line {line}: `\\` commands belong to psql, the server does not know them"
        ));
    }
    let is_copy_from_stdin = statement.starts_with(&["copy"])
        && statement.atoms.windows(2).any(|pair| {
            pair[0].eq_ignore_ascii_case("from") && pair[1].eq_ignore_ascii_case("stdin")
        });
    is_copy_from_stdin
        .then(|| format!("line {line}: `COPY .. FROM STDIN` is not allowed: write an INSERT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Script::parse("db", "0001_a.up.sql", text).expect_err("it must be refused");
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn a_step_cannot_leave_its_transaction() {
        for word in [
            "BEGIN",
            "commit",
            "END",
            "Rollback",
            "ABORT",
            "START TRANSACTION",
            "SAVEPOINT a",
        ] {
            check_refused(&format!("SELECT 1;\n{word};"), "line 2: `");
        }
        check_refused("COPY t (a) FROM STDIN;", "COPY .. FROM STDIN");
        check_refused(
            "\\set a 1\nSELECT 1;",
            "line 1: `\\` commands belong to psql",
        );
        check_refused("-- nothing", "it has no statement");
    }

    #[test]
    fn no_transaction_takes_one_statement_that_can_be_resumed() {
        let script = Script::parse(
            "db",
            "f",
            "-- why\n-- nself: no-transaction\nCREATE INDEX CONCURRENTLY a ON b (c);",
        );
        assert!(!script.expect("it is allowed").is_transactional());
        check_refused(
            "-- nself: no-transaction\nVACUUM;\nVACUUM;",
            "line 3: a step without transaction",
        );
        check_refused("-- nself: no-transaction\nUPDATE a SET b = 1;", "line 2: ");
        check_refused("-- nself: no-transactions\nVACUUM;", "unknown directive");
    }
}
