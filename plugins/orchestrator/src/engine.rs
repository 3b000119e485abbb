//! The engine: a workflow goes from state to state, and says what it needs from outside.
//!
//! It is pure: no clock, no network, no storage. Whoever drives it keeps the [`State`], does what each [`Need`] asks for, and
//! comes back with the outcome.
//!
//! All tasks of the standard run. Not done here, and told so by an error: calls of `grpc`, `asyncapi`, `a2a` and `mcp`, and
//! schemas of data that lie elsewhere or are not JSON Schema. Where the standard leaves a choice:
//!
//! - A `fork` gives its branches' outputs in their order, or that of the winner; the context is one for all branches.
//! - `limit.attempt.count` counts what is tried again, so that a task runs once more than it says. A retry that is used up
//!   goes on to `catch.do`, and up as the same error when there is none. A catch with neither `retry` nor `do` lets the workflow go on.
//! - An expression that gives many values gives its first, one that gives none gives null.
//! - An event's attribute matches when it equals the literal, or when the expression, evaluated on the attribute (`data`: on the
//!   data), is true or equals it. Correlation is evaluated on the whole event.
//! - Position and idempotency key are the way from the root: `/name`, `#2` at the second time in the same list, `[3]` in the
//!   fourth iteration or branch. What is tried again keeps its key.

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
mod run;
mod secret;
mod standing;
mod starting;
mod state;
mod surroundings;
mod tasks;

pub use error::Error;
pub use need::{
    Authentication, Call, CallKind, Emit, FunctionCall, HttpCall, HttpOutput, Need, NeedId,
    OpenApiCall, Outcome, PROOF, Process, Response, Return, Run, ScriptRun, ScriptText,
    Subscription, WorkflowRun,
};
pub use openapi::resolve;
pub use program::Program;
pub use record::{Progress, RecordStatus, Status, TaskRecord};
pub use standing::{UnderWay, Waiting};
pub use starting::Gathered;
pub use state::State;
pub use surroundings::{Limits, Surroundings};
