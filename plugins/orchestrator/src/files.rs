//! Definitions in the operator's directory: `workflows` in the project, or the one that is configured. All are read and checked before
//! one is kept.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nself_plugin_api::{mistake::Mistake, prelude::*, tracing::warn};
use serde::Serialize;

use crate::{Config, Orchestrator, error::WorkflowError, routes::definitions};

/// The largest file.
const BYTES_MAX: u64 = 1 << 20;

/// Where they lie when the operator does not say otherwise: in the project's directory, if it is there.
const USUAL: &str = "workflows";

/// Where they lie.
pub(crate) struct Place {
    directory: PathBuf,
    is_configured: bool,
    /// What kept the files out when they were last applied.
    mistake: Mistake,
}

impl Place {
    /// By what is configured, and where the project is. Relative paths start there.
    pub(crate) fn of(config: &Config, project: &Path) -> Self {
        let named = config.workflows_directory.as_deref();
        Self {
            directory: project.join(named.unwrap_or(USUAL)),
            is_configured: named.is_some(),
            mistake: Mistake::default(),
        }
    }

    /// The texts of all files; none when there need not be any.
    fn read(&self) -> Result<Option<Vec<(PathBuf, String)>>, WorkflowError> {
        match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_configured => {
                Ok(None)
            }
            Err(error) => Err(unreadable(&self.directory, &error)),
            Ok(entries) => texts(entries).map(Some),
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> WorkflowError {
    WorkflowError::File(format!("{}: {error}", path.display()))
}

/// What was brought in.
#[derive(Debug, Default, Serialize, Schema)]
pub(crate) struct Plan {
    /// Definitions that were not there: namespace, name and version.
    pub added: Vec<String>,
    /// How many were there already.
    pub unchanged: i64,
}

impl fmt::Display for Plan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.added {
            write!(to, "+ {name}, ")?;
        }
        write!(to, "{} unchanged", self.unchanged)
    }
}

/// Brings the definitions of the directory in. A version whose text has changed is a mistake, and nothing is kept then. Without a
/// directory there is nothing to do.
///
/// # Errors
///
/// `WORKFLOW_FILE` with file, line and path.
pub(crate) async fn apply(cx: &Cx<Orchestrator>) -> Result<Option<Plan>> {
    let applied = bring_in(cx).await;
    cx.plugin().files.mistake.note(&applied);
    applied
}

/// Fails while a mistake keeps the files out. It does not apply them again: one may be half written.
pub(crate) async fn complain(cx: Cx<Orchestrator>) -> Result<()> {
    cx.plugin().files.mistake.told()
}

async fn bring_in(cx: &Cx<Orchestrator>) -> Result<Option<Plan>> {
    let mut plan = Plan::default();
    let place = Arc::clone(&cx.plugin().files);
    let tasks = cx.tasks();
    let files = tasks.blocking(move || place.read());
    let Some(files) = files.await?? else {
        return Ok(None);
    };
    let tx = cx.db().begin().await?;
    for (path, text) in files {
        let is_json = path.extension().is_some_and(|end| end == "json");
        let place =
            |error: &Error| WorkflowError::File(format!("{}: {}", path.display(), error.message()));
        let read = definitions::read(cx, text.as_bytes(), is_json).await;
        let read = read.map_err(|error| place(&error))?;
        for warning in &read.warnings {
            warn!(file = %path.display(), warning, "a task of a workflow will not run");
        }
        let kept = definitions::keep(&tx, &read, "file", "files").await;
        let document = &read.definition.document;
        match kept {
            Ok(true) => plan.added.push(format!(
                "{}/{}/{}",
                document.namespace, document.name, document.version
            )),
            Ok(false) => plan.unchanged += 1,
            Err(error) if error.status() < 500 => return Err(place(&error).into()),
            Err(error) => return Err(error),
        }
    }
    tx.commit().await?;
    Ok(Some(plan))
}

fn texts(entries: fs::ReadDir) -> Result<Vec<(PathBuf, String)>, WorkflowError> {
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let end = path.extension().and_then(|end| end.to_str());
            matches!(end, Some("yaml" | "yml" | "json"))
        })
        .collect();
    paths.sort();
    let read = paths.into_iter().map(|path| {
        let size = fs::metadata(&path)
            .map_err(|error| unreadable(&path, &error))?
            .len();
        if size > BYTES_MAX {
            let text = format!("{}: is larger than 1 MiB", path.display());
            return Err(WorkflowError::File(text));
        }
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        Ok((path, text))
    });
    read.collect()
}
