//! The jobs plugin beside graphile-worker, pg-boss, `BullMQ` on Redis, and hand-written SQL: one cluster with Postgres's own
//! durability, in turns. A ratio is one of medians; CPU and WAL stand beside every rate.

mod callers;
mod limit;
mod ours;
pub(crate) mod peer;
mod peers;
mod single;
mod soak;
pub(crate) mod usage;

use std::collections::BTreeMap;

pub(crate) use self::soak::soak;
use self::{
    limit::Limit,
    ours::{Ours, UNWORKED},
    peers::Peers,
    usage::Sample,
};
use crate::{
    Failure, Result,
    report::{Report, Spread, at_most},
};

/// Jobs of what is measured once, and without another word.
const JOBS: u32 = 20_000;

/// Jobs that are enqueued in batches and drained in a round: of fewer, how a drain begins and ends is a tenth of it.
const DRAINED: u32 = 100_000;

const ROUNDS: u32 = 5;

/// A backlog is large from here, unless an argument says another number.
const BACKLOG: u32 = 200_000;

const ENQUEUE: &str = "select jobs.enqueue('bench.unworked', $1)";

/// A build without optimisation only shows that the benchmark works.
const IS_FAST: bool = !cfg!(debug_assertions);

pub(crate) async fn measure(
    report: &mut Report,
    backlog: Option<u32>,
    rounds: Option<u32>,
) -> Result<()> {
    let (jobs, drained, backlog) = if IS_FAST {
        (JOBS, DRAINED, backlog.unwrap_or(BACKLOG))
    } else {
        (2_000, 2_000, 4_000)
    };
    let limit = Limit::new().await?;
    let ours = Ours::start().await?;
    single::idle(report, &ours).await?;
    let mut peers = Peers::start().await?;
    let mut samples = Samples::default();
    for round in 0..at_most(rounds.unwrap_or(ROUNDS)) {
        eprintln!("  round {}", round + 1);
        samples.round(&ours, &mut peers, &limit, drained).await?;
    }
    samples.tell(report);
    single::starts(report, &ours, &mut peers).await?;
    single::old_transaction(report, &ours, &mut peers, jobs).await?;
    single::limits(report, &ours, jobs).await?;
    single::family(report, &ours, backlog).await?;
    single::backlog(report, &ours, jobs, backlog).await?;
    single::memory(report, &ours, &peers)
}

/// What is measured in turns, and on which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Drain,
    One,
    Many,
    Http,
    Batches,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Ours,
    Graphile,
    Boss,
    Bull,
    Limit,
}

impl Row {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Drain, "drain"),
        (Self::One, "enqueue, 1 caller"),
        (Self::Many, "enqueue, 32 callers"),
        (Self::Http, "enqueue, 32 callers over HTTP"),
        (Self::Batches, "enqueue, batches of 1,000"),
    ];

    fn goal(self, side: Side) -> &'static str {
        match (self, side) {
            (Self::Drain, Side::Graphile) => ">= 4",
            (Self::Drain, Side::Boss) => ">= 5",
            (Self::Drain, Side::Bull) => ">= 12",
            (Self::Drain, Side::Limit) => ">= 0.5",
            (Self::Many, Side::Graphile) => ">= 8",
            (Self::Http, Side::Bull) => ">= 1",
            (Self::One | Self::Batches, Side::Graphile | Side::Boss) => ">= 2",
            _ => "",
        }
    }
}

impl Side {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Ours, "ours"),
        (Self::Graphile, "graphile-worker"),
        (Self::Boss, "pg-boss"),
        (Self::Bull, "BullMQ"),
        (Self::Limit, "hand-written SQL"),
    ];
}

#[derive(Default)]
struct Samples(BTreeMap<(Row, Side), Vec<Sample>>);

impl Samples {
    fn push(&mut self, row: Row, side: Side, sample: Sample) {
        self.0.entry((row, side)).or_default().push(sample);
    }

