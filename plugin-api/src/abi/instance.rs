//! A running plugin as the host calls it.

use super::{
    bytes::{Bytes, Str},
    entry::RawHandle,
    interface::interface,
    request::Request,
    response::Response,
};

interface! {
    /// One instance of a plugin. Frozen: what the host wants to ask beyond this is an extension with an id of its own.
    pub interface Instance: InstanceProvider / InstanceTable = "nself.instance/1" {
        /// Migrated and wired: begin. No request arrives before it resolves.
        async fn start();
        /// Stop within `deadline_ms`; no call arrives after it was called, except those under way.
        async fn stop(deadline_ms: u64);
        /// Answers a request on the route with this number in the manifest.
        async fn handle(route: u32, request: Request) -> Response;
        /// Runs the task with this number once.
        async fn run_task(task: u32);
        /// Takes a CloudEvent (JSON) for the subscription with this number; an error means "again later".
        async fn on_event(subscription: u32, event: Bytes);
        /// Runs what the schedule with this number is for; the payload names the scheduled time.
        async fn on_schedule(schedule: u32, payload: Bytes);
        /// Answers a call of the provided capability with this number.
        async fn call(capability: u32, method: Str<'_>, payload: Bytes) -> Bytes;
        /// Log events above this level (0 off, 1 error .. 5 trace) will not be read.
        sync fn set_log_level(level: u32);
        /// The extension with this id; null when the plugin has none.
        sync fn extension(id: Str<'_>) -> RawHandle;
    }
}
