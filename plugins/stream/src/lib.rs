//! Real-time channels: Centrifugo's client protocol over WebSocket, with Postgres as the log that publications are written to in
//! the transaction of their cause. And media sessions: who may play what, with signed addresses for media origins.
#![forbid(unsafe_code)]

mod channel;
mod channels;
mod config;
mod courier;
mod course;
mod deltas;
mod error;
mod fossil;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod graphql;
mod hub;
mod keeper;
mod leaving;
mod media;
mod one_way;
mod origin;
mod outlet;
mod positions;
mod protocol;
mod purged;
mod reader;
mod ring;
mod routes;
mod session;
mod socket;
mod standing;
mod store;
mod survey;
mod told;

use std::time::Duration;

use nself_plugin_api::prelude::*;
use uuid::Uuid;

use crate::{
    channel::Namespaces,
    course::Course,
    hub::Hub,
    keeper::Keeper,
    media::Media,
    origin::Origins,
    routes::{api, connection, events, keys, mercure, sessions, verify},
    standing::Arrivals,
};
pub use crate::{
    config::{Audience, Config, Namespace, SlowConsumer, Table, Wakeup, Who},
    media::Settings,
};

/// A request of the server API, which may publish into many channels.
const API_BYTES_MAX: u64 = 16 << 20;
/// A request to be connected, with a token and the channels that are wanted.
const CONNECT_BYTES_MAX: u64 = 65_536;
/// A form with a publication in it, in which a letter may take three.
const MERCURE_BYTES_MAX: u64 = 4 << 20;
/// Programs publish more often than people ask.
const API_PER_MINUTE: u32 = 60_000;
/// A household behind one address.
const HEARTBEATS_PER_MINUTE: u32 = 3_000;

/// The plugin: its declaration, and what its handlers share.
pub struct Stream {
    config: Config,
    namespaces: Namespaces,
    origins: Origins,
    hub: Hub,
    keeper: Keeper,
    arrivals: Arrivals,
    course: Course,
    /// This instance, among all that there are.
    node: Uuid,
    media: Media,
}

impl Plugin for Stream {
    const ABOUT: About = about!("stream");

