//! The one trait that a plugin implements.

use std::{future::Future, time::Duration};

use serde::de::DeserializeOwned;

use crate::{
    command::Command,
    cx::{Context, Cx},
    error::Result,
    job::Job,
    manifest::{About, Dependency, HasuraFragment, Migration, Requires},
    route::{Provided, Route, Schedule, Subscription, Task},
    schema::Schema,
};

/// A plugin: its declaration in constants, and its state.
///
/// The constants are the manifest. They are written into the file at compile time, so that the host lists, checks and
/// migrates a plugin without running it.
///
/// ```
/// use nself_plugin_api::prelude::*;
///
/// struct Ping;
///
/// impl Plugin for Ping {
///     const ABOUT: About = about!("ping");
///     const ROUTES: &'static [Route<Self>] = &[Route::get("/ping", ping).public()];
///     type Config = NoConfig;
///
///     async fn create(_: Context, _: NoConfig) -> Result<Self> {
///         Ok(Self)
///     }
/// }
///
/// async fn ping(_: Cx<Ping>) -> Result<Data<&'static str>> {
///     Ok(Data("pong"))
/// }
/// ```
pub trait Plugin: Sized + Send + Sync + 'static {
    /// Who it is.
    const ABOUT: About;
    /// What it asks for.
    const REQUIRES: Requires = Requires::NOTHING;
    /// Plugins that must run before it.
    const DEPENDS: &'static [Dependency] = &[];
    /// HTTP routes.
    const ROUTES: &'static [Route<Self>] = &[];
    /// Background tasks.
    const TASKS: &'static [Task<Self>] = &[];
    /// Event subscriptions.
    const SUBSCRIPTIONS: &'static [Subscription<Self>] = &[];
    /// Cron schedules.
    const SCHEDULES: &'static [Schedule<Self>] = &[];
    /// Kinds of jobs that it works.
    const JOBS: &'static [Job<Self>] = &[];
    /// Capabilities for other plugins.
    const PROVIDES: &'static [Provided<Self>] = &[];
    /// Steps of its schema.
    const MIGRATIONS: &'static [Migration] = &[];
    /// What its commands are called under: `nself workflow ..`. When empty, and always as well, its id.
    const COMMAND: &'static str = "";
    /// Commands of the command line.
    const COMMANDS: &'static [Command] = &[];
    /// Hasura metadata of its tables.
    const HASURA: &'static [HasuraFragment] = &[];

    /// Its configuration: the keys of `[plugins.<id>.config]`. The host validates them before any code of the plugin runs.
    type Config: DeserializeOwned + Schema + Send;

    /// Makes the instance. The schema has been migrated; no other call has been made.
    fn create(context: Context, config: Self::Config) -> impl Future<Output = Result<Self>> + Send;

    /// Begins: opens listeners, spawns loops. No request arrives before it resolves.
    fn start(_cx: Cx<Self>) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Ends within the deadline. Requests and tasks have been drained.
    fn stop(_cx: Cx<Self>, _deadline: Duration) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}

/// The configuration of a plugin that has none.
#[derive(Debug, Clone, Copy)]
pub struct NoConfig;

impl Schema for NoConfig {
    const SHAPE: crate::schema::Shape = crate::schema::Shape::Object(&crate::schema::Object {
        description: "",
        fields: &[],
        closed: true,
    });
}

impl<'de> serde::Deserialize<'de> for NoConfig {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
