//! What plugin authors build against: the stable ABI and the safe API over it.
//!
//! Start with [`Plugin`]: one trait whose constants are the plugin's declaration. Handlers are async functions of
//! [`Cx`] and [extractors](extract); [`Context`] holds the capabilities. `use nself_plugin_api::prelude::*` brings what
//! most files need.

pub mod abi;
pub mod capability;
pub mod command;
mod cx;
pub mod error;
mod event;
mod export;
pub mod extract;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handler;
pub mod job;
#[doc(hidden)]
pub mod json;
mod log;
pub mod manifest;
pub mod mistake;
mod plugin;
mod principal;
pub mod respond;
pub mod route;
#[doc(hidden)]
pub mod runtime;
pub mod schema;
pub mod wake;

pub use cx::{Context, Cx};
pub use error::{Error, Result};
pub use event::Event;
pub use handler::Handler;
pub use nself_plugin_macros::Schema;
pub use plugin::{NoConfig, Plugin};
pub use principal::{Kind, Principal};
pub use schema::Schema;

pub use {bytes, futures_util, http, jiff, postgres_types, serde_json, tracing, uuid};

/// What most files of a plugin need.
pub mod prelude {
    pub use crate::{
        // The trait and its derive.
        Schema,
        about,
        capability::db::{Queries, Row},
        command::{Argument, Command},
        cx::{Context, Cx},
        error::{Error, Result},
        event::Event,
        export_plugin,
        extract::{Body, BodyStream, Path, Query, RequestInfo},
        hasura,
        job::{Job, JobRun, Keep},
        manifest::{
            About, Dependency, Families, HasuraFragment, Migration, Requires, Role, TableGrant,
        },
        migration,
        plugin::{NoConfig, Plugin},
        principal::Principal,
        respond::{
            Created, Data, Json, Message, NoContent, Respond, Response, Socket, Sse, SseEvent,
            WebSocket,
        },
        route::{CapabilityCall, Provided, Route, Schedule, Scheduled, Subscription, Task},
    };
}
