//! What came of it, beside what should.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_postgres::Client;

use super::{
    Run,
    callers::{Callers, JOB},
    samples::Sample,
    sockets::Sockets,
};
use crate::{
    Failure, Result,
    report::{Report, Spread, quantile},
};

/// Time for work to end that was taken on last.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to stay as large as it was.
struct Flat {
    name: &'static str,
    unit: &'static str,
    of: fn(&Sample) -> f64,
    goal: &'static str,
}

const FLAT: [Flat; 7] = [
    Flat {
        name: "resident memory of the host",
        unit: "MiB",
        of: |sample| sample.resident,
        goal: "<= 1.05 x",
    },
    Flat {
        name: "anonymous memory of the host",
        unit: "MiB",
        of: |sample| sample.anonymous,
        goal: "<= 1.05 x",
    },
    Flat {
        name: "open descriptors of the host",
        unit: "",
        of: |sample| sample.descriptors,
        goal: "<= 1.05 x",
    },
    Flat {
        name: "threads of the host",
        unit: "",
        of: |sample| sample.threads,
        goal: "<= 1.05 x",
    },
    Flat {
        name: "files of plugins that are mapped",
        unit: "",
        of: |sample| sample.libraries,
        goal: "1.00 x",
    },
    Flat {
        name: "connections to the database",
        unit: "",
        of: |sample| sample.connections,
        goal: "<= 1.05 x",
    },
    Flat {
        name: "tables through which work passes",
        unit: "MiB",
        of: |sample| sample.passed,
        goal: "<= 1.10 x",
    },
];

/// A figure, beside what it should be.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) goal: &'static str,
}

/// All of them.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) rows: Vec<Row>,
    pub(super) failed: u64,
    pub(super) lost: i64,
}

