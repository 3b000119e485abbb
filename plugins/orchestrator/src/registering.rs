//! `orchestrator.workflows/1`: workflows that other plugins bring along.
//!
//! A plugin registers a text by a SQL function, in a transaction of its own, and is known by its login. A job reads the text as every
//! other definition is read, and keeps it for the plugin or writes down what is wrong with it. A plugin that wants to hear of its faults
//! at once asks for that first, by a call.

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, Value, json},
    tracing::{error, info, warn},
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    error::WorkflowError,
    outcome::storable,
    routes::definitions::{self, Good},
    store::registrations::{self, Pending, Which},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    definition: String,
}

/// Answers a call of `orchestrator.workflows/1`: `validate`, which keeps nothing.
pub(crate) async fn call(cx: Cx<Orchestrator>, call: CapabilityCall) -> Result<Vec<u8>> {
    if call.method != "validate" {
        let method = call.method;
        return Err(WorkflowError::Method(method).into());
    }
    let Text { definition } = call.json()?;
    let good: Good = definitions::judge(&cx, definition.as_bytes()).await?;
    serde_json::to_vec(&good).map_err(Error::internal)
}

/// A plugin has registered something: it is kept, or what is wrong with it is written down.
pub(crate) async fn register(cx: Cx<Orchestrator>, job: JobRun) -> Result<Value> {
    let which: Which = job.json()?;
    let Some(pending) = registrations::pending(&cx.db(), &which).await? else {
        return Ok(json!({"status": "settled"}));
    };
    match keep(&cx, &which, &pending).await {
        Ok(()) => Ok(json!({"status": "kept"})),
        Err(refused) if refused.status() < 500 => {
            let problem = storable(json!({
                "code": refused.code(), "message": refused.message(), "details": refused.details(),
            }));
            registrations::settle(&cx.db(), &which, &pending.source, Some(problem.clone())).await?;
            let (plugin, workflow) = (pending.plugin, name(&which));
            error!(plugin, workflow, error = %refused, "a workflow of a plugin is not kept");
            Ok(json!({"status": "refused", "problem": problem}))
        }
        Err(trouble) => Err(trouble),
    }
}

async fn keep(cx: &Cx<Orchestrator>, which: &Which, pending: &Pending) -> Result<()> {
    // Every JSON is YAML.
    let read = definitions::read(cx, pending.source.as_bytes(), false).await?;
    let document = &read.definition.document;
    let own = (&document.namespace, &document.name, &document.version);
    if own != (&which.namespace, &which.name, &which.version) {
        return Err(WorkflowError::Registered(name(which)).into());
    }
    let tx = cx.db().begin().await?;
    if !registrations::settle(&tx, which, &pending.source, None).await? {
        return Ok(());
    }
    let owner = format!("plugin:{}", pending.plugin);
    let is_new = definitions::keep(&tx, &read, &owner, &owner).await?;
    tx.commit().await?;
    let (plugin, workflow) = (&pending.plugin, name(which));
    if is_new {
        info!(plugin, workflow, "a workflow of a plugin is kept");
    }
    for warning in &read.warnings {
        warn!(
            plugin,
            workflow, warning, "a task of a workflow will not run"
        );
    }
    Ok(())
}

fn name(which: &Which) -> String {
    format!("{}/{} {}", which.namespace, which.name, which.version)
}
