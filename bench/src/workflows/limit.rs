//! What Postgres does with commits of one row: how long one takes, and how many there are from many clients, by pgbench.

use std::time::Instant;

use nself::postgres::scratch::{Scratch, TestDatabase};

use crate::{Failure, Result, pgbench, report::quantile};

const CLIENTS: u32 = 32;

/// As many as starts are measured.
const COMMITS: usize = 1_000;

/// A table in a database of its own.
pub(super) struct Limit {
    database: TestDatabase,
    directory: tempfile::TempDir,
}

impl Limit {
    pub(super) async fn new() -> Result<Self> {
        let database = Scratch::durable().database().await;
        let table = "create table steps (id bigint generated always as identity primary key, data jsonb not null)";
        database.client().await.batch_execute(table).await?;
        let directory = tempfile::tempdir()?;
        let script = "insert into steps (data) values ('{\"n\": 1}');\n";
        std::fs::write(directory.path().join("step.sql"), script)?;
        Ok(Self {
            database,
            directory,
        })
    }

    /// How long a commit takes on an idle server, in microseconds: the median, and the 99th percentile.
    pub(super) async fn commit_micros(&self) -> Result<(f64, f64)> {
        let sql = self.database.client().await;
        let statement = sql
            .prepare("insert into steps (data) values ('{\"n\": 1}')")
            .await?;
        let mut micros = Vec::new();
        for _ in 0..COMMITS {
            let begun = Instant::now();
            sql.execute(&statement, &[]).await?;
            micros.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        micros.sort_by(f64::total_cmp);
        Ok((quantile(&micros, 50), quantile(&micros, 99)))
    }

    /// Commits a second from many clients, so many from each.
    pub(super) async fn commits_a_second(&self, each: u32) -> Result<f64> {
        let script = self.directory.path().join("step.sql");
        let text = pgbench::run(&self.database, &script, CLIENTS, each, &[]).await?;
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split(' ').next()?.parse().ok());
        rate.ok_or_else(|| Failure::from("pgbench has printed no rate"))
    }
}
