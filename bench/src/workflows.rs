//! Workflows of three steps beside DBOS on the same cluster: from callers that wait for each, in turns. And what Postgres itself can
//! do with as many commits, what a step costs more, how soon a run begins, and what a hundred thousand that sleep cost.

mod limit;
mod ours;

use std::collections::BTreeMap;

use nself::postgres::scratch::Scratch;
use serde_json::json;

pub(crate) use self::ours::answer_at_once;
use self::{
    limit::Limit,
    ours::{Ours, Waits},
};
use crate::{
    Result,
    jobs::{
        peer::{Peer, millis},
        usage::{Sample, Watch, postmaster},
    },
    peers,
    report::{Report, Spread, at_most, quantile},
};

const ROUNDS: u32 = 5;

/// A build without optimisation only shows that the benchmark works.
const IS_FAST: bool = !cfg!(debug_assertions);

/// Runs of each caller and side in a round.
const EACH: u32 = if IS_FAST { 100 } else { 5 };

/// Sleeping runs, unless an argument says another number.
const SLEEPERS: u32 = if IS_FAST { 100_000 } else { 2_000 };

/// Steps of the workflow that is measured.
const STEPS: u32 = 3;

/// Steps of the one that it is compared with to know what a step costs.
const MORE_STEPS: u32 = 23;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Ours,
    Dbos,
}

