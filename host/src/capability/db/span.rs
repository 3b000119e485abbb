//! Spans of statements, as OpenTelemetry's conventions for databases have them, where the plugin's trace is recorded.

use nself_plugin_api::abi::{
    capability::db::{Rows, mode},
    error::Error,
};
use serde_json::Value;

use crate::telemetry::{
    statement::{operation, without_values},
    trace::{self, Kind, Span, Trace},
};

/// Of a statement of its own.
pub(super) fn statement(sql: &str) -> Option<Box<Span>> {
    trace::begin(Kind::Client, NAME).map(|span| described(span, sql))
}

/// Of a statement of a session.
pub(super) fn within(session: Option<&Trace>, sql: &str) -> Option<Box<Span>> {
    let span = session?.begin(Kind::Client, NAME)?;
    Some(described(span, sql))
}

/// Until more is known.
const NAME: &str = "statement";

fn described(mut span: Box<Span>, sql: &str) -> Box<Span> {
    span.rename(operation(sql));
    span.text("db.system.name", "postgresql")
        .long_text("db.query.text", &without_values(sql));
    span
}

/// Of a connection that a plugin holds for several statements, from asking for one to giving it back.
pub(super) fn session(is_transaction: bool) -> Option<Box<Span>> {
    let name = if is_transaction {
        "transaction"
    } else {
        "session"
    };
    let mut span = trace::begin(Kind::Client, name)?;
    span.text("db.system.name", "postgresql");
    Some(span)
}

/// The statement that tells the database of what trace a session is, for the events that are emitted in it.
pub(super) fn cause(span: Option<&Span>, mode: u32) -> String {
    let set = if mode == mode::PLAIN {
        "set"
    } else {
        "set local"
    };
    // Hexadecimal digits and dashes.
    span.map(|span| format!("; {set} nself.trace_parent = '{}'", span.trace().context()))
        .unwrap_or_default()
}

/// Ends a span with what came of it.
pub(super) fn end<T>(span: Option<Box<Span>>, result: Result<T, Error>) -> Result<T, Error> {
    if let Some(mut span) = span {
        conclude(&mut span, result.as_ref().err());
    }
    result
}

/// The same, with how much came.
pub(super) fn end_rows(
    span: Option<Box<Span>>,
    result: Result<Rows, Error>,
) -> Result<Rows, Error> {
    if let Some(mut span) = span {
        if let Ok(rows) = &result {
            let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            span.number("db.response.returned_rows", count);
        }
        conclude(&mut span, result.as_ref().err());
    }
    result
}

/// Of what Postgres said only its code is shown: the message may repeat values.
fn conclude(span: &mut Span, failure: Option<&Error>) {
    let Some(failure) = failure else {
        return span.succeed();
    };
    let cause: Option<Value> = serde_json::from_str(&failure.cause.to_text()).ok();
    match cause.as_ref().and_then(|cause| cause["sqlstate"].as_str()) {
        Some(sqlstate) => {
            span.text("db.response.status_code", sqlstate);
            span.fail(sqlstate);
        }
        None => span.fail(&failure.code.to_text()),
    }
}
