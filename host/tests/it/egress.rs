//! What leaves the host for plugins, and what reaches their ports: through the boundary, over real sockets.

mod connect;
mod http;
mod listen;
mod server;

use std::{sync::Arc, time::Duration};

use nself::{capability::Grant, plugin::manifest::Requires};

/// No single wait of these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn grant(requires: Requires) -> Grant {
    Grant {
        plugin: "probe".into(),
        version: "1.0.0".into(),
        requires: Arc::new(requires),
        destinations: Arc::default(),
    }
}

async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("the work ends in time")
}