    const REQUIRES: Requires = Requires {
        capabilities: &[
            "nself.connect/1",
            "nself.crypto/1",
            "nself.db/1",
            "nself.http/1",
            "nself.hub/1",
            "nself.pubsub/1",
            "nself.tokens/1",
        ],
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
            TableGrant {
                table: "public.family_settings",
                rights: &["select"],
            },
            TableGrant {
                table: "public.family_quotas",
                rights: &["select"],
            },
            TableGrant {
                table: "public.parental_controls",
                rights: &["select"],
            },
            TableGrant {
                table: "public.media_items",
                rights: &["select"],
            },
            TableGrant {
                table: "public.live_events",
                rights: &["select"],
            },
        ],
        egress: &[graphql::SERVER],
        // Who is connected is compared with the families of all of them at once.
        families: Families::All,
        ..Requires::NOTHING
    };

    const PROVIDES: &'static [Provided<Self>] =
        &[Provided::new("stream.channels/1", channels::call)
            .functions(&["stream.publish(text,jsonb,jsonb)"])];

    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/connection/websocket", connection::websocket)
            .public()
            .summary("Centrifugo's client protocol in JSON; the first command says who it is"),
        Route::get("/connection/uni_sse", events::uni_sse)
            .public()
            .summary("Centrifugo's unidirectional protocol as server-sent events"),
        Route::post("/connection/uni_sse", events::uni_sse_posted)
            .public()
            .body_bytes_max(CONNECT_BYTES_MAX)
            .summary("The same, for clients that can send a body"),
        Route::get("/.well-known/mercure", events::mercure)
            .public()
            .summary("Publications as server-sent events, as Mercure's clients read them"),
        Route::post("/.well-known/mercure", mercure::publish)
            .public()
            .body_bytes_max(MERCURE_BYTES_MAX)
            .summary("Publish by a form, as Mercure's publishers do; what a connection may"),
        Route::post("/api/publish", api::publish)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Publish into a channel"),
        Route::post("/api/broadcast", api::broadcast)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Publish the same into several channels"),
        Route::post("/api/history", api::history)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("What a channel has kept"),
        Route::post("/api/presence", api::presence)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Who is in a channel"),
        Route::post("/api/presence_stats", api::presence_stats)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("How many are in a channel"),
        Route::post("/api/unsubscribe", api::unsubscribe)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("End a user's subscriptions to a channel"),
        Route::post("/api/disconnect", api::disconnect)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("End a user's connections"),
        Route::post("/api/info", api::info)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("The hosts that have connections"),
        Route::post("/api/subscribe", api::subscribe)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Subscribe a user's connections to a channel"),
        Route::post("/api/refresh", api::refresh)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Say that a user's connections have come to their end"),
        Route::post("/api/rpc", api::rpc)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Call something; there is nothing to call"),
        Route::post("/api/channels", api::channels)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("The channels that somebody is subscribed to"),
        Route::post("/api/history_remove", api::history_remove)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Remove what a channel has kept"),
        Route::post("/api/batch", api::batch)
            .service("stream")
            .body_bytes_max(API_BYTES_MAX)
            .rate_per_minute(API_PER_MINUTE)
            .summary("Several of these, in their order"),
        Route::post("/v1/stream/sessions", sessions::open)
            .action("stream.read")
            .summary("Ask for a place to play something, and for its address"),
        Route::get("/v1/stream/sessions", sessions::own)
            .action("stream.read")
            .summary("What the caller plays at the moment"),
        Route::get("/v1/stream/sessions/family", sessions::of_the_family)
            .action("stream.manage")
            .summary("What the family plays at the moment"),
        Route::delete("/v1/stream/sessions/{id}", sessions::remove)
            .action("stream.manage")
            .summary("End a session of the family"),
        Route::post("/v1/stream/sessions/{id}/heartbeat", sessions::beat)
            .action("stream.read")
            .rate_per_minute(HEARTBEATS_PER_MINUTE)
            .summary("Keep the place, and renew the address"),
        Route::post("/v1/stream/sessions/{id}/pause", sessions::pause)
            .action("stream.read")
            .summary("The same, and say that nothing plays"),
        Route::post("/v1/stream/sessions/{id}/end", sessions::end)
            .action("stream.read")
            .summary("Give the place back"),
        Route::post("/v1/stream/playback-key/turn", keys::turn)
            .service("stream")
            .summary("Let another key sign addresses from the next minute on"),
        Route::post("/v1/stream/verify", verify::described)
            .public()
            .rate_per_minute(API_PER_MINUTE)
            .summary("Whether an address plays; the address is the credential"),
        Route::get("/v1/stream/verify", verify::requested)
            .public()
            .rate_per_minute(API_PER_MINUTE)
            .summary("The same for nginx's auth_request: the address in X-Original-URI"),
        Route::post("/v1/graphql", routes::graphql::query)
            .public()
            .rate_per_minute(API_PER_MINUTE)
            .summary("Hasura's queries and mutations; the token is the caller's own"),
        Route::get("/v1/graphql", routes::graphql::subscribe)
            .public()
            .summary("Hasura's subscriptions: graphql-transport-ws and graphql-ws"),
    ];

    const TASKS: &'static [Task<Self>] = &[
        Task::every(keeper::EVERY, "keep", keeper::keep),
        Task::every(Duration::from_secs(60), "prune", keeper::prune).singleton(),
        Task::every(media::SWEEP_EVERY, "sessions", media::sweep),
        Task::every(media::FLUSH_EVERY, "heartbeats", media::keep_writing),
    ];

    const SUBSCRIPTIONS: &'static [Subscription<Self>] = &[Subscription::new(
        "purge",
        &["family.purged"],
        purged::forget,
    )];

    const MIGRATIONS: &'static [Migration] = &[
        migration!("0001_log"),
        migration!("0002_presence"),
        migration!("0003_changes"),
        migration!("0004_media"),
        migration!("0005_looks"),
        migration!("0006_may"),
    ];

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        let public_url = context.about().facts()?.public_url;
        let origins = Origins::new(&public_url, &config.origins)?;
        let namespaces = Namespaces::new(config.all_namespaces()?);
        let media = Media::open(&context, &config.media).await?;
        Ok(Self {
            config,
            namespaces,
            origins,
            hub: Hub::new(context),
            keeper: Keeper::default(),
            arrivals: Arrivals::default(),
            course: Course::default(),
            node: Uuid::now_v7(),
            media,
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        let Self {
            config, namespaces, ..
        } = cx.plugin();
        store::log::write_namespaces(&cx.db(), namespaces).await?;
        store::changes::write_tables(&cx.db(), &config.tables, namespaces).await?;
        course::check(&cx).await;
        keeper::start_loops(&cx).await
    }

    async fn stop(cx: Cx<Self>, _: Duration) -> Result<()> {
        let node = cx.plugin().node;
        cx.plugin().keeper.asking.end(&cx).await?;
        store::presence::end_node(&cx.db(), node).await
    }
}

export_plugin!(Stream);
