//! The jobs plugin, tried on a real host with a real database.

mod backup;
mod batches;
mod builtin;
mod clients;
mod doors;
mod ending;
mod enqueueing;
mod families;
mod faults;
mod hasura;
mod limits;
mod pull;
mod push;
mod retention;
mod stage;
mod steering;
mod telling;
mod watching;

/// A queue hands out work of all families by one statement.
const QUEUES: &str = "workers claim jobs of all families by one statement, and no person has a route; other logins have functions only";

nself_plugin_testkit::conformance!(|plugin| plugin.not_held_apart(
    super::QUEUES,
    &[
        "batches",
        "dead",
        "finished",
        "gone_families",
        "later",
        "suspects",
        "ready",
        "untold",
        "waiting"
    ]
));
