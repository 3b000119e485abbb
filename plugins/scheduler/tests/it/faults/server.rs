//! A database server that crashes under three hosts.

use nself_plugin_testkit::{TestHost, eventually};
use tokio_postgres::Client;

use super::{assert_each_second_once, create_every_second, end, until_fired};
use crate::stage::builder;

/// The server's connection, as soon as it takes one.
async fn reconnected(host: &TestHost) -> Client {
    eventually("the server takes connections", async || {
        let config = host.database().config();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_fire_each_second_once_while_the_server_crashes_under_them() {
    let host = builder().own_server().start().await;
    let mut second = host.process_beside().start().await;
    let mut third = host.process_beside().start().await;
    let mut sql = host.sql().await;
    create_every_second(&host).await;
    for _ in 0..3 {
        until_fired(&sql, 15).await;
        host.database().crash_and_restart();
        sql = reconnected(&host).await;
    }
    until_fired(&sql, 15).await;
    end(&sql).await;
    assert_each_second_once(&sql).await;
    assert!(second.runs() && third.runs(), "the same hosts go on");
    host.stop().await;
}
