//! Requests that come at their rate whether or not those before them have been answered, and what became of them.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet, time::sleep_until};

use crate::{Result, client::Http};

/// How long a connection is kept that nobody uses: for less than the host keeps it.
const IDLE: Duration = Duration::from_secs(5);

/// What became of the requests since somebody asked.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How long those took that were answered as they should be, in milliseconds from when they were to come.
    pub(super) millis: Vec<f64>,
    pub(super) failed: u32,
}

/// The callers' side of the requests.
pub(super) struct Load {
    address: SocketAddr,
    idle: RefCell<Vec<(Instant, Http<TcpStream>)>>,
    tally: RefCell<Tally>,
    stopped: Cell<bool>,
}

impl Load {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: RefCell::default(),
            tally: RefCell::default(),
            stopped: Cell::default(),
        }
    }

    /// So many times a second until the load is stopped; all have ended when it returns.
    pub(super) async fn steadily<Done>(&self, per_second: f64, act: impl Fn(usize, Instant) -> Done)
    where
        Done: Future<Output = ()> + 'static,
    {
        let (pause, mut tasks) = (Duration::from_secs_f64(1.0 / per_second), JoinSet::new());
        let mut due = Instant::now();
        for number in 0.. {
            sleep_until(due.into()).await;
            if self.stopped.get() {
                break;
            }
            tasks.spawn_local(act(number, due));
            while tasks.try_join_next().is_some() {}
            due += pause;
        }
        tasks.join_all().await;
    }

    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    pub(super) fn take_tally(&self) -> Tally {
        self.tally.take()
    }

    /// One request that was to come at a moment: its answer, when that is a good one.
    pub(super) async fn ask(&self, due: Instant, request: &[u8]) -> Option<Value> {
        match self.sent(request).await {
            Ok(answer) => {
                let millis = due.elapsed().as_secs_f64() * 1e3;
                self.tally.borrow_mut().millis.push(millis);
                Some(answer)
            }
            Err(failure) => {
                let line = request.split(|byte| *byte == b'\r').next();
                let line = String::from_utf8_lossy(line.unwrap_or_default());
                eprintln!("  {line}: {failure}");
                self.tally.borrow_mut().failed += 1;
                None
            }
        }
    }

    async fn sent(&self, request: &[u8]) -> Result<Value> {
        let mut http = self.connection().await?;
        let (answer, body) = http.send_for_body(request).await?;
        if !answer.last {
            self.idle.borrow_mut().push((Instant::now(), http));
        }
        if answer.status >= 300 {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("{}: {text}", answer.status).into());
        }
        // No content is no JSON.
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match &body["error"] {
            Value::Null => Ok(body),
            error => Err(error.to_string().into()),
        }
    }

    /// One that nobody uses now, or another one.
    async fn connection(&self) -> Result<Http<TcpStream>> {
        let kept = self.idle.borrow_mut().pop();
        if let Some((_, http)) = kept.filter(|(since, _)| since.elapsed() < IDLE) {
            return Ok(http);
        }
        // The last one was used last: those below it are older.
        self.idle.borrow_mut().clear();
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(Http::over(stream))
    }
}
