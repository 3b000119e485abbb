//! Migrations: planned, locked, applied one transaction each, recorded.
//!
//! Every [`Owner`] (the host, the shared model, each plugin) has numbered steps. [`Migrator::up`] takes one advisory
//! lock for the whole database and runs each step in a transaction together with its row in `nself.migrations`, so a
//! runner that dies at any moment leaves a step whole or not begun. The row keeps the step's checksum: an applied step
//! that was edited is refused. A step waits for locks only briefly and then tries again, because everybody who comes
//! after a waiting `ALTER TABLE` waits with it.

pub mod embedded;
mod error;
pub mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod ledger;
mod owner;
mod plan;
mod runner;
mod script;
pub mod seed;
mod statements;
mod step;
mod wipe;

pub use embedded::PLUGIN_FUNCTIONS;
pub use error::{MigrateError, StepFailure};
pub use owner::Owner;
pub use plan::{Direction, Plan, PlannedStep, State, StepStatus};
pub use runner::{Migrator, Options, Progress, Report, StepReport};
pub use wipe::{wipe, wipe_plugin};
