//! Notes of a family: the smallest real plugin, and the template that `nself plugin new` copies.
#![forbid(unsafe_code)]

mod config;
mod note;
mod routes;
mod store;
mod sweep;

use std::time::Duration;

use nself_plugin_api::prelude::*;

pub use crate::config::Config;
use crate::routes::notes;

/// The plugin: its declaration, and what its handlers share.
pub struct Hello {
    config: Config,
}

impl Plugin for Hello {
    const ABOUT: About = about!("hello");

    const REQUIRES: Requires = Requires {
        capabilities: &["nself.db/1"],
        emits: &["hello.*"],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/hello/notes", notes::list)
            .roles(Role::PEOPLE)
            .graphql("latest_notes")
            .summary("Notes of the family, newest first"),
        Route::post("/hello/notes", notes::create)
            .roles(Role::ADULTS)
            .graphql("write_note")
            .summary("Write a note"),
        Route::get("/hello/notes/{id}", notes::show)
            .roles(Role::PEOPLE)
            .graphql("note")
            .summary("Read a note"),
        Route::put("/hello/notes/{id}", notes::change)
            .roles(Role::ADULTS)
            .summary("Rewrite a note"),
        Route::delete("/hello/notes/{id}", notes::remove)
            .roles(Role::MANAGERS)
            .summary("Remove a note"),
    ];

    const TASKS: &'static [Task<Self>] =
        &[Task::every(Duration::from_secs(60), "sweep", sweep::run).singleton()];

    const MIGRATIONS: &'static [Migration] = &[migration!("0001_notes")];

    const HASURA: &'static [HasuraFragment] = &[hasura!("notes.yaml")];

    type Config = Config;

    async fn create(_: Context, config: Config) -> Result<Self> {
        Ok(Self { config })
    }
}

export_plugin!(Hello);
