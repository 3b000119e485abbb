//! Five thousand who come back at once, with all that they missed, beside as many who come for the first time.

use std::time::{Duration, Instant};

use super::{audience::Audience, dialect::Position, sides::Side};
use crate::{
    Failure, Result,
    report::{Pairs, Report, at_most},
};

const PEOPLE: usize = 5_000;
/// Publications that each has missed.
const MISSED: usize = 10;
/// What the database counts is seen when its processes have had nothing to do for so long.
const COUNTED: Duration = Duration::from_secs(11);

pub(super) async fn measure(report: &mut Report, ours: &mut Side, rounds: u32) -> Result<()> {
    // Somebody stays, so that the host keeps what was delivered.
    ours.audience = Some(Audience::open(&ours.entrance, PEOPLE..PEOPLE + 1, None).await?);
    let (mut time, mut cpu) = (Pairs::default(), Pairs::default());
    let people = if cfg!(debug_assertions) { 100 } else { PEOPLE };
    let mut asked = 0;
    for _ in 0..at_most(rounds) {
        let (plain, position) = arrive(ours, people, None).await?;
        ours.hear(MISSED).await?;
        let before = questions(ours).await?;
        let (back, _) = arrive(ours, people, Some(&position)).await?;
        asked += questions(ours).await? - before;
        time.push(plain.0, back.0);
        cpu.push(plain.1, back.1);
    }
    let name =
        format!("stream: {people} come back with {MISSED} publications, of as many plain connects");
    report.spread(&format!("{name}, time"), time.ratio(), "x", "<= 1.5x");
    report.spread(&format!("{name}, CPU of the server"), cpu.ratio(), "x", "");
    report.spread("stream: plain connects of those", time.native(), "s", "");
    report.text(
        "stream: what those who came back had the log asked for, calls of its functions",
        asked.to_string(),
        "0",
    );
    Ok(())
}

/// Lets all of them in, and go: seconds of time and of the server's CPU, and where they were.
async fn arrive(
    ours: &Side,
    people: usize,
    back: Option<&Position>,
) -> Result<((f64, f64), Position)> {
    let (begun, before) = (Instant::now(), ours.time()?);
    let audience = Audience::open(&ours.entrance, 0..people, back).await?;
    let time = begun.elapsed().as_secs_f64();
    let used = ours.time()?.saturating_sub(before).as_secs_f64();
    let position = audience.position.clone();
    drop(audience);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let position = position.ok_or_else(|| Failure::from("nobody knows where they were"))?;
    Ok(((time, used), position))
}

/// Calls of what subscribers ask the log with.
async fn questions(ours: &Side) -> Result<i64> {
    tokio::time::sleep(COUNTED).await;
    let sql = "select coalesce(sum(calls), 0)::bigint from pg_stat_user_functions \
               where schemaname = 'stream' and funcname in ('locate', 'history')";
    Ok(ours.sql()?.query_one(sql, &[]).await?.get(0))
}
