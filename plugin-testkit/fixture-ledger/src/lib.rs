//! Works jobs and writes down each attempt: in a table of its own, so that a test can judge a queue by something that the
//! queue does not write. It is only ever loaded by tests.
#![forbid(unsafe_code)]

mod jobs;
mod store;

use nself_plugin_api::{prelude::*, uuid::Uuid};

/// The plugin.
pub struct Ledger {
    /// Tells replicas apart.
    replica: Uuid,
}

impl Plugin for Ledger {
    const ABOUT: About = about!("ledger");

    const REQUIRES: Requires = Requires {
        capabilities: &["nself.db/1"],
        ..Requires::NOTHING
    };

    const JOBS: &'static [Job<Self>] = &[
        Job::new("ledger.work", jobs::work),
        Job::new("ledger.once", jobs::once),
        Job::new("ledger.nothing", jobs::nothing),
        Job::new("ledger.hold", jobs::hold),
    ];

    const MIGRATIONS: &'static [Migration] = &[migration!("0001_runs")];

    type Config = NoConfig;

    async fn create(_: Context, _: NoConfig) -> Result<Self> {
        Ok(Self {
            replica: Uuid::now_v7(),
        })
    }
}

export_plugin!(Ledger);
