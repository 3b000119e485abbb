//! The engine: a workflow goes from state to state, and says what it needs from outside.
//!
//! It is pure: no clock, no network, no storage. Whoever drives it keeps the [`State`], does what each [`Need`] asks for, and
//! comes back with the outcome.

mod data;
mod error;
mod listen;
mod machine;
mod need;
mod openapi;
mod program;
mod record;
mod recover;
mod request;
mod retry;
mod secret;
mod state;
mod surroundings;
mod tasks;

pub use error::Error;
pub use need::{
    Authentication, Call, CallKind, Emit, FunctionCall, HttpCall, HttpOutput, Need, NeedId,
    OpenApiCall, Outcome, Process, Response, Return, Run, Subscription, WorkflowRun,
};
pub use openapi::resolve;
pub use program::Program;
pub use record::{Progress, RecordStatus, Status, TaskRecord};
pub use state::State;
pub use surroundings::{Limits, Surroundings};
