//! Seed files: data to begin with, each file in one transaction.
//!
//! Nothing is recorded: a seed says itself what it does when it runs again (`on conflict do nothing`). One is embedded: the
//! generator of a large world, for measuring.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::error::{MigrateError, StepFailure};
use super::files::{FilesError, io_error, sql_files};
use super::script::Script;
use super::statements::Statement;

/// What stands for the owner in messages.
const OWNER: &str = "seed";

/// How long a statement waits for a lock, as in a step of a migration.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// Makes as many rows as the setting `nself.seed_rows` says.
const WORLD: &str = include_str!("../../../db/generator/world.sql");

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Name of the file.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// A seed that was run, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedReport {
    /// Name of the file.
    pub file: String,
    /// Statements in it.
    pub statements: usize,
    /// Rows that it inserted; none when it was not run.
    pub rows: Option<u64>,
    /// How long it took, in milliseconds; none when it was not run.
    pub duration_ms: Option<u64>,
}

/// All `.sql` files of a directory, by name. A directory that does not exist has none.
///
/// # Errors
///
/// When a file cannot be read.
pub fn read(directory: &Path) -> Result<Vec<Seed>, FilesError> {
    let seed = |path: &std::path::PathBuf| {
        Ok(Seed {
            file: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            text: fs::read_to_string(path).map_err(io_error("read", path))?,
        })
    };
    sql_files(directory)?.iter().map(seed).collect()
}

impl Seed {
    /// A made world of about that many rows. A larger one adds to a smaller one.
    pub fn world(rows: u64) -> Self {
        Self {
            file: "world.sql".to_owned(),
            // On the first line, a comment, so that errors name the file's own lines.
            text: format!("SELECT set_config('nself.seed_rows', '{rows}', true); {WORLD}"),
        }
    }

    /// Checks the text without a database.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Invalid`] for a file that is empty, controls transactions, or speaks to psql.
    pub fn check(&self) -> Result<SeedReport, MigrateError> {
        Ok(SeedReport {
            file: self.file.clone(),
            statements: self.statements()?.len(),
            rows: None,
            duration_ms: None,
        })
    }

    /// Runs the file, whole or not at all. Unqualified names mean `public`.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Step`] with the place in the file; nothing of it was kept then.
    pub async fn run(&self, client: &mut Client) -> Result<SeedReport, MigrateError> {
        let statements = self.statements()?;
        let begun = Instant::now();
        let database = |doing: &str| MigrateError::database(format!("{doing} {}", self.file));
        let transaction = client.transaction().await.map_err(database("begin"))?;
        let settings = format!(
            "SET LOCAL search_path = public; SET LOCAL lock_timeout = {}",
            LOCK_TIMEOUT.as_millis()
        );
        transaction
            .batch_execute(&settings)
            .await
            .map_err(database("prepare"))?;
        let mut rows = 0;
        for statement in &statements {
            let answer = transaction.simple_query(statement.sql).await;
            let answer =
                answer.map_err(|error| StepFailure::error(OWNER, &self.file, statement, error))?;
            if statement.starts_with(&["insert"]) {
                rows += answer.iter().map(touched).sum::<u64>();
            }
        }
        let last = statements.last().expect("an empty script is refused");
        // Constraints that were deferred to here speak up now.
        transaction
            .commit()
            .await
            .map_err(|error| StepFailure::error(OWNER, &self.file, last, error))?;
        client
            .batch_execute("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL")
            .await
            .map_err(database("end"))?;
        Ok(SeedReport {
            file: self.file.clone(),
            statements: statements.len(),
            rows: Some(rows),
            duration_ms: Some(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)),
        })
    }

    fn statements(&self) -> Result<Vec<Statement<'_>>, MigrateError> {
        match Script::parse(OWNER, &self.file, &self.text)? {
            Script::Transaction(statements) => Ok(statements),
            Script::Alone(..) => Err(MigrateError::invalid(
                OWNER,
                &self.file,
                "a seed runs in a transaction: what cannot is a migration",
            )),
        }
    }
}

fn touched(message: &SimpleQueryMessage) -> u64 {
    match message {
        SimpleQueryMessage::CommandComplete(rows) => *rows,
        _ => 0,
    }
}