impl Side {
    const ALL: [(Self, &'static str); 2] = [(Self::Ours, "ours"), (Self::Dbos, "DBOS")];
}

/// How many callers, and the goals of rate and CPU beside DBOS.
const ROWS: [(u32, [&str; 2]); 2] = [(32, [">= 15", "<= 0.1"]), (1, [">= 5", ""])];

pub(crate) async fn measure(
    report: &mut Report,
    sleepers: Option<u32>,
    rounds: Option<u32>,
) -> Result<()> {
    let ours = Ours::start().await?;
    let mut dbos = Dbos::start().await?;
    let limit = Limit::new().await?;
    let mut samples = Samples::default();
    for round in 0..at_most(rounds.unwrap_or(ROUNDS)) {
        eprintln!("  round {}", round + 1);
        samples.round(&ours, &mut dbos, round).await?;
    }
    samples.tell(report);
    let (commit, slow) = limit.commit_micros().await?;
    let value = format!(
        "p50 {commit:.0}, p99 {slow:.0} us; {:.2} commits",
        slow / commit
    );
    report.text("workflows: a commit of one row, by itself", value, "");
    steps(report, &ours, &mut dbos, commit).await?;
    starts(report, &ours, commit).await?;
    of_the_limit(report, &ours, &limit, &samples).await?;
    ours.sleepers(report, sleepers.unwrap_or(SLEEPERS)).await
}

/// DBOS in a process of its own.
struct Dbos {
    peer: Peer,
    sql: tokio_postgres::Client,
    _database: nself::postgres::scratch::TestDatabase,
}

impl Dbos {
    async fn start() -> Result<Self> {
        let directory = peers::installed("workflows").await?;
        let database = Scratch::durable().database().await;
        let store = ("DATABASE_URL", &*database.url());
        Ok(Self {
            peer: Peer::start(&directory, "dbos.mjs", store).await?,
            sql: database.client().await,
            _database: database,
        })
    }

    /// So many workflows, and how long each took from the call to its end, in milliseconds.
    async fn run(
        &mut self,
        callers: u32,
        workflows: u32,
        steps: u32,
    ) -> Result<(Sample, Vec<f64>)> {
        let watch = Watch {
            store: postmaster(),
            worker: Some(self.peer.pid()?),
            sql: Some(&self.sql),
        };
        let mark = watch.mark().await?;
        let what = json!({"callers": callers, "workflows": workflows, "steps": steps});
        let answer = self.peer.ask("run", what).await?;
        let seconds = answer["seconds"].as_f64();
        let sample = watch.since(&mark, workflows, seconds).await?;
        Ok((sample, millis(&answer)))
    }
}

/// What so many runs took in all, and each of them in milliseconds.
type Took = (Sample, Vec<f64>);

/// What the rounds gave, by callers and side.
#[derive(Default)]
struct Samples(BTreeMap<(u32, Side), Vec<Took>>);

impl Samples {
    async fn round(&mut self, ours: &Ours, dbos: &mut Dbos, round: u32) -> Result<()> {
        for (callers, _) in ROWS {
            let workflows = EACH * callers.max(4);
            let mut sides = Side::ALL;
            if round % 2 == 1 {
                sides.reverse();
            }
            for (side, _) in sides {
                let sample = match side {
                    Side::Ours => {
                        ours.run(callers, workflows, STEPS, Waits::ForTheEnd)
                            .await?
                    }
                    Side::Dbos => dbos.run(callers, workflows, STEPS).await?,
                };
                self.0.entry((callers, side)).or_default().push(sample);
            }
        }
        Ok(())
    }

    fn median(&self, key: (u32, Side), figure: fn(&Sample) -> f64) -> f64 {
        let samples = self.0.get(&key).into_iter().flatten();
        Spread::of(samples.map(|(sample, _)| figure(sample))).median
    }

    fn tell(&self, report: &mut Report) {
        for (callers, [rate_goal, cpu_goal]) in ROWS {
            for (side, name) in Side::ALL {
                let key = (callers, side);
                let samples = self.0.get(&key).into_iter().flatten();
                let Spread { low, median, high } =
                    Spread::of(samples.clone().map(|(sample, _)| sample.rate()));
                let mut took: Vec<f64> = samples.flat_map(|(_, took)| took).copied().collect();
                took.sort_by(f64::total_cmp);
                let value = format!(
                    "{median:.0}/s ({low:.0} to {high:.0}), CPU {:.0} + {:.0} us, {:.0} bytes of WAL, call to end p50 {:.2}, p99 {:.2} ms",
                    self.median(key, Sample::server_micros),
                    self.median(key, Sample::worker_micros),
                    self.median(key, Sample::wal),
                    quantile(&took, 50),
                    quantile(&took, 99)
                );
                let row = format!("workflows: {STEPS} steps, {callers} callers, {name}");
                report.text(&row, value, "");
            }
            let of = |figure| {
                self.median((callers, Side::Ours), figure)
                    / self.median((callers, Side::Dbos), figure)
            };
            for (what, ratio, goal) in [
                ("workflows/s", of(Sample::rate), rate_goal),
                (
                    "CPU of server and worker a workflow",
                    of(Sample::cpu_micros),
                    cpu_goal,
                ),
            ] {
                let row = format!("workflows: {callers} callers, {what}, of DBOS's");
                report.text(&row, format!("{ratio:.3} x"), goal);
            }
        }
    }
}

/// What a step costs more, in commits of one row.
async fn steps(report: &mut Report, ours: &Ours, dbos: &mut Dbos, commit: f64) -> Result<()> {
    let workflows = EACH * 2;
    let each = |sample: &Sample| sample.seconds * 1e6 / sample.jobs;
    let a_step = |few: &Sample, many: &Sample| {
        (each(many) - each(few)) / f64::from(MORE_STEPS - STEPS) / commit
    };
    let few = ours.run(1, workflows, STEPS, Waits::ForTheEnd).await?.0;
    let many = ours
        .run(1, workflows, MORE_STEPS, Waits::ForTheEnd)
        .await?
        .0;
    let theirs = (
        dbos.run(1, workflows, STEPS).await?.0,
        dbos.run(1, workflows, MORE_STEPS).await?.0,
    );
    let calls = (
        ours.calls(workflows, STEPS).await?,
        ours.calls(workflows, MORE_STEPS).await?,
    );
    for (name, ratio, goal) in [
        (
            "ours, without an effect outside",
            a_step(&few, &many),
            "<= 1.2",
        ),
        (
            "ours, a request that is answered at once",
            a_step(&calls.0, &calls.1),
            "<= 1.2",
        ),
        ("DBOS", a_step(&theirs.0, &theirs.1), ""),
    ] {
        let row = format!("workflows: time of a step more, in commits, {name}");
        report.text(&row, format!("{ratio:.2} x"), goal);
    }
    Ok(())
}

/// From the request to the answer that a run is there, and to its end.
async fn starts(report: &mut Report, ours: &Ours, commit: f64) -> Result<()> {
    for (waits, what, goal) in [
        (Waits::ForTheStart, "start", "p99 < 2 commits"),
        (Waits::ForTheEnd, "end", ""),
    ] {
        let (_, mut took) = ours.run(1, EACH * 10, STEPS, waits).await?;
        took.sort_by(f64::total_cmp);
        let (p50, p99) = (quantile(&took, 50), quantile(&took, 99));
        let value = format!(
            "p50 {p50:.2}, p99 {p99:.2} ms; {:.2} and {:.2} commits",
            p50 * 1e3 / commit,
            p99 * 1e3 / commit
        );
        report.text(
            &format!("workflows: from the request to the {what}"),
            value,
            goal,
        );
    }
    Ok(())
}

/// How near we are to what Postgres does with as many commits.
async fn of_the_limit(
    report: &mut Report,
    ours: &Ours,
    limit: &Limit,
    samples: &Samples,
) -> Result<()> {
    let commits = ours.commits(EACH * 20).await?;
    let rate = limit.commits_a_second(EACH * 10).await?;
    let most = rate / commits;
    let of_us = samples.median((32, Side::Ours), Sample::rate);
    let value = format!(
        "{:.2} x: {commits:.2} commits a workflow, {rate:.0} commits/s by pgbench from 32 clients",
        of_us / most
    );
    report.text(
        "workflows: 32 callers, of as many commits of one row",
        value,
        "",
    );
    Ok(())
}
