//! Hosts that live.

use nself_plugin_api::{jiff::Timestamp, prelude::*, uuid::Uuid};

/// What a host learns when it says that it lives.
pub(crate) struct Tick {
    /// It is still taken for alive.
    pub is_alive: bool,
    /// Jobs that it runs and somebody wants to end.
    pub cancels: Vec<i64>,
    /// Queues with something to do.
    pub queues: Vec<i16>,
    /// The database's clock.
    pub now: Timestamp,
}

/// Registers this host, by the address that the server sees and its process; its id and the number of its lock.
pub(crate) async fn register(db: &impl Queries) -> Result<(Uuid, i32)> {
    let process = i64::from(std::process::id());
    let row = db
        .query_one(
            "insert into jobs.hosts (name) values (coalesce(host(inet_client_addr()), 'local') || ' process ' || $1) returning id, lock",
            &[&process],
        )
        .await?;
    Ok((row.get("id")?, row.get("lock")?))
}

/// Takes the lock that shows that a host lives, for as long as the session does; whether it is free.
pub(crate) async fn lock(session: &impl Queries, number: i32) -> Result<bool> {
    session
        .query_one("select pg_try_advisory_lock(1852138093, $1)", &[&number])
        .await?
        .get(0)
}

/// Says that the host lives, and sleeps on those queues.
pub(crate) async fn tick(session: &impl Queries, host: Uuid, sleeping: &[i16]) -> Result<Tick> {
    let row = session
        .query_one("select * from jobs.tick($1, $2)", &[&host, &sleeping])
        .await?;
    Ok(Tick {
        is_alive: row.get("is_alive")?,
        cancels: row.get::<Option<_>>("cancels")?.unwrap_or_default(),
        queues: row.get::<Option<_>>("queues")?.unwrap_or_default(),
        now: row.get("now")?,
    })
}

/// Gives back those leases of the host, if they are there.
pub(crate) async fn unclaim(db: &impl Queries, host: Uuid, leases: &[Uuid]) -> Result<i64> {
    db.query_one("select jobs.unclaim($1, $2)", &[&host, &leases])
        .await?
        .get(0)
}

/// Gives back what the host could not finish, and takes it off the list.
pub(crate) async fn hand_back(db: &impl Queries, host: Uuid) -> Result<i64> {
    db.query_one("select jobs.hand_back($1)", &[&host])
        .await?
        .get(0)
}

/// The channel on which sleeping hosts are woken.
pub(crate) const CHANNEL: &str = "nself_jobs";
