//! The plugin's `db` beside tokio-postgres used natively; and a log event that nobody reads.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::BodyExt;
use nself::{
    http::{Door, Gateway, RequestBody, path::answer},
    postgres::scratch::Scratch,
};

use crate::{
    Failure, Result,
    cpu::thread_time,
    project::{self, Project},
    report::{Pairs, Report, Spread},
    stage,
};

const ROUNDS: usize = 150;

/// Queries for one row in one measurement, and for 1,000 rows.
const ONE_ROW: u32 = 100;
const ALL_ROWS: u32 = 10;

/// Rows of the table.
const ROWS: f64 = 1_000.0;

/// What the clock is.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Cpu,
    Wall,
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let database = Scratch::shared().database().await;
    let project = Project::new()?;
    project.put(0, 0)?;
    let host = project::start(project.path(), &database.url()).await?;
    host.registry().enable("bench00").await?;
    let gateway = stage::gateway(&host, &database.url()).await?;
    one_row(report, &gateway).await?;
    all_rows(report, &gateway).await?;
    disabled_event(report, &gateway).await?;
    host.stop(Duration::from_secs(5)).await;
    Ok(())
}

async fn one_row(report: &mut Report, gateway: &Gateway) -> Result<()> {
    for (clock, what, goal) in [
        (Clock::Wall, "time from end to end", "<= 1.05x"),
        (Clock::Cpu, "CPU of the host", ""),
    ] {
        let pairs = Pairs::measure(
            ROUNDS,
            async || batch(gateway, "/native/item/500", ONE_ROW, clock).await,
            async || batch(gateway, "/bench00/item/500", ONE_ROW, clock).await,
        )
        .await?;
        let micros = pairs.native().median * 1e6;
        let name = format!("one indexed SELECT: {what} (native {micros:.1} µs)");
        report.spread(&name, pairs.ratio(), "x", goal);
    }
    Ok(())
}

async fn all_rows(report: &mut Report, gateway: &Gateway) -> Result<()> {
    let pairs = Pairs::measure(
        ROUNDS,
        async || batch(gateway, "/native/items", ALL_ROWS, Clock::Cpu).await,
        async || batch(gateway, "/bench00/items", ALL_ROWS, Clock::Cpu).await,
    )
    .await?;
    let Spread { low, median, high } = pairs.difference();
    let a_row = |seconds: f64| seconds * 1e9 / ROWS;
    let extra = Spread {
        low: a_row(low),
        median: a_row(median),
        high: a_row(high),
    };
    let native = a_row(pairs.native().median);
    let name = format!("1,000 rows of 5 columns: extra CPU a row (native {native:.0} ns)");
    report.spread(&name, extra, "ns", "<= 20 ns");
    Ok(())
}

/// Seconds for one request.
async fn batch(gateway: &Gateway, path: &str, count: u32, clock: Clock) -> Result<f64> {
    let (cpu, started) = (thread_time(), Instant::now());
    for _ in 0..count {
        text(gateway, path).await?;
    }
    let used = match clock {
        Clock::Cpu => thread_time().saturating_sub(cpu),
        Clock::Wall => started.elapsed(),
    };
    Ok(used.as_secs_f64() / f64::from(count))
}

async fn text(gateway: &Gateway, path: &str) -> Result<String> {
    let door = Door {
        plugin: None,
        peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
        is_tls: false,
    };
    let request = Request::get(path).header("host", "127.0.0.1");
    let request = request.body(RequestBody::empty())?;
    let response = answer(gateway, &door, None, request).await;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != 200 {
        return Err(Failure::from(format!("{path} answered {status}")));
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn disabled_event(report: &mut Report, gateway: &Gateway) -> Result<()> {
    let mut measured = Vec::new();
    for _ in 0..50 {
        let nanos: f64 = text(gateway, "/bench00/disabled-event").await?.parse()?;
        measured.push(nanos);
    }
    let name = "log event that nobody reads, in the plugin";
    report.spread(name, Spread::of(measured), "ns", "<= 3 ns");
    Ok(())
}
