//! Programs that the operator lets a plugin run.

use crate::abi::{
    bytes::{Bytes, Str},
    interface::interface,
};

interface! {
    /// The host runs programs: shells, scripts, containers and others, as far as the operator's configuration lists them for this
    /// plugin. What runs has a fresh directory, an environment made for it, limits, and no rights of the host's.
    pub interface Process: ProcessProvider / ProcessTable = "nself.process/1" {
        /// Whether the operator lets this plugin run something, in the words of the configuration: `shell`, `script:python`,
        /// `container:alpine:3`, `program:/usr/bin/ffmpeg`. Fails with the setting that says so when not.
        async fn check(what: Str<'_>);
        /// Starts something. `wanted` is JSON: `{"run": {"shell": {"command": ".."}}, "arguments": [..], "environment": {..},
        /// "stdin": .., "time_limit_ms": ..}`; instead of `shell` also `script` (`language`, `code`), `program` (`path`),
        /// `container` (`image`, `command`, `name`, `key`, `ports`, `volumes`, `pull`, `is_kept`) and `removal` (`key`).
        /// Resolves once it runs.
        async fn start(wanted: Bytes) -> Running;
    }
}

interface! {
    /// Something that runs; dropped, it ends, and everything that it has started.
    pub interface Running: RunningProvider / RunningTable = "nself.running/1" {
        /// Waits for its end; once. Resolves with JSON: `{"code": .., "signal": .., "stdout": "..", "stderr": "..",
        /// "is_truncated": false}`.
        async fn end() -> Bytes;
    }
}
