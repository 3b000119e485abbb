//! Definitions: the text of a workflow, judged by the standard's schema and by what a schema cannot say.

mod check;
mod definition;
mod fault;
mod position;
mod schema;
mod task;
mod time;

pub use definition::{Definition, Document, Extension, Format, Schedule, Use};
pub use fault::Fault;
pub(crate) use position::escape;
pub use task::{
    Catch, Consumption, Data, ErrorFilter, EventFilter, Iterator, Kind, Listen, Retry, Schema,
    Task, TaskList, Until,
};
pub use time::{Span, duration};
