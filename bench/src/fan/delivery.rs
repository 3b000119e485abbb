//! From a publication in the database to its delivery, beside what one commit takes there.

use std::time::Instant;

use super::{audience::Audience, sides::Side};
use crate::{
    Result,
    report::{Pairs, Report, at_most},
};

const SUBSCRIBERS: usize = 10;
/// Of each kind, in turns; for each round.
const TIMES: usize = 50;

pub(super) async fn measure(report: &mut Report, ours: &mut Side, rounds: u32) -> Result<()> {
    let everybody = ours.audience.take();
    ours.audience = Some(Audience::open(&ours.entrance, 1_000..1_000 + SUBSCRIBERS, None).await?);
    drop(everybody);
    ours.sql()?
        .batch_execute("create table if not exists public.bench_commits (text text)")
        .await?;
    let mut pairs = Pairs::default();
    for _ in 0..at_most(TIMES) * usize::try_from(rounds)? {
        let commit = commit(ours).await?;
        let begun = Instant::now();
        ours.hear(1).await?;
        pairs.push(commit, begun.elapsed().as_secs_f64() * 1e3);
    }
    report.spread("stream: one commit", pairs.native(), "ms", "");
    report.spread(
        "stream: from before a publication to its delivery",
        pairs.plugin(),
        "ms",
        "",
    );
    report.spread(
        "stream: that less one commit",
        pairs.difference(),
        "ms",
        "<= 2 ms",
    );
    Ok(())
}

async fn commit(ours: &Side) -> Result<f64> {
    let begun = Instant::now();
    let text = "x".repeat(super::MESSAGE_BYTES);
    ours.sql()?
        .execute("insert into public.bench_commits values ($1)", &[&text])
        .await?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
