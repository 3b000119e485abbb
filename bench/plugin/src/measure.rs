//! What is measured inside the plugin, because a call across the boundary would drown it.

use std::{hint::black_box, time::Instant};

use nself_plugin_api::{http::StatusCode, prelude::*, tracing::debug};

use crate::Bench;

/// Events in one measurement.
const EVENTS: u64 = 100_000;

/// Nanoseconds of a log event that nobody reads, as text.
pub(crate) async fn disabled_event(_: Cx<Bench>) -> Result<Response> {
    let started = Instant::now();
    for number in 0..EVENTS {
        debug!(number = black_box(number), "nobody reads this");
    }
    let with = started.elapsed();
    let started = Instant::now();
    for number in 0..EVENTS {
        black_box(number);
    }
    let nanos = with.saturating_sub(started.elapsed()).as_nanos();
    let events = u128::from(EVENTS);
    let text = format!("{}.{:03}", nanos / events, nanos * 1_000 / events % 1_000);
    Ok(Response::new(StatusCode::OK, text))
}
