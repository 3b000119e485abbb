//! A small server for minutes on end: all plugins, a steady load of everything that they do, sockets that come and go, and a version
//! exchanged again and again. What has to stay as large as it was is looked at every other second, nothing may fail and nothing may be
//! lost; a page with plots shows it.
//!
//! Both versions of each plugin are loaded before it begins: a library is never unloaded, so each costs memory once, and that is told by
//! itself. Afterwards versions that are there already take turns.

mod callers;
mod host;
mod load;
mod page;
mod plot;
mod samples;
mod sockets;
mod verdict;

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all, try_join};
use nself::postgres::scratch::Scratch;
use tokio::{
    task::{JoinSet, LocalSet},
    time::{sleep, sleep_until},
};
use tokio_postgres::Client;

use self::{
    callers::{Callers, Kind},
    host::{Exchange, Host, PLUGINS},
    load::Load,
    samples::{Sample, Sampler, memory},
    sockets::{SOCKETS, Sockets},
    verdict::Verdict,
};
use crate::{Failure, Result, report::Report, workflows::answer_at_once};

/// How long it goes on, unless an argument says another number of seconds.
const SECONDS: u32 = 600;

/// Exchanges in that time.
const EXCHANGES: u32 = 10;

/// How often is looked at what there is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often each plugin is exchanged when the load is over, and how often is looked meanwhile at what that leaves behind.
const ROUNDS: usize = 2;
const TIMES: usize = 4;

/// Time for what the last work has left behind to go.
const SETTLED: Duration = Duration::from_secs(3);

/// What was seen.
pub(crate) struct Run {
    seconds: f64,
    samples: Vec<Sample>,
    /// When they were asked for, in seconds since the beginning.
    exchanges: Vec<(f64, Exchange)>,
}

/// Runs so many seconds; the page is beside the directory of this program.
pub(crate) async fn measure(report: &mut Report, seconds: Option<u32>) -> Result<()> {
    let length = Duration::from_secs(seconds.unwrap_or(SECONDS).max(20).into());
    LocalSet::new().run_until(soak(report, length)).await
}

async fn soak(report: &mut Report, length: Duration) -> Result<()> {
    let database = Scratch::durable().database().await;
    let sql = database.client().await;
    let server = answer_at_once().await?;
    let (page, log) = (built("soak.html")?, built("soak.log")?);
    let mut host = Host::start(&database.url(), server, &log).await?;
    let callers = Rc::new(Callers::new(Load::new(host.address)).await?);
    callers.prepare(server).await?;
    let mut verdict = Verdict::default();
    let first = first_exchanges(&mut host).await?;
    verdict.text(
        &format!(
            "memory of the {} versions that are loaded beside the first ones",
            PLUGINS.len()
        ),
        format!("{first:.1} MiB"),
        "once",
    );
    let sockets = Rc::new(Sockets::new(Rc::clone(&callers), host.address));
    let run = under_load(&mut host, &sql, &callers, &sockets, length).await?;
    verdict.of_run(&run, &log)?;
    verdict.of_work(&sql, &callers, &sockets).await?;
    let again = later_exchanges(&mut host).await?;
    verdict.text(
        "memory of an exchange for a version that is loaded already, without load, four times 16 of them",
        format!("{again} KiB"),
        "flat",
    );
    page::write(&page, &run, &verdict)?;
    verdict.tell(report);
    report.text("mixed: the page with plots", page.display().to_string(), "");
    Ok(())
}

/// Beside the directory that this program was built into.
fn built(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2);
    let target =
        target.ok_or_else(|| Failure::from("this program lies in no directory of cargo's"))?;
    Ok(Path::join(target, name))
}

/// Everything at once, until the time is over.
async fn under_load(
    host: &mut Host,
    sql: &Client,
    callers: &Rc<Callers>,
    sockets: &Rc<Sockets>,
    length: Duration,
) -> Result<Run> {
    let mut sampler = Sampler::new(sql, host.pid()?, &callers.load)?;
    let begun = sampler.begun;
    let mut listeners = JoinSet::new();
    for number in 0..SOCKETS {
        listeners.spawn_local(Rc::clone(sockets).come_and_go(number));
    }
    let asking = join_all(Kind::MIX.map(|(kind, per_second)| {
        let callers = Rc::clone(callers);
        async move {
            let act = |number, due| Rc::clone(&callers).act(kind, number, due);
            callers.load.steadily(per_second, act).await;
        }
    }));
    let seen = async {
        let seen = try_join(
            look(&mut sampler, begun, length),
            exchange(host, begun, length),
        );
        let seen = seen.await;
        callers.load.stop();
        seen
    };
    let (seen, _) = join(seen, asking).await;
    let (mut samples, exchanges) = seen?;
    samples.push(sampler.look().await?);
    sockets.end().await;
    Ok(Run {
        seconds: length.as_secs_f64(),
        samples,
        exchanges,
    })
}

async fn look(sampler: &mut Sampler<'_>, begun: Instant, length: Duration) -> Result<Vec<Sample>> {
    let (mut samples, mut next) = (Vec::new(), begun + LOOK_EVERY);
    while next < begun + length {
        sleep_until(next.into()).await;
        samples.push(sampler.look().await?);
        next += LOOK_EVERY;
    }
    Ok(samples)
}

async fn exchange(
    host: &mut Host,
    begun: Instant,
    length: Duration,
) -> Result<Vec<(f64, Exchange)>> {
    let (mut exchanges, half) = (Vec::new(), length / EXCHANGES / 2);
    for turn in 0..EXCHANGES {
        sleep_until((begun + half + length * turn / EXCHANGES).into()).await;
        let at = begun.elapsed().as_secs_f64();
        exchanges.push((at, host.exchange(usize::try_from(turn)?).await?));
    }
    sleep_until((begun + length).into()).await;
    Ok(exchanges)
}

/// Loads the other version of each plugin; MiB of memory that it takes.
async fn first_exchanges(host: &mut Host) -> Result<f64> {
    let before = memory(host.pid()?, "VmRSS:")?;
    exchange_all(host).await?;
    Ok(memory(host.pid()?, "VmRSS:")? - before)
}

/// KiB of memory that an exchange takes when nothing new is loaded, from one time to the next: what is left behind for good does not
/// become less.
async fn later_exchanges(host: &mut Host) -> Result<String> {
    let exchanges = f64::from(u32::try_from(ROUNDS * PLUGINS.len())?);
    let mut grown = Vec::new();
    sleep(SETTLED).await;
    for _ in 0..TIMES {
        let before = memory(host.pid()?, "VmRSS:")?;
        for _ in 0..ROUNDS {
            exchange_all(host).await?;
        }
        sleep(SETTLED).await;
        let kib = (memory(host.pid()?, "VmRSS:")? - before) * 1024.0 / exchanges;
        grown.push(format!("{kib:.0}"));
    }
    Ok(grown.join(", "))
}

async fn exchange_all(host: &mut Host) -> Result<()> {
    for (turn, plugin) in PLUGINS.into_iter().enumerate() {
        let exchange = host.exchange(turn).await?;
        if exchange.clean != Ok(true) {
            return Err(format!("{plugin} was not exchanged: {:?}", exchange.clean).into());
        }
    }
    Ok(())
}
