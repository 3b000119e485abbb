//! What is written down of a command, and told of it: an entry in the audit log and an event, in the transaction of the change.

use nself_plugin_api::{
    capability::{
        audit::{Entry, append_in},
        events::{NewEvent, emit_in},
    },
    prelude::{Queries, Result},
    serde_json::json,
};

use crate::store::commands::{self, Command};

/// A command was asked for.
pub(crate) async fn asked(tx: &impl Queries, command: &Command, actor: &str) -> Result<()> {
    note(tx, "orchestrator.command_asked", command, Some(actor)).await
}

/// A command has ended. What the machine answered is not told: whoever may see it asks for it.
pub(crate) async fn ended(tx: &impl Queries, command: &Command, actor: Option<&str>) -> Result<()> {
    note(tx, "orchestrator.command_ended", command, actor).await?;
    let id = command.id.to_string();
    let event = NewEvent {
        kind: "device_command.ended",
        subject: &id,
        data: json!({"device_id": command.device_id, "name": command.name, "status": command.status}),
        family_id: Some(command.family_id),
    };
    emit_in(tx, event).await?;
    commands::tell_instance(tx, command.id).await
}

async fn note(
    tx: &impl Queries,
    action: &str,
    command: &Command,
    actor: Option<&str>,
) -> Result<()> {
    let entry = Entry {
        action,
        target: &command.id.to_string(),
        details: json!({"device_id": command.device_id, "name": command.name, "status": command.status}),
        family_id: Some(command.family_id),
        actor,
    };
    append_in(tx, entry).await
}
