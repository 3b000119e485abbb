//! Background work under the host's supervision.

use crate::abi::{bytes::Str, future::Fut, interface::interface};

interface! {
    /// Work that outlives a request ends with the plugin.
    pub interface Tasks: TasksProvider / TasksTable = "nself.task/1" {
        /// Drives `work` until it resolves or the plugin stops; its number.
        sync fn spawn(name: Str<'_>, work: Fut<()>) -> u64;
        /// Drops the work with that number.
        sync fn cancel(task: u64);
        /// Runs `work` on the host's blocking threads, of which each plugin gets a bounded number.
        async fn blocking(work: Work);
        /// Resolves when this replica holds the lease of that name, cluster wide.
        async fn lease(name: Str<'_>) -> Lease;
        /// Resolves when the plugin is asked to drain.
        async fn draining();
    }
}

interface! {
    /// Work for a blocking thread.
    pub interface Work: WorkProvider / WorkTable = "nself.work/1" {
        /// Does it.
        sync fn run();
    }
}

interface! {
    /// A held lease; dropped, it is free.
    pub interface Lease: LeaseProvider / LeaseTable = "nself.lease/1" {
        /// Resolves when it has been lost, for instance with the database connection.
        async fn lost();
    }
}
