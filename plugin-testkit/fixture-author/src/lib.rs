//! Brings workflows along: one of its own when it starts, and what a test hands it.
#![forbid(unsafe_code)]

mod store;
mod workflows;

use nself_plugin_api::prelude::*;

/// The plugin.
pub struct Author;

impl Plugin for Author {
    const ABOUT: About = about!("fixture-author");

    const REQUIRES: Requires = Requires {
        capabilities: &["nself.db/1", "orchestrator.workflows/1"],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::post("/author/workflows/{name}/{version}", workflows::register)
            .public()
            .summary("Register a workflow"),
        Route::get("/author/workflows/{name}/{version}", workflows::show)
            .public()
            .summary("What became of it"),
        Route::post("/author/calls/{method}", workflows::call)
            .public()
            .summary("Ask what is wrong with a workflow"),
    ];

    type Config = NoConfig;

    async fn create(_: Context, _: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        let text = include_str!("../workflows/greet.yaml");
        store::register(&cx.db(), "greet", "1.0.0", text)
            .await
            .map(drop)
    }
}

export_plugin!(Author);
