//! Registers workflows, as plugins do that bring some along.

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, Value, json},
};

use crate::{Author, store};

const WORKFLOWS: &str = "orchestrator.workflows/1";

pub(crate) async fn register(
    cx: Cx<Author>,
    Path((name, version)): Path<(String, String)>,
    Body(definition): Body,
) -> Result<Data<String>> {
    let definition = String::from_utf8_lossy(&definition);
    let status = store::register(&cx.db(), &name, &version, &definition).await;
    status.map(Data).map_err(refused)
}

pub(crate) async fn show(
    cx: Cx<Author>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Data<Option<Value>>> {
    store::registration(&cx.db(), &name, &version)
        .await
        .map(Data)
}

pub(crate) async fn call(
    cx: Cx<Author>,
    Path(method): Path<String>,
    Body(definition): Body,
) -> Result<Data<Value>> {
    let asked = json!({"definition": String::from_utf8_lossy(&definition)});
    cx.calls().json(WORKFLOWS, &method, &asked).await.map(Data)
}

/// What the function says of bad input is the caller's to know.
fn refused(error: Error) -> Error {
    let said = error.cause().and_then(|cause| {
        let cause: Value = serde_json::from_str(cause).ok()?;
        Some(cause.get("message")?.as_str()?.to_owned())
    });
    match (error.sqlstate().as_deref(), said) {
        (Some("22023"), Some(said)) => Error::invalid("REFUSED", said),
        _ => error,
    }
}