impl Verdict {
    pub(super) fn text(&mut self, name: &str, value: String, goal: &'static str) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            goal,
        });
    }

    pub(super) fn tell(&self, report: &mut Report) {
        for Row { name, value, goal } in &self.rows {
            report.text(&format!("mixed: {name}"), value, goal);
        }
    }

    /// What the samples and the exchanges say, and the log.
    pub(super) fn of_run(&mut self, run: &Run, log: &Path) -> Result<()> {
        let samples = &run.samples;
        let middle = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of)).median;
        let requests = run.requests();
        self.text(
            &format!("load of {:.0} s", run.seconds),
            format!(
                "{:.0} requests/s ({requests}), p50 {:.1}, p99 {:.1} ms; CPU {:.0} + {:.0} % of a core (host, database)",
                middle(|sample| sample.rate),
                middle(|sample| sample.p50),
                middle(|sample| sample.p99),
                middle(|sample| sample.host_cpu),
                middle(|sample| sample.cluster_cpu),
            ),
            "",
        );
        self.failed = samples.iter().map(|sample| u64::from(sample.failed)).sum();
        self.text("requests that failed", self.failed.to_string(), "0");
        self.of_exchanges(run);
        let log = fs::read_to_string(log)?;
        let lines = |level: &str| log.matches(&format!("\"level\":\"{level}\"")).count();
        let value = format!("{} errors, {} warnings", lines("ERROR"), lines("WARN"));
        self.text("what the host's log complains of", value, "");
        for Flat {
            name,
            unit,
            of,
            goal,
        } in FLAT
        {
            let (early, late) = run.ends(of)?;
            let all = || samples.iter().map(of);
            let (least, most) = (
                all().fold(f64::INFINITY, f64::min),
                all().fold(0.0, f64::max),
            );
            let digits = usize::from(unit == "MiB");
            let value = format!(
                "{:.2} x ({early:.digits$} and {late:.digits$}; {least:.digits$} to {most:.digits$} {unit}",
                late / early,
            );
            let value = format!("{})", value.trim_end());
            self.text(&format!("{name}, last fifth to the second"), value, goal);
        }
        if let [first, .., last] = samples.as_slice() {
            let bytes = (last.kept - first.kept) * 1024.0 * 1024.0 / f64::from(requests);
            self.text(
                "history that is kept for days, by design: bytes of a request",
                format!("{bytes:.0} ({:.1} MiB together)", last.kept - first.kept),
                "",
            );
            let value = format!("{:.1} to {:.1} MiB", first.database, last.database);
            self.text("size of the database, with that", value, "");
        }
        Ok(())
    }

    fn of_exchanges(&mut self, run: &Run) {
        let exchanges = || run.exchanges.iter().map(|(_, exchange)| exchange);
        let clean = exchanges().filter(|exchange| exchange.clean == Ok(true));
        let (clean, all) = (clean.count(), run.exchanges.len());
        let mut millis: Vec<f64> = exchanges()
            .map(|exchange| exchange.took.as_secs_f64() * 1e3)
            .collect();
        millis.sort_by(f64::total_cmp);
        let (p50, most) = (quantile(&millis, 50), quantile(&millis, 100));
        self.text(
            "versions that were exchanged meanwhile, and nothing was cut off",
            format!("{clean} of {all} (p50 {p50:.0}, most {most:.0} ms)"),
            "all",
        );
    }

    /// Whether all work was done that was taken on.
    pub(super) async fn of_work(
        &mut self,
        sql: &Client,
        callers: &Callers,
        sockets: &Sockets,
    ) -> Result<()> {
        let done = format!(
            "select count(*) from jobs.finished where kind = '{JOB}' and state = 'completed'"
        );
        let mails =
            "select count(*) from mail.messages where template = 'mail/test' and state = 'sent'";
        let runs = "select count(*) from orchestrator.instances where status = 'completed'";
        for (name, query, taken) in [
            ("jobs", done.as_str(), callers.jobs.get()),
            ("mails", mails, callers.mails.get()),
            ("workflows", runs, callers.runs.get()),
        ] {
            let done = all_done(sql, query, taken).await?;
            let seen = format!("{taken} taken on, {done} done");
            self.lose(name, taken - done, &seen);
        }
        let fires = "select count(*) filter (where outcome = 'fired'), \
             (extract(epoch from max(nominal_at) - min(nominal_at)) + 1)::bigint from scheduler.fires";
        let row = sql.query_one(fires, &[]).await?;
        let (fired, due): (i64, Option<i64>) = (row.get(0), row.get(1));
        let due = due.ok_or_else(|| Failure::from("no schedule has fired"))?;
        let value = format!("{due} seconds, {fired} fires");
        self.lose("fires of a schedule", due - fired, &value);
        let seen = &sockets.seen;
        let value = format!(
            "{} heard on {} connections, {} of which the host had come again",
            seen.messages.get(),
            seen.connections.get(),
            seen.sent_away.get()
        );
        let missed = seen.missed.get() + sockets.behind();
        self.lose("messages to sockets", i64::try_from(missed)?, &value);
        self.failed += seen.failed.get();
        self.text("sockets that broke off", seen.failed.get().to_string(), "0");
        Ok(())
    }

    fn lose(&mut self, name: &str, lost: i64, seen: &str) {
        self.lost += lost.max(0);
        self.text(
            &format!("{name} that were lost"),
            format!("{lost} ({seen})"),
            "0",
        );
    }
}

/// How many have been done, once all have or none more will.
async fn all_done(sql: &Client, query: &str, taken: i64) -> Result<i64> {
    let begun = Instant::now();
    loop {
        let done = sql.query_one(query, &[]).await?.get(0);
        if done >= taken || begun.elapsed() > PATIENCE {
            return Ok(done);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

impl Run {
    pub(super) fn requests(&self) -> u32 {
        self.samples.iter().map(|sample| sample.done).sum()
    }

    /// Medians of the second fifth and of the last.
    pub(super) fn ends(&self, of: fn(&Sample) -> f64) -> Result<(f64, f64)> {
        let fifth = self.samples.len() / 5;
        if fifth == 0 {
            return Err(Failure::from("it was too short to look five times"));
        }
        let median = |samples: &[Sample]| Spread::of(samples.iter().map(of)).median;
        let late = self.samples.len() - fifth;
        Ok((
            median(&self.samples[fifth..2 * fifth]),
            median(&self.samples[late..]),
        ))
    }
}
