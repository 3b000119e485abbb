//! Leases over all replicas: Postgres advisory locks, all held by one session per host. A host that dies loses its session
//! and so its leases, without any clock being compared.

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nself_plugin_api::abi::{
    capability::task::{Lease, LeaseProvider},
    error::Error,
};
use tokio::{runtime::Handle, sync::watch, task::AbortHandle};
use tokio_postgres::{AsyncMessage, Client};

use crate::postgres::connect::Target;

/// How often one that waits for a lease asks again. A lease that is given up is taken after at most this long.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How often the session is asked whether it is still there, and how long it may take to answer; a peer that vanished does not
/// close the socket. One that closes it is noticed at once, so this need not be often: an idle host should be one.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// The leases of this host.
pub struct Leases {
    target: Target,
    session: tokio::sync::Mutex<Option<Session>>,
    /// A session may take its own lock again, so two instances in one host are kept apart here.
    held: Mutex<HashSet<String>>,
    runtime: Handle,
}

struct Session {
    client: Arc<Client>,
    lost: watch::Receiver<bool>,
    tasks: [AbortHandle; 2],
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Leases {
    /// Leases in the database `target`; nothing is connected before the first one is asked for.
    pub fn new(target: &Target) -> Arc<Self> {
        Arc::new(Self {
            target: target.with_application_name("nself leases"),
            session: tokio::sync::Mutex::new(None),
            held: Mutex::default(),
            runtime: Handle::current(),
        })
    }

    /// Waits until this host holds the lease. Goes on through failures of the database: nobody could lead then.
    pub async fn acquire(self: &Arc<Self>, name: &str) -> Held {
        loop {
            if let Some(claim) = Claim::new(self, name) {
                // On a task of its own, which goes on when the caller gives up in the middle: what the server has granted
                // by then is held by nobody, and is let go, instead of staying locked as long as the session lives.
                let leases = Arc::clone(self);
                let trying = async move { leases.try_acquire(claim).await };
                if let Ok(Ok(Some(held))) = self.runtime.spawn(trying).await {
                    return held;
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn try_acquire(
        self: &Arc<Self>,
        claim: Claim,
    ) -> Result<Option<Held>, tokio_postgres::Error> {
        let mut session = self.session.lock().await;
        if session
            .as_ref()
            .is_none_or(|session| *session.lost.borrow())
        {
            *session = Some(connect(&self.target).await?);
        }
        let Some(session) = session.as_ref() else {
            return Ok(None);
        };
        let row = session
            .client
            .query_one(
                "select pg_try_advisory_lock(hashtextextended('nself lease ' || $1::text, 0))",
                &[&claim.name],
            )
            .await?;
        let held = || Held {
            claim: Some(claim),
            client: Arc::clone(&session.client),
            lost: session.lost.clone(),
        };
        Ok(row.get::<_, bool>(0).then(held))
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(target: &Target) -> Result<Session, tokio_postgres::Error> {
    let (client, mut connection) = target.connect().await?;
    let (ended, lost) = watch::channel(false);
    let driver = tokio::spawn(async move {
        while let Some(Ok(AsyncMessage::Notice(_) | AsyncMessage::Notification(_))) =
            poll_fn(|cx| connection.poll_message(cx)).await
        {}
        ended.send_replace(true);
    })
    .abort_handle();
    let client = Arc::new(client);
    let check = tokio::spawn(check(Arc::clone(&client), driver.clone())).abort_handle();
    Ok(Session {
        client,
        lost,
        tasks: [driver, check],
    })
}

/// Ends the session when it does not answer; dropping its driver is what tells the holders.
async fn check(client: Arc<Client>, driver: AbortHandle) {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        let asked = tokio::time::timeout(CHECK_LIMIT, client.batch_execute("select 1")).await;
        if !matches!(asked, Ok(Ok(()))) {
            return driver.abort();
        }
    }
}

/// The name is taken within this host.
struct Claim {
    leases: Arc<Leases>,
    name: String,
}

impl Claim {
    fn new(leases: &Arc<Leases>, name: &str) -> Option<Self> {
        let free = leases.names().insert(name.to_owned());
        free.then(|| Self {
            leases: Arc::clone(leases),
            name: name.to_owned(),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.leases.names().remove(&self.name);
    }
}

/// A held lease; dropped, it is free.
pub struct Held {
    claim: Option<Claim>,
    client: Arc<Client>,
    lost: watch::Receiver<bool>,
}

impl Held {
    /// The lease as a plugin holds it.
    pub fn capability(self) -> Lease {
        Lease::new(Arc::new(self))
    }

    /// Resolves when the lease has been lost.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut lost = self.lost.clone();
        async move {
            // An error means that the sender was dropped with the session.
            let _ = lost.wait_for(|lost| *lost).await;
        }
    }
}

impl LeaseProvider for Held {
    fn lost(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let lost = Self::lost(self);
        async move {
            lost.await;
            Ok(())
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let client = Arc::clone(&self.client);
        // The name stays taken in this host until the lock is free, or a newcomer would pass through the same session.
        claim.leases.runtime.clone().spawn(async move {
            // A failure means that the session is gone, and the lock with it.
            let _ = client
                .query_one(
                    "select pg_advisory_unlock(hashtextextended('nself lease ' || $1::text, 0))",
                    &[&claim.name],
                )
                .await;
            drop(claim);
        });
    }
}
