//! Tests of plugins against the real thing: a host in this process, a database of the test's own, the built `.so`.
//!
//! ```no_run
//! # async fn example() {
//! use nself_plugin_api::prelude::Role;
//! use nself_plugin_testkit::TestHost;
//!
//! let host = TestHost::builder().plugin("nself-plugin-hello").start().await;
//! let family = uuid::Uuid::now_v7();
//! let answer = host.get("/hello/notes").role(Role::Owner, family).send().await;
//! assert_eq!(answer.status, 200);
//! host.stop().await;
//! # }
//! ```
//!
//! One line in a plugin's tests runs the suite that every plugin passes: [`conformance!`].
//!
//! Everything here panics with a sentence instead of returning errors, and every wait has a limit ([`LIMIT`]): it is a
//! dev-dependency and nothing else.

mod action;
mod answer;
mod builder;
mod clock;
mod collector;
pub mod conformance;
mod front;
mod host;
mod household;
mod library;
mod logs;
mod node;
mod outage;
mod postgres;
mod process;
mod program;
mod quiet;
mod redis_server;
mod request;
mod sample;
mod wait;
mod wire;

pub use answer::{Answer, EventReader, ServerEvent};
pub use builder::TestHostBuilder;
pub use clock::{DatabaseClock, WrongClock};
pub use collector::{Collector, Export, Reaction, attribute, otlp};
pub use front::DatabaseFront;
pub use host::TestHost;
pub use library::{Library, library};
pub use node::{NodeScripts, chromium, free_port};
pub use nself::{capability::clock::TestClock, plugin::manifest::Schema};
pub use outage::Outage;
pub use postgres::postgres_program;
pub use process::{HostProcess, HostProcessBuilder, Signal};
pub use program::built as nself_program;
pub use quiet::until_quiet;
pub use redis_server::{Hanging, RedisServer};
pub use request::Request;
pub use sample::sample;
pub use wait::{LIMIT, eventually, within};
pub use wire::Wire;

// For the tests that `conformance!` makes.
#[doc(hidden)]
pub use tokio;
