//! Clocks that go at the right speed and show the wrong time: a host's, and the database's as one plugin sees it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use nself::capability::clock::{HostClock, SystemClock};
use tokio_postgres::Client;

use crate::TestHost;

/// The machine's clock, with its time set wrong.
#[derive(Debug, Default)]
pub struct WrongClock {
    machine: SystemClock,
    ahead_us: AtomicI64,
}

impl WrongClock {
    /// Sets it so many seconds ahead, or behind when they are negative.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead_us
            .store(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
    }
}

impl HostClock for WrongClock {
    fn now_us(&self) -> i64 {
        self.machine.now_us() + self.ahead_us.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.machine.monotonic_ns()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.machine.sleep(duration)
    }
}

/// The database's clock as one plugin's login sees it: right until [`jump`](Self::jump).
pub struct DatabaseClock {
    sql: Client,
    login: String,
}

impl DatabaseClock {
    /// Puts it in front of the database's own, for sessions of the plugin that are opened from now on: `clock_timestamp` is looked up in
    /// their path. Those that are open know nothing of it.
    pub async fn put(host: &TestHost, plugin: &str) -> Self {
        let sql = host.sql().await;
        let login: String = host
            .sql_as(plugin)
            .await
            .query_one("select quote_ident(session_user)", &[])
            .await
            .expect("the plugin has a login")
            .get(0);
        let put = format!(
            "create schema clock; \
             create table clock.wrong (ahead interval not null); \
             insert into clock.wrong values ('0'); \
             create function clock.clock_timestamp() returns timestamptz language sql volatile \
                 as 'select pg_catalog.clock_timestamp() + w.ahead from clock.wrong w'; \
             grant usage on schema clock to {login}; grant select on clock.wrong to {login}; \
             alter role {login} in database \"{}\" set search_path = clock, pg_catalog, {plugin}, public, pg_temp",
            host.database().name(),
        );
        sql.batch_execute(&put).await.expect("a clock");
        Self { sql, login }
    }

    /// Cuts the plugin's sessions, so that all of them have it.
    pub async fn cut_sessions(&self) {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and quote_ident(usename) = $1";
        let cut = self.sql.execute(cut, &[&self.login]).await;
        cut.expect("they are cut");
    }

    /// Sets it ahead of the right time by an interval, or behind when that is negative.
    pub async fn jump(&self, ahead: &str) {
        let jump = format!("update clock.wrong set ahead = '{ahead}'");
        self.sql.batch_execute(&jump).await.expect("it jumps");
    }
}
