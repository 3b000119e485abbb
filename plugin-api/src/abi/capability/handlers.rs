//! What plugins declare to be called for, jobs and schedules: for the plugins that keep queues and watch the clock.

use crate::abi::{
    bytes::{Bytes, Str},
    interface::interface,
};

interface! {
    /// Finds and calls what running plugins declare.
    pub interface Handlers: HandlersProvider / HandlersTable = "nself.handlers/1" {
        /// JSON: of each running plugin `{"plugin": id, "version": .., "jobs": [{"kind", "queue", "attempts_max", "timeout_ms",
        /// "keep"}], "schedules": [{"name", "cron", "timezone"}]}`; what a job leaves to its queue is null.
        sync fn list() -> Bytes;
        /// Resolves with the list's generation when it is another one than `seen`; 0 was never one.
        async fn changed(seen: u64) -> u64;
        /// Works a job where its kind is declared, and resolves with its result, JSON. Dropped, the work is cancelled.
        async fn run_job(kind: Str<'_>, id: i64, attempt: u32, attempts_max: u32, context: Bytes, payload: Bytes) -> Bytes;
        /// Runs a plugin's schedule for the time (RFC 3339) at which it was due.
        async fn run_schedule(plugin: Str<'_>, name: Str<'_>, scheduled_at: Str<'_>);
    }
}
