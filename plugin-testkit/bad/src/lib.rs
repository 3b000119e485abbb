//! A plugin that does everything wrong that a plugin can.
//!
//! One file serves every test: a route per fault of a request, and the part of the version after the hyphen chooses a fault
//! of the lifecycle, for instance `2.0.0-start-panics`. Tests rewrite the manifest inside the file to say which it is.
#![forbid(unsafe_code)]

mod faults;
mod lifecycle;
mod routes;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nself_plugin_api::{Schema, prelude::*};
use serde::Deserialize;

use crate::routes::{answers, crashes, panics, reaches, sockets, waits};

/// The keys of `[plugins.bad.config]`.
#[derive(Debug, Clone, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A number, so that a text in its place can be refused.
    #[schema(minimum = 1, maximum = 10)]
    pub size: Option<u32>,
    /// A value that no log, error or list may show.
    pub password: Option<String>,
}

/// The plugin's state.
pub struct Bad {
    version: String,
    /// Requests whose future was dropped before it answered.
    dropped: AtomicU32,
    task_runs: AtomicU32,
    /// Log events whose fields were asked for.
    told: AtomicU32,
}

impl Bad {
    pub(crate) fn note_drop(&self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Space in the manifest for what tests write into it.
const ROOM: [u8; 4_096] = [b'.'; 4_096];

const DESCRIPTION: &str = match std::str::from_utf8(&ROOM) {
    Ok(text) => text,
    Err(_) => "",
};

impl Plugin for Bad {
    const ABOUT: About = About {
        id: "bad",
        version: "1.0.0",
        description: DESCRIPTION,
        license: env!("CARGO_PKG_LICENSE"),
        homepage: "",
    };

    const REQUIRES: Requires = Requires {
        capabilities: &["nself.clock/1", "nself.config/1"],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/bad/version", answers::version).public(),
        Route::get("/bad/counts", answers::counts).public(),
        Route::get("/bad/log", answers::log).public(),
        Route::get("/bad/stream", answers::stream).public(),
        Route::get("/bad/events", answers::events).public(),
        Route::get("/bad/slow/{ms}", waits::slow).public(),
        Route::get("/bad/never", waits::never)
            .public()
            .timeout(Duration::from_millis(300)),
        Route::get("/bad/block/{ms}", waits::block).public(),
        Route::get("/bad/crash/{how}", crashes::crash).public(),
        Route::get("/bad/reach/{what}", reaches::reach).public(),
        Route::get("/bad/panic/before", panics::before).public(),
        Route::get("/bad/panic/after", panics::after).public(),
        Route::get("/bad/panic/payload", panics::payload).public(),
        Route::get("/bad/panic/drop", panics::drop).public(),
        Route::get("/bad/panic/cancel", panics::cancel)
            .public()
            .timeout(Duration::from_millis(300)),
        Route::get("/bad/panic/stream", panics::stream).public(),
        Route::get("/bad/panic/socket", sockets::panic).public(),
        Route::get("/bad/socket", sockets::echo).public(),
    ];

    const TASKS: &'static [Task<Self>] = &[Task::every(
        Duration::from_secs(3_600),
        "work",
        lifecycle::task,
    )];

    const PROVIDES: &'static [Provided<Self>] = &[Provided::new("bad.echo/1", lifecycle::echo)];

    type Config = Config;

    async fn create(context: Context, _: Config) -> Result<Self> {
        lifecycle::create(context).await
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        lifecycle::start(cx).await
    }
}

export_plugin!(Bad);
