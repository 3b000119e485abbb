//! Runs one step in one direction.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, GenericClient};

use super::error::{MigrateError, StepFailure};
use super::index::Resumable;
use super::ledger;
use super::owner::{Owner, file_name};
use super::plan::Direction;
use super::runner::{Observer, Options, Progress};
use super::script::Script;
use super::statements::Statement;
use crate::plugin::manifest::Migration;

const RETRY_PAUSE: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A step on its way.
pub(super) struct Step<'a> {
    pub(super) owner: &'a Owner,
    pub(super) migration: &'a Migration,
    pub(super) direction: Direction,
    pub(super) options: &'a Options,
    pub(super) observer: &'a Observer,
}

impl Step<'_> {
    /// Runs the step and returns how long it took; `begun` says that an earlier run of it did not come to its end.
    pub(super) async fn run(
        &self,
        client: &mut Client,
        begun: bool,
    ) -> Result<Duration, MigrateError> {
        let outcome = match self.owner.script(self.migration, self.direction)? {
            Script::Transaction(statements) => self.until_locks_are_free(client, &statements).await,
            Script::Alone(statement, resumable) => {
                self.alone(client, &statement, &resumable, begun).await
            }
        };
        // A file may have changed settings for the session; the next step must not depend on that. When the
        // connection is gone there is nothing to reset, and the outcome says so.
        if let Err(error) = client
            .batch_execute("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL")
            .await
        {
            tracing::debug!(%error, "settings end with their session");
        }
        outcome
    }

    /// Somebody may hold a lock for long, and whoever comes after our waiting statement waits for it too: give up
    /// soon, let the others through, try again.
    async fn until_locks_are_free(
        &self,
        client: &mut Client,
        statements: &[Statement<'_>],
    ) -> Result<Duration, MigrateError> {
        let begun = Instant::now();
        let mut pause = RETRY_PAUSE;
        for attempt in 1.. {
            match self.in_transaction(client, statements).await {
                Err(error)
                    if error.is_contention()
                        && begun.elapsed() + pause < self.options.retry_for =>
                {
                    self.observer.tell(&Progress::Retrying {
                        owner: &self.owner.name,
                        file: &self.file(),
                        attempt,
                    });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                outcome => return outcome,
            }
        }
        unreachable!("the loop has no end but a return")
    }

    async fn in_transaction(
        &self,
        client: &mut Client,
        statements: &[Statement<'_>],
    ) -> Result<Duration, MigrateError> {
        let begun = Instant::now();
        let transaction = client.transaction().await.map_err(self.failed("begin"))?;
        transaction
            .batch_execute(&self.settings("SET LOCAL"))
            .await
            .map_err(self.failed("prepare"))?;
        if self.direction == Direction::Up {
            self.make_schema(&transaction).await?;
        }
        for (index, statement) in statements.iter().enumerate() {
            self.tell_statement(index, statements.len(), statement);
            transaction
                .batch_execute(statement.sql)
                .await
                .map_err(|error| self.failure(statement, error))?;
        }
        // The record is the host's, whoever the file made the session to be.
        transaction
            .batch_execute("RESET SESSION AUTHORIZATION; RESET ROLE")
            .await
            .map_err(self.failed("record"))?;
        let duration = begun.elapsed();
        match self.direction {
            Direction::Up => {
                ledger::record(
                    &transaction,
                    &self.owner.name,
                    self.migration,
                    Some(duration),
                )
                .await
            }
            Direction::Down => ledger::forget(&transaction, &self.owner.name, self.migration).await,
        }
        .map_err(self.failed("record"))?;
        // Constraints that were deferred to here speak up now.
        let last = statements
            .last()
            .expect("a script without statements is refused");
        transaction
            .commit()
            .await
            .map_err(|error| self.failure(last, error))?;
        Ok(begun.elapsed())
    }

    /// Outside a transaction the record cannot come together with the statement. It comes before, as "begun", and
    /// after, as "applied"; between the two the catalog tells how far a killed run got.
    async fn alone(
        &self,
        client: &Client,
        statement: &Statement<'_>,
        resumable: &Resumable,
        begun_before: bool,
    ) -> Result<Duration, MigrateError> {
        let begun = Instant::now();
        let owner = &self.owner.name;
        self.make_schema(client).await?;
        // No lock_timeout: these statements do not keep readers and writers from a table, and they wait long by nature.
        let path = format!(
            "SET search_path = {}; SET statement_timeout = 0; SET lock_timeout = 0",
            self.owner.quoted_schema()
        );
        client
            .batch_execute(&path)
            .await
            .map_err(self.failed("prepare"))?;
        if !begun_before {
            ledger::record(client, owner, self.migration, None)
                .await
                .map_err(self.failed("record"))?;
        }
        self.tell_statement(0, 1, statement);
        let is_done = resumable
            .is_done(client, begun_before)
            .await
            .map_err(|error| self.failure(statement, error))?;
        if !is_done && let Err(error) = client.batch_execute(statement.sql).await {
            self.clean_up_failure(client, resumable, begun_before).await;
            return Err(self.failure(statement, error));
        }
        match self.direction {
            Direction::Up => {
                ledger::record(client, owner, self.migration, Some(begun.elapsed())).await
            }
            Direction::Down => ledger::forget(client, owner, self.migration).await,
        }
        .map_err(self.failed("record"))?;
        Ok(begun.elapsed())
    }

    /// A statement that failed by itself (a duplicate key, a name that is taken) leaves the database as before. When
    /// this cannot be done now, the record stays at "begun" and the next run does it.
    async fn clean_up_failure(&self, client: &Client, resumable: &Resumable, begun_before: bool) {
        let restored = async {
            // Looks for an invalid index of that name, and drops it.
            resumable.is_done(client, false).await?;
            match self.direction {
                Direction::Up if !begun_before => {
                    ledger::forget(client, &self.owner.name, self.migration).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = restored.await {
            tracing::debug!(%error, "what the failed statement left is removed by the next run");
        }
    }

    async fn make_schema(&self, client: &impl GenericClient) -> Result<(), MigrateError> {
        let doing = || {
            format!(
                "make schema {}: the database login needs CREATE on the database",
                self.owner.schema
            )
        };
        let found = client
            .query_one(
                "SELECT to_regnamespace(quote_ident($1)) IS NOT NULL",
                &[&self.owner.schema],
            )
            .await
            .map_err(MigrateError::database(doing()))?;
        if found.get(0) {
            return Ok(());
        }
        let create = format!("CREATE SCHEMA {}", self.owner.quoted_schema());
        client
            .batch_execute(&create)
            .await
            .map_err(MigrateError::database(doing()))
    }

    fn settings(&self, set: &str) -> String {
        let milliseconds =
            |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_millis().max(1));
        format!(
            "{set} search_path = {}; {set} lock_timeout = {}; {set} statement_timeout = {}",
            self.owner.quoted_schema(),
            milliseconds(Some(self.options.lock_timeout)),
            milliseconds(self.options.statement_timeout),
        )
    }

    fn file(&self) -> String {
        file_name(self.migration, self.direction)
    }

    fn failed(&self, what: &str) -> impl FnOnce(tokio_postgres::Error) -> MigrateError {
        MigrateError::database(format!(
            "{what} {}/{}; nothing of it was kept",
            self.owner.name,
            self.file()
        ))
    }

    fn failure(&self, statement: &Statement<'_>, error: tokio_postgres::Error) -> MigrateError {
        StepFailure::error(&self.owner.name, &self.file(), statement, error)
    }

    fn tell_statement(&self, index: usize, count: usize, statement: &Statement<'_>) {
        let (owner, file) = (&self.owner.name, &self.file());
        self.observer.tell(&Progress::Statement {
            owner,
            file,
            number: index + 1,
            count,
            line: statement.line,
        });
    }
}
