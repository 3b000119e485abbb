//! Extensions of an instance: what the host asks a plugin for beyond the frozen table, each by an id of its own.

use super::{bytes::Bytes, instance::Instance, interface::interface};

interface! {
    /// Works the jobs that the manifest declares.
    pub interface JobHandlers: JobHandlersProvider / JobHandlersTable = "nself.plugin.jobs/1" {
        /// Works a job of the kind with this number in the manifest, for the `attempt`th time of `attempts_max`. `context` is
        /// JSON about the job, `payload` its input. Resolves with the job's result, JSON. Dropped, the work is cancelled.
        async fn run(job: u32, id: i64, attempt: u32, attempts_max: u32, context: Bytes, payload: Bytes) -> Bytes;
    }
}

impl Instance {
    /// The handlers of the plugin's jobs; nothing when it has none.
    pub fn job_handlers(&self) -> Option<JobHandlers> {
        let raw = self.extension(JobHandlers::ID.into());
        // SAFETY: the plugin answers an id with a handle of the interface of that id.
        unsafe { JobHandlers::from_raw(raw) }
    }
}
