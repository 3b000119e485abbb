//! Definitions of workflows.

use std::sync::Arc;

use nself_plugin_api::{
    capability::audit::{Entry, append_in},
    http::HeaderMap,
    prelude::*,
    serde_json::{Value, json},
};
use serde::{Deserialize, Serialize};

use super::instances::{SCOPE, reach};
use crate::{
    Orchestrator,
    dsl::{Definition, Fault},
    engine::Program,
    error::WorkflowError,
    matching, process,
    programs::{self, Meant},
    reach::Reach,
    starting,
    store::definitions::{self, New, Stored},
    version,
};

/// Most rows of a page.
const PAGE_MAX: i64 = 1_000;
/// The key of a definition's metadata that lets the grown-ups of families start it.
const FOR_FAMILIES: &str = "nself.families";

/// A workflow's name with a version; `latest` is the highest.
#[derive(Debug, Clone, Deserialize, Schema)]
pub(crate) struct Which {
    /// Where it belongs.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Which definitions.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Of this namespace.
    pub namespace: Option<String>,
    /// Those after this one: `namespace/name/version`.
    pub after: Option<String>,
    /// Rows, at most 1000.
    pub limit: Option<i64>,
}

/// A definition that was put.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Put {
    /// Where it belongs.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Tasks that will not run on this host, and which setting says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A definition that could be kept.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Good {
    /// Where it belongs.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Tasks that will not run on this host, and which setting says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A definition that has been found good.
pub(crate) struct Read {
    pub definition: Definition,
    pub format: &'static str,
    pub source: String,
    /// Types of events that its runs may listen for; none when that may be any.
    pub hears: Option<Vec<String>>,
    /// Tasks that will not run on this host.
    pub warnings: Vec<String>,
}

/// Reads a definition, beside the threads that handlers run on.
///
/// # Errors
///
/// `WORKFLOW_INVALID` with all faults, each with line and path.
pub(crate) async fn read(cx: &Cx<Orchestrator>, bytes: &[u8], is_json: bool) -> Result<Read> {
    let source = String::from_utf8(bytes.to_vec())
        .map_err(|_| WorkflowError::Text("the definition is not UTF-8"))?;
    let format = if is_json { "json" } else { "yaml" };
    let text = source.clone();
    let tasks = cx.tasks();
    let parsed = tasks.blocking(move || {
        let definition = Definition::parse(&text, programs::format(format))?;
        let program = Program::compile(&definition).map_err(|error| {
            vec![Fault {
                path: error.instance.clone(),
                line: 0,
                column: 0,
                message: error.to_string(),
                remedy: "leave it out".to_owned(),
            }]
        })?;
        Ok::<_, Vec<Fault>>((definition, hears(&program), program.processes()))
    });
    let (definition, hears, processes) = parsed.await?.map_err(WorkflowError::Invalid)?;
    starting::check(cx, &definition).await?;
    Ok(Read {
        definition,
        format,
        source,
        hears,
        warnings: process::warnings(cx, &processes).await,
    })
}

/// Types of events that runs of a program may listen for; none when that may be any.
fn hears(program: &Program) -> Option<Vec<String>> {
    let listens = program.listens();
    let types = listens.iter().map(|one| matching::types(&one.filters));
    let types: Option<Vec<Vec<String>>> = types.collect();
    types.map(|types| types.concat())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    kind == "application/json" || kind.ends_with("+json")
}

