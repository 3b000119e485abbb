//! Mail for other plugins: `mail.send/1` puts a mail into a queue in Postgres, a courier on every replica takes it to an SMTP
//! server, or in development to a catcher that shows it.
#![forbid(unsafe_code)]

mod address;
mod catcher;
mod commands;
mod config;
mod delivery;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod letter;
mod metrics;
mod post;
mod queue;
mod routes;
mod send;
mod store;
mod sweep;
mod template;

use std::time::Duration;

use nself_plugin_api::prelude::*;

pub use crate::config::Config;
use crate::{
    catcher::Catcher,
    config::Settings,
    delivery::smtp::Smtp,
    metrics::Metrics,
    queue::Courier,
    routes::{mailhog, messages, page, suppressions},
    template::Templates,
};

/// The plugin: its declaration, and what its handlers share.
pub struct Mail {
    settings: Settings,
    templates: Templates,
    courier: Courier,
    catcher: Catcher,
    smtp: Option<Smtp>,
    metrics: Metrics,
}

impl Plugin for Mail {
    const ABOUT: About = about!("mail");

    const REQUIRES: Requires = Requires {
        capabilities: &[
            "nself.db/1",
            "nself.connect/1",
            "nself.crypto/1",
            "nself.listen/1",
        ],
        egress: &[config::SERVER],
        secrets: &[config::PASSWORD],
        ports: &[config::CATCHER_PORT],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/mail/status", messages::status)
            .operator()
            .summary("How mails are delivered, and how long the queue is"),
        Route::get("/mail/messages", messages::list)
            .operator()
            .summary("Mails in the queue and finished ones, newest first"),
        Route::post("/mail/messages/{id}/retry", messages::retry)
            .operator()
            .summary("Try a mail again that failed or waits"),
        Route::post("/mail/test", messages::test)
            .operator()
            .summary("Send a test mail"),
        Route::get("/mail/suppressions", suppressions::list)
            .operator()
            .summary("Addresses that get no mail"),
        Route::post("/mail/suppressions", suppressions::add)
            .operator()
            .summary("Send no more mail to an address"),
        Route::delete("/mail/suppressions/{address}", suppressions::remove)
            .operator()
            .summary("Send mail to an address again"),
        // The catcher: for whoever sits at this machine, and not there at all where mails are really sent.
        Route::get("/", page::front)
            .public()
            .summary("Catcher: to the page"),
        Route::get("/mail/catcher", page::list)
            .public()
            .summary("Catcher: the page with the caught mails"),
        Route::get("/mail/catcher/{id}", page::show)
            .public()
            .summary("Catcher: one mail"),
        Route::get("/mail/catcher/{id}/html", page::html)
            .public()
            .summary("Catcher: the HTML of a mail, for a frame that may do nothing"),
        Route::get("/mail/catcher/assets/{name}", page::asset)
            .public()
            .summary("Catcher: script and style of the page"),
        Route::get("/api/v2/messages", mailhog::list_v2)
            .public()
            .summary("MailHog v2: a page of the caught mails"),
        Route::get("/api/v2/search", mailhog::search)
            .public()
            .summary("MailHog v2: caught mails by sender, recipient or content"),
        Route::get("/api/v1/messages", mailhog::list_v1)
            .public()
            .summary("MailHog v1: all caught mails"),
        Route::delete("/api/v1/messages", mailhog::clear)
            .public()
            .summary("MailHog v1: delete all caught mails"),
        Route::get("/api/v1/messages/{id}", mailhog::show)
            .public()
            .summary("MailHog v1: one caught mail"),
        Route::delete("/api/v1/messages/{id}", mailhog::remove)
            .public()
            .summary("MailHog v1: delete a caught mail"),
        Route::get("/api/v1/messages/{id}/download", mailhog::download)
            .public()
            .summary("MailHog v1: a caught mail as a file"),
    ];

    const COMMANDS: &'static [Command] = commands::ALL;

    const TASKS: &'static [Task<Self>] =
        &[Task::every(Duration::from_secs(5), "sweep", sweep::run)];

    const PROVIDES: &'static [Provided<Self>] =
        &[Provided::new("mail.send/1", send::call).functions(&["mail.post(jsonb)"])];

    const MIGRATIONS: &'static [Migration] = &[
        migration!("0001_queue"),
        migration!("0002_caught"),
        migration!("0003_letters"),
    ];

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        let settings = Settings::resolve(config, &context.about().facts()?.environment)?;
        Ok(Self {
            templates: Templates::load(&settings)?,
            courier: Courier::default(),
            catcher: Catcher::default(),
            smtp: Smtp::of(&context, &settings).await?,
            metrics: Metrics::register(&context)?,
            settings,
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        catcher::listen(&cx).await?;
        queue::start(&cx)
    }

    async fn stop(cx: Cx<Self>, deadline: Duration) -> Result<()> {
        queue::finished(&cx, deadline).await?;
        if let Some(smtp) = &cx.plugin().smtp {
            smtp.close().await;
        }
        Ok(())
    }
}

export_plugin!(Mail);
