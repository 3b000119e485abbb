//! Jobs for minutes on end: what has to stay as large as it was.

use std::time::{Duration, Instant};

use serde_json::json;

use super::ours::Ours;
use crate::{Failure, Result, report::Report};

/// How long it goes on, unless an argument says another number of seconds.
const SECONDS: u32 = 600;

/// Jobs that come together, and how often they do: a load that leaves room for vacuum, on which the tables' sizes depend.
const TOGETHER: u32 = 200;
const EVERY: Duration = Duration::from_millis(100);

/// Looks at the sizes, the first tenth of which is the start.
const LOOKS: u32 = 100;

/// Bytes of the tables through which a job passes; not of the history, which grows by what is kept.
const PASSED: &str = "select sum(pg_total_relation_size(t.oid))::float8 from pg_class t \
    where t.relnamespace = 'jobs'::regnamespace and t.relkind = 'r' and t.relname in ('ready', 'later', 'waiting', 'leases', 'sleepers', 'hosts')";

/// What is looked at.
#[derive(Debug, Clone, Copy)]
struct Size {
    tables: f64,
    host_kib: f64,
}

/// Runs so many seconds and compares the largest sizes of the last fifth with those of the second.
pub(crate) async fn soak(report: &mut Report, seconds: Option<u32>) -> Result<()> {
    let ours = Ours::start().await?;
    let length = Duration::from_secs(seconds.unwrap_or(SECONDS).max(1).into());
    let (begun, mut jobs, mut sizes) = (Instant::now(), 0_u32, Vec::new());
    let watch = ours.watch()?;
    let mark = watch.mark().await?;
    let mut looked = begun;
    while begun.elapsed() < length {
        let next = Instant::now() + EVERY;
        ours.fill("bench00.nothing", TOGETHER, &json!({})).await?;
        jobs += TOGETHER;
        if looked.elapsed() >= length / LOOKS {
            looked = Instant::now();
            sizes.push(look(&ours).await?);
        }
        tokio::time::sleep_until(next.into()).await;
    }
    ours.until(
        "select not exists (select from jobs.ready) and not exists (select from jobs.leases)",
    )
    .await?;
    let used = watch.since(&mark, jobs, None).await?;
    report.text(
        &format!("jobs: soak of {} s, jobs/s", length.as_secs()),
        format!(
            "{:.0} ({jobs} jobs, {:.1} + {:.1} us, {:.0} bytes)",
            used.rate(),
            used.server_micros(),
            used.worker_micros(),
            used.wal()
        ),
        "",
    );
    let tables: fn(&Size) -> f64 = |size| size.tables / 1024.0;
    let memory: fn(&Size) -> f64 = |size| size.host_kib;
    for (name, figure) in [
        ("tables that a job passes", tables),
        ("resident memory of the host", memory),
    ] {
        let (early, late) = ends(&sizes, figure)?;
        let value = format!("{:.2} x ({early:.0} and {late:.0} KiB)", late / early);
        report.text(&format!("jobs: soak, {name}, end to start"), value, "");
    }
    Ok(())
}

async fn look(ours: &Ours) -> Result<Size> {
    Ok(Size {
        tables: ours.sql.query_one(PASSED, &[]).await?.get(0),
        host_kib: f64::from(u32::try_from(ours.resident_kib()?)?),
    })
}

/// The largest of the second fifth and of the last.
fn ends(sizes: &[Size], figure: fn(&Size) -> f64) -> Result<(f64, f64)> {
    let fifth = sizes.len() / 5;
    if fifth == 0 {
        return Err(Failure::from("it was too short to look five times"));
    }
    let most = |sizes: &[Size]| sizes.iter().map(figure).fold(0.0, f64::max);
    Ok((
        most(&sizes[fifth..2 * fifth]),
        most(&sizes[sizes.len() - fifth..]),
    ))
}
