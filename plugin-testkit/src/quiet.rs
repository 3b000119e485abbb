//! How much an idle host asks of its database.

use std::time::Duration;

use tokio_postgres::Client;

use crate::eventually;

/// Waits until there were fewer transactions a second than `bound` over a stretch, and says how many there were. Time is the database's,
/// so a slow machine makes the rate lower and never higher; sessions tell what they did some seconds later, so the first stretches are not
/// idle yet.
pub async fn until_quiet(sql: &Client, who: &str, stretch: Duration, bound: f64) -> f64 {
    const LOOK: &str = "select xact_commit, extract(epoch from clock_timestamp())::float8 from pg_stat_database where datname = current_database()";
    let seconds = stretch.as_secs_f64();
    let mut last: Option<(i64, f64)> = None;
    let what = format!("{who} makes less than {bound} transactions a second");
    eventually(&what, async || {
        let slept = sql.query_one("select pg_sleep($1)", &[&seconds]).await;
        slept.expect("time goes by");
        let row = sql.query_one(LOOK, &[]).await.expect("counters");
        let now = (row.get(0), row.get(1));
        let (before, from) = last.replace(now)?;
        // Two of them are this look and its pause.
        let commits = i32::try_from(now.0 - before - 2).expect("few commits");
        let rate = f64::from(commits) / (now.1 - from);
        println!("{who}: {rate:.2} transactions/s");
        (rate < bound).then_some(rate)
    })
    .await
}
