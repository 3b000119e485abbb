//! Graphs of definitions and runs.

use std::collections::BTreeMap;

use nself_plugin_api::{http::StatusCode, prelude::*};
use serde::Deserialize;

use super::{
    definitions::{self, Which},
    instances,
};
use crate::{
    Orchestrator,
    dsl::Definition,
    error::WorkflowError,
    graph::Graph,
    programs,
    store::{definitions as stored, history},
    version::LATEST,
};

/// In which form.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Form {
    /// `mermaid`, which is the text of a flow chart, or `svg`, a drawing.
    pub format: Option<String>,
    /// The version, where the address has none.
    pub version: Option<String>,
}

pub(crate) async fn definition(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(name): Path<Which>,
    Query(form): Query<Form>,
) -> Result<Response> {
    let found = definitions::find(&cx.db(), instances::reach(&cx, &who), &name).await?;
    drawn(&cx, (found.format, found.source), BTreeMap::new(), form).await
}

/// The same on the command line, where the version is left out mostly.
pub(crate) async fn named(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path((namespace, name)): Path<(String, String)>,
    Query(mut form): Query<Form>,
) -> Result<Response> {
    let version = form.version.take().unwrap_or_else(|| LATEST.to_owned());
    let name = Which {
        namespace,
        name,
        version,
    };
    definition(cx, who, Path(name), Query(form)).await
}

pub(crate) async fn run(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(id): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response> {
    let id = instances::named(&cx, &who, &id).await?;
    instances::find(&cx.db(), instances::reach(&cx, &who), id).await?;
    let source = stored::source_of_run(&cx.db(), id).await?;
    let source = source.ok_or(WorkflowError::NoRun)?;
    let statuses = history::statuses(&cx.db(), id).await?;
    drawn(&cx, source, statuses.into_iter().collect(), form).await
}

async fn drawn(
    cx: &Cx<Orchestrator>,
    (format, source): (String, String),
    statuses: BTreeMap<String, String>,
    form: Form,
) -> Result<Response> {
    let is_svg = match form.format.as_deref() {
        None | Some("mermaid") => false,
        Some("svg") => true,
        Some(_) => return Err(WorkflowError::Text("format must be mermaid or svg").into()),
    };
    let tasks = cx.tasks();
    let drawn = tasks.blocking(move || {
        let definition = Definition::parse(&source, programs::format(&format))?;
        let graph = Graph::of(&definition, &statuses);
        Ok::<_, Vec<crate::dsl::Fault>>(if is_svg { graph.svg() } else { graph.mermaid() })
    });
    let text = drawn.await?.map_err(WorkflowError::Invalid)?;
    let kind = if is_svg {
        "image/svg+xml"
    } else {
        "text/vnd.mermaid"
    };
    Ok(Response::new(StatusCode::OK, text).content_type(kind))
}
