//! What people did to jobs and queues, in the audit log, in the transaction that does it.

use nself_plugin_api::{
    Kind,
    capability::audit::{Entry, append_in},
    prelude::*,
    serde_json::{Value, json},
};

/// Notes what somebody did to a queue, to discarded jobs or to a batch.
pub(crate) async fn note(
    db: &impl Queries,
    principal: &Principal,
    action: &str,
    target: &str,
    details: Value,
) -> Result<()> {
    let entry = Entry {
        action,
        target,
        details,
        family_id: None,
        actor: Some(&principal.subject),
    };
    append_in(db, entry).await
}

/// Notes what an operator did to one job. What services do to their own is their work and stands in the job: the log is a chain, and
/// every entry waits for the one before.
pub(crate) async fn of_job(
    db: &impl Queries,
    principal: &Principal,
    action: &str,
    job: i64,
) -> Result<()> {
    if principal.kind == Kind::Operator {
        note(db, principal, action, &job.to_string(), json!({})).await?;
    }
    Ok(())
}