    /// Each side once, one after the other.
    async fn round(
        &mut self,
        ours: &Ours,
        peers: &mut Peers,
        limit: &Limit,
        jobs: u32,
    ) -> Result<()> {
        let each = if IS_FAST { 100 } else { 5 };
        let alone = each * 4;
        self.of_ours(ours, jobs, each).await?;

        let graphile = &mut peers.graphile;
        self.push(Row::One, Side::Graphile, graphile.enqueue(1, alone).await?);
        let many = graphile.enqueue(32, each).await?;
        self.push(Row::Many, Side::Graphile, many);
        self.push(Row::Batches, Side::Graphile, graphile.fill(jobs).await?);
        let all = jobs + alone + 32 * each;
        self.push(Row::Drain, Side::Graphile, graphile.drain(all).await?);

        let boss = &mut peers.boss;
        self.push(Row::One, Side::Boss, boss.enqueue(1, alone).await?);
        self.push(Row::Many, Side::Boss, boss.enqueue(32, 32 * each).await?);
        self.push(Row::Batches, Side::Boss, boss.fill(jobs).await?);
        self.push(Row::Drain, Side::Boss, boss.drain(all).await?);

        let bull = &mut peers.bull;
        self.push(Row::One, Side::Bull, bull.enqueue(1, alone).await?);
        let many = bull.enqueue(32, 32 * each).await?;
        self.push(Row::Many, Side::Bull, many);
        self.push(Row::Http, Side::Bull, many);
        self.push(Row::Batches, Side::Bull, bull.fill(jobs).await?);
        self.push(Row::Drain, Side::Bull, bull.drain(all).await?);

        self.push(Row::Drain, Side::Limit, limit.drain(jobs).await?);
        Ok(())
    }

    async fn of_ours(&mut self, ours: &Ours, jobs: u32, each: u32) -> Result<()> {
        let by_sql = async |callers, each| {
            let sample = callers::enqueue(&ours.database, ENQUEUE, callers, each).await?;
            ours.empty_unworked().await?;
            Ok::<_, Failure>(sample)
        };
        self.push(Row::One, Side::Ours, by_sql(1, each * 4).await?);
        self.push(Row::Many, Side::Ours, by_sql(32, each * 4).await?);
        let over_http = ours.enqueue_over_http(32, each * 4).await?;
        self.push(Row::Http, Side::Ours, over_http);
        let nothing = serde_json::json!({});
        let watch = ours.watch()?;
        let mark = watch.mark().await?;
        ours.fill(UNWORKED, jobs, &nothing).await?;
        self.push(
            Row::Batches,
            Side::Ours,
            watch.since(&mark, jobs, None).await?,
        );
        ours.empty_unworked().await?;
        let (filled, mut drained) = ours
            .fill_and_drain("bench00.nothing", jobs, &nothing)
            .await?;
        // Over its whole life.
        drained.wal_bytes += filled.wal_bytes;
        self.push(Row::Drain, Side::Ours, drained);
        Ok(())
    }

    fn median(&self, row: Row, side: Side, figure: fn(&Sample) -> f64) -> Option<f64> {
        let samples = self.0.get(&(row, side))?;
        Some(Spread::of(samples.iter().map(figure)).median)
    }

    fn tell(&self, report: &mut Report) {
        for (row, name) in Row::ALL {
            for (side, of) in Side::ALL {
                self.tell_side(report, (row, name), (side, of));
            }
        }
        let of_us = |figure| self.median(Row::Drain, Side::Ours, figure);
        let of_graphile = |figure| self.median(Row::Drain, Side::Graphile, figure);
        if let (Some(cpu), Some(theirs), Some(wal)) = (
            of_us(Sample::cpu_micros),
            of_graphile(Sample::cpu_micros),
            of_us(Sample::wal),
        ) {
            report.text(
                "jobs: drain, CPU of server and host for a job",
                format!("{cpu:.1} us"),
                "<= 25",
            );
            report.text(
                "jobs: drain, the same of graphile-worker's",
                format!("{:.2} x", cpu / theirs),
                "<= 0.3",
            );
            report.text(
                "jobs: WAL over a job's life",
                format!("{wal:.0} bytes"),
                "<= 650",
            );
        }
    }

    /// A side's figures, and ours beside them.
    fn tell_side(&self, report: &mut Report, (row, name): (Row, &str), (side, of): (Side, &str)) {
        let median = |figure| self.median(row, side, figure);
        let (Some(rate), Some(server), Some(worker), Some(wal)) = (
            median(Sample::rate),
            median(Sample::server_micros),
            median(Sample::worker_micros),
            median(Sample::wal),
        ) else {
            return;
        };
        let of_us = self.median(row, Side::Ours, Sample::rate);
        let ratio = match of_us.filter(|_| side != Side::Ours) {
            Some(ours) => format!("ours is {:.2} x; ", ours / rate),
            None => String::new(),
        };
        let rates = self.0.get(&(row, side)).into_iter().flatten();
        let Spread { low, high, .. } = Spread::of(rates.map(Sample::rate));
        report.text(
            &format!("jobs: {name}, {of}"),
            format!(
                "{ratio}{rate:.0}/s ({low:.0} to {high:.0}), {server:.1} + {worker:.1} us, {wal:.0} bytes"
            ),
            row.goal(side),
        );
    }
}
