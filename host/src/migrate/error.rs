//! What can go wrong with migrations, told so that the operator knows what to do.

use std::time::Duration;

use tokio_postgres::Error as DatabaseError;
use tokio_postgres::error::{ErrorPosition, SqlState};

use super::statements::Statement;

/// Why migrations were not applied, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The steps themselves are wrong; nothing was run.
    #[error("{owner}/{file}: {problem}")]
    Invalid {
        /// Whose step.
        owner: String,
        /// File name, or `migrations` when it is about all of them.
        file: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// An applied step has another text now.
    #[error(
        "{owner}/{file} was edited after it was applied: recorded checksum {recorded}, now {found}: restore the file and write the next step instead"
    )]
    Edited {
        /// Whose step.
        owner: String,
        /// File name.
        file: String,
        /// sha256 of the text that was applied, hex.
        recorded: String,
        /// sha256 of the text now, hex.
        found: String,
    },
    /// The database has a step that this version does not know.
    #[error(
        "{owner}/{file} is applied in the database but unknown here: this version is older than the database, or the file was removed: run the newer version, or bring the file back"
    )]
    Unknown {
        /// Whose step.
        owner: String,
        /// File name.
        file: String,
    },
    /// A `down`, `redo`, target number or wipe that does not fit what is there.
    #[error("{0}")]
    Target(String),
    /// Another run held the lock for the whole time that this one was willing to wait.
    #[error(
        "another migration run holds the lock{} since more than {} s: wait for it, or end it",
        holder.map(|pid| format!(" (database session {pid})")).unwrap_or_default(),
        waited.as_secs()
    )]
    Locked {
        /// Process id of its session in Postgres, when it can be seen.
        holder: Option<i32>,
        /// How long this run waited.
        waited: Duration,
    },
    /// A statement failed; the step was rolled back.
    #[error(transparent)]
    Step(Box<StepFailure>),
    /// The database failed outside a step.
    #[error("cannot {doing}")]
    Database {
        /// What was tried.
        doing: String,
        /// The driver's error.
        #[source]
        source: DatabaseError,
    },
}

impl MigrateError {
    pub(super) fn database(doing: impl Into<String>) -> impl FnOnce(DatabaseError) -> Self {
        let doing = doing.into();
        move |source| Self::Database { doing, source }
    }

    pub(super) fn invalid(
        owner: &str,
        file: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            owner: owner.to_owned(),
            file: file.into(),
            problem: problem.into(),
        }
    }

    /// Whether the step may succeed when it is tried again: somebody else held a lock.
    pub(super) fn is_contention(&self) -> bool {
        let Self::Step(failure) = self else {
            return false;
        };
        failure.sqlstate == SqlState::LOCK_NOT_AVAILABLE.code()
            || failure.sqlstate == SqlState::T_R_DEADLOCK_DETECTED.code()
    }
}

/// A statement of a step failed.
#[derive(Debug, thiserror::Error)]
#[error("{owner}/{file}:{line}: {message} (SQLSTATE {sqlstate}) at `{excerpt}`{hint}: {advice}")]
pub struct StepFailure {
    /// Whose step.
    pub owner: String,
    /// File name.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Five characters, or `connection` when the session ended.
    pub sqlstate: String,
    /// What Postgres said, with its detail.
    pub message: String,
    /// Postgres's hint, ready to be appended; empty when it gave none.
    pub hint: String,
    /// The line of the statement that failed.
    pub excerpt: String,
    /// What to do.
    pub advice: &'static str,
    /// The driver's error.
    #[source]
    pub source: DatabaseError,
}

impl StepFailure {
    pub(super) fn error(
        owner: &str,
        file: &str,
        statement: &Statement<'_>,
        source: DatabaseError,
    ) -> MigrateError {
        let offset = error_offset(statement.sql, &source);
        let (line, excerpt) = statement.locate(offset);
        let (sqlstate, message, hint) = match source.as_db_error() {
            Some(error) => (
                error.code().code().to_owned(),
                error.detail().map_or_else(
                    || error.message().to_owned(),
                    |detail| format!("{}: {}", error.message(), detail.trim_end_matches('.')),
                ),
                error
                    .hint()
                    .map(|hint| format!(" (hint: {})", hint.trim_end_matches('.')))
                    .unwrap_or_default(),
            ),
            None => (
                "connection".to_owned(),
                "the connection to the database was lost".to_owned(),
                String::new(),
            ),
        };
        MigrateError::Step(Box::new(Self {
            owner: owner.to_owned(),
            file: file.to_owned(),
            line,
            advice: advice(&sqlstate),
            sqlstate,
            message,
            hint,
            excerpt,
            source,
        }))
    }
}

/// Byte offset in `sql` that the error points to; the start when it points nowhere.
fn error_offset(sql: &str, error: &DatabaseError) -> usize {
    let position = match error.as_db_error().and_then(|error| error.position()) {
        Some(ErrorPosition::Original(position)) => *position,
        // A position in a query that Postgres made up by itself says nothing about the file.
        Some(ErrorPosition::Internal { .. }) | None => return 0,
    };
    let characters_before = position.saturating_sub(1) as usize;
    sql.char_indices()
        .nth(characters_before)
        .map_or(0, |(offset, _)| offset)
}

fn advice(sqlstate: &str) -> &'static str {
    match sqlstate {
        "55P03" => {
            "another session held a lock on the table for the whole time: end it or try at a quieter time"
        }
        "40P01" => "another session holds locks in the opposite order: try again at a quieter time",
        "57014" => {
            "the statement hit the time limit: raise the statement timeout or make the step smaller"
        }
        "42501" => "grant the missing right to the host's database login, then run it again",
        "53100" => "free disk space, then run it again; nothing of this step was kept",
        "connection" | "57P01" | "57P02" | "57P03" => {
            "run it again when the database is back; nothing of this step was kept"
        }
        _ => "nothing of this step was kept: correct it and run again",
    }
}
