//! More requests than a host can answer: what those have that are let in, what the others are told, and how soon it is over.
//!
//! The load is open: requests come at a rate whether or not those before them have been answered, and each one's time counts from
//! when it was to come. Callers and host share the machine, so the callers' work is taken from the host.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::future::{self, try_join_all};
use nself::postgres::scratch::Scratch;
use tokio::{
    net::TcpStream,
    task::{JoinSet, LocalSet},
    time::sleep,
};

use crate::{
    Failure, Result,
    child::{Cores, Log, Served},
    client::{self, Http},
    project::Project,
    report::{Report, quantile},
};

/// A thousand rows, so that a request takes the database's time and not only the callers'.
const PATH: &str = "/bench00/items";

/// Callers that take all that there is, one request after the other.
const CALLERS: usize = 128;

/// How many times as much comes then.
const TIMES: f64 = 3.0;

/// What is asked for meanwhile, and how often.
const PROBE: &str = "/livez";
const PROBE_EVERY: Duration = Duration::from_millis(100);

const LENGTH: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 20 });

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    LocalSet::new().run_until(of_one_host(report)).await
}

async fn of_one_host(report: &mut Report) -> Result<()> {
    let database = Scratch::shared().database().await;
    let project = Project::with("")?;
    project.put(0, 0)?;
    let (directory, url) = (project.path(), database.url());
    let served = Served::start_on(Cores::All, directory, &url, Log::On, &["bench00"]).await?;
    let capacity = all_that_there_is(served.gateway).await?;
    let rate = capacity.rate(&capacity.served);
    let p99 = at(&capacity.served, 99);
    let before = served.resident_kib()?;
    report.text(
        &format!("overload: capacity, {CALLERS} callers one after the other"),
        format!("{rate:.0}/s, {}", times(&capacity.served)),
        "",
    );

    let (over, probes) = future::try_join(
        open(served.gateway, rate * TIMES, LENGTH),
        probe(served.gateway, LENGTH),
    )
    .await?;
    let goodput = over.rate(&over.served) / rate;
    let value = format!("{goodput:.2} x of capacity, {}", times(&over.served));
    report.text("overload at 3 times: let in", value, "> 0.8 x");
    let ratio = at(&over.served, 99) / p99;
    report.text(
        "overload at 3 times: p99 of those, of that at capacity",
        format!("{ratio:.2} x"),
        "<= 2 x",
    );
    let value = format!("{}, {}", over.refused.len(), times(&over.refused));
    report.text("overload at 3 times: told to come again", value, "quickly");
    let name = "overload at 3 times: any other answer, or none";
    report.text(name, over.failed.to_string(), "0");
    let name = "overload at 3 times: /livez meanwhile";
    report.text(name, times(&probes), "answers");
    let memory = cast(served.resident_kib()?) / cast(before);
    let name = "overload at 3 times: memory of the host, of that at capacity";
    report.text(name, format!("{memory:.2} x"), "< 1.5 x");

    let second = Duration::from_secs(1);
    let mut refused = Vec::new();
    for _ in 0..3 {
        let calm = open(served.gateway, rate / 2.0, second).await?;
        refused.push((calm.refused.len() + calm.failed).to_string());
    }
    report.text(
        "overload: told to come again in the seconds after it, at half of capacity",
        refused.join(", "),
        "a second at most",
    );
    Ok(())
}

/// What became of requests: how long they took, in milliseconds.
#[derive(Default)]
struct Outcome {
    seconds: f64,
    served: Vec<f64>,
    refused: Vec<f64>,
    failed: usize,
}

impl Outcome {
    fn note(&mut self, status: Option<u16>, took: Duration) {
        let millis = took.as_secs_f64() * 1e3;
        match status {
            Some(200) => self.served.push(millis),
            Some(503) => self.refused.push(millis),
            _ => self.failed += 1,
        }
    }

    fn rate(&self, of: &[f64]) -> f64 {
        f64::from(u32::try_from(of.len()).unwrap_or(u32::MAX)) / self.seconds
    }
}

fn cast(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX))
}

fn at(millis: &[f64], percent: usize) -> f64 {
    let mut sorted = millis.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, percent)
}

fn times(millis: &[f64]) -> String {
    if millis.is_empty() {
        return "none".to_owned();
    }
    let [p50, p99, most] = [50, 99, 100].map(|percent| at(millis, percent));
    format!("p50 {p50:.1}, p99 {p99:.1}, most {most:.1} ms")
}

async fn all_that_there_is(address: SocketAddr) -> Result<Outcome> {
    let request = client::get(PATH);
    let begun = Instant::now();
    let callers = (0..CALLERS).map(|_| async {
        let mut http = connect(address).await?;
        let mut times = Vec::new();
        while begun.elapsed() < LENGTH {
            let asked = Instant::now();
            let answer = http.send(&request).await?;
            if answer.status != 200 {
                let status = answer.status;
                return Err(Failure::from(format!("{PATH} answered {status}")));
            }
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    });
    let served = try_join_all(callers).await?.concat();
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Outcome {
        seconds,
        served,
        ..Outcome::default()
    })
}

/// So many requests a second, for so long; all are answered when it returns.
async fn open(address: SocketAddr, rate: f64, length: Duration) -> Result<Outcome> {
    let (outcome, idle) = (
        Rc::new(RefCell::new(Outcome::default())),
        Rc::<RefCell<Vec<_>>>::default(),
    );
    let mut tasks = JoinSet::new();
    let (begun, mut sent) = (Instant::now(), 0_u32);
    while begun.elapsed() < length {
        while f64::from(sent) < begun.elapsed().as_secs_f64() * rate {
            let due = begun + Duration::from_secs_f64(f64::from(sent) / rate);
            sent += 1;
            let (outcome, idle) = (Rc::clone(&outcome), Rc::clone(&idle));
            tasks.spawn_local(async move {
                let status = one(address, &idle).await.ok();
                outcome.borrow_mut().note(status, due.elapsed());
            });
        }
        while tasks.try_join_next().is_some() {}
        sleep(Duration::from_millis(1)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    tasks.join_all().await;
    let outcome = outcome.take();
    Ok(Outcome { seconds, ..outcome })
}

/// One request, over a connection that nobody uses now.
async fn one(address: SocketAddr, idle: &RefCell<Vec<Http<TcpStream>>>) -> Result<u16> {
    let kept = idle.borrow_mut().pop();
    let mut http = match kept {
        Some(http) => http,
        None => connect(address).await?,
    };
    let answer = http.send(&client::get(PATH)).await?;
    if !answer.last {
        idle.borrow_mut().push(http);
    }
    Ok(answer.status)
}

async fn probe(address: SocketAddr, length: Duration) -> Result<Vec<f64>> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        let asked = Instant::now();
        let answer = connect(address).await?.send(&client::get(PROBE)).await?;
        if answer.status != 200 {
            let status = answer.status;
            return Err(Failure::from(format!("{PROBE} answered {status}")));
        }
        times.push(asked.elapsed().as_secs_f64() * 1e3);
        sleep(PROBE_EVERY).await;
    }
    Ok(times)
}

async fn connect(address: SocketAddr) -> Result<Http<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Http::over(stream))
}
