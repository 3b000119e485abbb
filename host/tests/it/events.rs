//! The event log: nothing is skipped, nothing blocks, whatever dies.

mod delivery;
mod failures;
mod replicas;
mod upkeep;
mod waking;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use nself::events::{CloudEvent, EventLog, StartAt, Subscriber, Tuning, dial};
use nself::postgres::scratch::TestDatabase;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// Long enough for a loaded machine; nothing waits so long when it works.
const LIMIT: Duration = Duration::from_secs(30);

fn log(database: &TestDatabase) -> Arc<EventLog> {
    let manager = ManagerConfig {
        recycling_method: RecyclingMethod::Verified,
    };
    let pool = Pool::builder(Manager::from_config(database.config(), NoTls, manager))
        .max_size(4)
        .build()
        .unwrap();
    Arc::new(EventLog::new(pool, dial(database.config(), NoTls)))
}

/// A subscriber to everything that begins with the oldest event, and whose sweep and lease outlast the test.
fn subscriber(name: &str) -> Subscriber {
    let tuning = Tuning {
        lease: Duration::from_secs(600),
        sweep: Duration::from_secs(600),
        retry_pause: Duration::from_millis(1),
        ..Tuning::default()
    };
    Subscriber {
        start_at: StartAt::Beginning,
        tuning,
        ..Subscriber::new(name, &["*"])
    }
}

/// A running reader that hands over what it gets.
struct Running {
    events: mpsc::UnboundedReceiver<CloudEvent>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(log: &Arc<EventLog>, subscriber: Subscriber) -> Self {
        Self::start_with(log, subscriber, |_| async { Ok(()) })
    }

    /// `handle` answers for each event, after it was handed over.
    fn start_with<F, A>(log: &Arc<EventLog>, subscriber: Subscriber, handle: F) -> Self
    where
        F: Fn(CloudEvent) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (sender, events) = mpsc::unbounded_channel();
        let (shutdown, stopped) = watch::channel(false);
        let log = log.clone();
        let handler = move |event: CloudEvent| {
            let sent = sender
                .send(event.clone())
                .map_err(|error| error.to_string());
            let answer = handle(event);
            async move {
                sent?;
                answer.await
            }
        };
        let task =
            tokio::spawn(async move { log.run(subscriber, handler, stopped).await.unwrap() });
        Self {
            events,
            shutdown,
            task,
        }
    }

    async fn next(&mut self) -> CloudEvent {
        tokio::time::timeout(LIMIT, self.events.recv())
            .await
            .expect("an event comes")
            .expect("the reader runs")
    }

    async fn subjects(&mut self, count: usize) -> Vec<String> {
        let mut subjects = Vec::new();
        for _ in 0..count {
            subjects.push(self.next().await.subject.unwrap());
        }
        subjects
    }

    async fn stop(self) {
        self.shutdown.send(true).unwrap();
        tokio::time::timeout(LIMIT, self.task)
            .await
            .expect("the reader stops")
            .unwrap();
    }

    /// As a process that is killed: no acknowledgement, the lease stays.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn emit(client: &Client, subject: &str) {
    client
        .execute(
            "SELECT nself.emit_event('note.added', $1, '{}')",
            &[&subject],
        )
        .await
        .unwrap();
}

/// Waits, with a limit, until `sql` answers true.
async fn until(client: &Client, sql: &str) {
    let poll = async {
        while !client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll)
        .await
        .unwrap_or_else(|_| panic!("not true in time: {sql}"));
}

/// Until a reader has marked itself as idle and nothing can be under way that it would have to look for.
async fn until_idle(client: &Client) {
    until(client, "SELECT EXISTS (SELECT FROM nself.event_waiters)").await;
}
