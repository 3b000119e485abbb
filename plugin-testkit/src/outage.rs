//! A database that goes away and comes back.

use std::sync::Arc;

use nself::postgres::scratch::TestDatabase;
use postgres_protocol::escape::escape_identifier;
use tokio_postgres::{Client, NoTls};

use crate::wait::eventually;

/// While this is there, the test's database takes no connection. Other tests share the server and notice nothing.
#[must_use = "the database stays away until `end`"]
pub struct Outage {
    database: Arc<TestDatabase>,
}

impl Outage {
    /// Refuses new connections and cuts the open ones.
    pub(crate) async fn begin(database: Arc<TestDatabase>) -> Self {
        let client = administrator(&database).await;
        let refuse = format!(
            "alter database {} allow_connections false",
            escape_identifier(database.name())
        );
        client
            .batch_execute(&refuse)
            .await
            .expect("a superuser closes the database");
        // One that was being opened while the door closed may still have come in.
        eventually("cutting the connections", async || {
            let cut = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
            let cut = client.query(cut, &[&database.name()]).await;
            cut.expect("a superuser cuts connections")
                .is_empty()
                .then_some(())
        })
        .await;
        Self { database }
    }

    /// Lets connections in again.
    pub async fn end(self) {
        let client = administrator(&self.database).await;
        let allow = format!(
            "alter database {} allow_connections true",
            escape_identifier(self.database.name())
        );
        client
            .batch_execute(&allow)
            .await
            .expect("a superuser opens the database");
    }
}

/// A superuser's connection to the server that has the database, which need not be open itself.
async fn administrator(database: &TestDatabase) -> Client {
    let mut config = database.config();
    config.dbname("postgres");
    let (client, connection) = config
        .connect(NoTls)
        .await
        .expect("the server of the tests runs");
    tokio::spawn(connection);
    client
}