pub(crate) async fn put(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(name): Path<Which>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Data<Put>> {
    let read = read(&cx, &body, is_json(&headers)).await?;
    let document = &read.definition.document;
    let own = (&document.namespace, &document.name, &document.version);
    if own != (&name.namespace, &name.name, &name.version) {
        return Err(WorkflowError::Name.into());
    }
    let tx = cx.db().begin().await?;
    let is_new = keep(&tx, &read, "api", &who.subject).await?;
    tx.commit().await?;
    Ok(Data(Put {
        namespace: name.namespace,
        name: name.name,
        version: name.version,
        is_new,
        warnings: read.warnings,
    }))
}

/// The same with the name that stands in the text, which is what a command line has.
pub(crate) async fn apply(
    cx: Cx<Orchestrator>,
    who: Principal,
    Body(body): Body,
) -> Result<Data<Put>> {
    // Every JSON is YAML.
    let read = read(&cx, &body, false).await?;
    let tx = cx.db().begin().await?;
    let is_new = keep(&tx, &read, "api", &who.subject).await?;
    tx.commit().await?;
    let document = read.definition.document;
    Ok(Data(Put {
        namespace: document.namespace,
        name: document.name,
        version: document.version,
        is_new,
        warnings: read.warnings,
    }))
}

/// Keeps a definition; whether it is new.
pub(crate) async fn keep(tx: &impl Queries, read: &Read, owner: &str, by: &str) -> Result<bool> {
    let document = &read.definition.document;
    let new = New {
        namespace: &document.namespace,
        name: &document.name,
        version: &document.version,
        format: read.format,
        source: &read.source,
        owner,
        for_families: document.metadata.get(FOR_FAMILIES) == Some(&Value::Bool(true)),
        schedule: read.definition.source.get("schedule").cloned(),
        zone: starting::zone(&read.definition),
        hears: read.hears.as_deref(),
        created_by: by,
    };
    let kept = definitions::put(tx, &new).await?;
    let is_new = kept.ok_or(WorkflowError::Immutable)?;
    if is_new {
        starting::settle(tx, &document.namespace, &document.name).await?;
        note(tx, "orchestrator.definition_added", document_name(read), by).await?;
    }
    Ok(is_new)
}

fn document_name(read: &Read) -> String {
    let document = &read.definition.document;
    format!(
        "{}/{}/{}",
        document.namespace, document.name, document.version
    )
}

/// Whether a text can be a definition, and nothing else.
pub(crate) async fn validate(cx: Cx<Orchestrator>, Body(body): Body) -> Result<Data<Good>> {
    judge(&cx, &body).await.map(Data)
}

/// The same for a plugin that asks.
pub(crate) async fn judge(cx: &Cx<Orchestrator>, text: &[u8]) -> Result<Good> {
    let read = read(cx, text, false).await?;
    let document = read.definition.document;
    Ok(Good {
        namespace: document.namespace,
        name: document.name,
        version: document.version,
        warnings: read.warnings,
    })
}

pub(crate) async fn list(
    cx: Cx<Orchestrator>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Data<Vec<Stored>>> {
    let Some(reach) = reach(&cx, &who) else {
        return Ok(Data(Vec::new()));
    };
    let limit = filter.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let after = filter.after.unwrap_or_default();
    let mut parts = after.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let after = (part(), part(), part());
    let of_family = reach.family().is_some();
    definitions::list(
        &cx.db(),
        filter.namespace.as_deref(),
        of_family,
        after,
        limit,
    )
    .await
    .map(Data)
}

pub(crate) async fn show(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(name): Path<Which>,
) -> Result<Data<Stored>> {
    find(&cx.db(), reach(&cx, &who), &name).await.map(Data)
}

/// What a start needs to know of the definition that is meant. A version that has been started here once is not asked for again.
///
/// # Errors
///
/// `WORKFLOW_NOT_FOUND` when there is none that the caller may start.
pub(crate) async fn meant(
    cx: &Cx<Orchestrator>,
    who: &Principal,
    name: &Which,
) -> Result<Arc<Meant>> {
    let programs = &cx.plugin().programs;
    let asked = (
        name.namespace.clone(),
        name.name.clone(),
        name.version.clone(),
    );
    if let Some(meant) = programs.meant(&asked) {
        return may_start(reach(cx, who), meant.for_families)
            .then_some(meant)
            .ok_or_else(|| WorkflowError::Unknown.into());
    }
    let found = find(&cx.db(), reach(cx, who), name).await?;
    let meant = Arc::new(Meant {
        id: found.id,
        namespace: found.namespace,
        name: found.name,
        version: found.version,
        for_families: found.for_families,
    });
    programs.mean(&meant);
    Ok(meant)
}

fn may_start(reach: Option<Reach>, for_families: bool) -> bool {
    reach.is_some_and(|reach| reach.family().is_none() || for_families)
}

/// A definition that the caller may see.
pub(crate) async fn find(db: &impl Queries, reach: Option<Reach>, name: &Which) -> Result<Stored> {
    let version = version::resolve(db, &name.namespace, &name.name, &name.version).await?;
    let found = match &version {
        Some(version) => definitions::find(db, &name.namespace, &name.name, version).await?,
        None => None,
    };
    let found = found.filter(|found| may_start(reach, found.for_families));
    found.ok_or_else(|| WorkflowError::Unknown.into())
}

pub(crate) async fn remove(
    cx: Cx<Orchestrator>,
    who: Principal,
    Path(name): Path<Which>,
) -> Result<NoContent> {
    let tx = cx.db().begin().await?;
    if !definitions::remove(&tx, &name.namespace, &name.name, &name.version).await? {
        return Err(WorkflowError::Unknown.into());
    }
    starting::settle(&tx, &name.namespace, &name.name).await?;
    let target = format!("{}/{}/{}", name.namespace, name.name, name.version);
    note(&tx, "orchestrator.definition_removed", target, &who.subject).await?;
    tx.commit().await?;
    Ok(NoContent)
}

async fn note(tx: &impl Queries, action: &str, target: String, by: &str) -> Result<()> {
    let entry = Entry {
        action,
        target: &target,
        details: json!({"scope": SCOPE}),
        family_id: None,
        actor: Some(by),
    };
    append_in(tx, entry).await
}
