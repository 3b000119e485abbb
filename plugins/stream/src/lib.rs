//! Real-time channels: Centrifugo's client protocol over WebSocket, with Postgres as the log that publications are written to in
//! the transaction of their cause.
#![forbid(unsafe_code)]

mod channel;
mod channels;
mod config;
mod error;
mod hub;
mod keeper;
mod leaving;
mod outlet;
mod protocol;
mod reader;
mod routes;
mod session;
mod socket;
mod standing;
mod store;
mod told;

use std::time::Duration;

use nself_plugin_api::prelude::*;
use uuid::Uuid;

pub use crate::config::{Config, Namespace, Who};
use crate::{channel::Namespaces, hub::Hub, keeper::Keeper, routes::connection};

/// The plugin: its declaration, and what its handlers share.
pub struct Stream {
    config: Config,
    namespaces: Namespaces,
    hub: Hub,
    keeper: Keeper,
    /// This instance, among all that there are.
    node: Uuid,
}

impl Plugin for Stream {
    const ABOUT: About = about!("stream");

    const REQUIRES: Requires = Requires {
        capabilities: &["nself.db/1", "nself.tokens/1"],
        tables: &[
            TableGrant {
                table: "public.families",
                rights: &["select"],
            },
            TableGrant {
                table: "public.family_members",
                rights: &["select"],
            },
            TableGrant {
                table: "public.devices",
                rights: &["select"],
            },
        ],
        // Who is connected is compared with the families of all of them at once.
        families: Families::All,
        ..Requires::NOTHING
    };

    const PROVIDES: &'static [Provided<Self>] =
        &[Provided::new("stream.channels/1", channels::call)
            .functions(&["stream.publish(text,jsonb,jsonb)"])];

    const ROUTES: &'static [Route<Self>] =
        &[Route::get("/connection/websocket", connection::websocket)
            .public()
            .summary("Centrifugo's client protocol in JSON; the first command says who it is")];

    const TASKS: &'static [Task<Self>] = &[
        Task::every(keeper::EVERY, "keep", keeper::keep),
        Task::every(Duration::from_secs(60), "prune", keeper::prune).singleton(),
    ];

    const MIGRATIONS: &'static [Migration] = &[migration!("0001_log"), migration!("0002_presence")];

    type Config = Config;

    async fn create(_: Context, config: Config) -> Result<Self> {
        let namespaces = Namespaces::new(config.all_namespaces()?);
        Ok(Self {
            config,
            namespaces,
            hub: Hub::default(),
            keeper: Keeper::default(),
            node: Uuid::now_v7(),
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        store::log::write_namespaces(&cx.db(), &cx.plugin().namespaces).await?;
        keeper::start_loops(&cx).await
    }

    async fn stop(cx: Cx<Self>, _: Duration) -> Result<()> {
        store::presence::end_node(&cx.db(), cx.plugin().node).await
    }
}

export_plugin!(Stream);
