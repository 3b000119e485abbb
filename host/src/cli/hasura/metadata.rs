//! `nself hasura metadata build`, `check`, `apply` and `diff`.

mod cron;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    super::{CliError, Context, Exit, db::with_database, plugin},
    At, remote, wait,
};
use crate::{
    hasura::{
        brought::Brought,
        build,
        catalog::Catalog,
        check::{self, Against, Fault},
        diff,
        fragment::FragmentError,
        project::{self, ProjectError},
        remote::Engine,
        tables,
    },
    policy::Policy,
    run::RunError,
};

/// The project of the Hasura CLI, below the project's directory.
const DIRECTORY: &str = "hasura";

const ENDPOINT: &str = "HASURA_GRAPHQL_ENDPOINT";
const ADMIN_SECRET: &str = "HASURA_GRAPHQL_ADMIN_SECRET";
const UNAUTHORIZED_ROLE: &str = "HASURA_GRAPHQL_UNAUTHORIZED_ROLE";

/// What a document is made from and held against.
struct Sources {
    brought: Brought,
    catalog: Catalog,
}

impl Sources {
    fn read(context: &Context) -> Result<Self, CliError> {
        let accepted = plugin::accepted(context)?;
        let enabled = accepted.plugins.iter().filter(|plugin| plugin.enabled);
        let manifests = enabled.map(|plugin| &plugin.manifest);
        let brought =
            Brought::by(manifests, Policy::embedded()).map_err(|error| wrong_fragment(&error))?;
        let catalog = live(context)?;
        Ok(Self { brought, catalog })
    }

    /// What they make now; what only the project can say is taken from what is written.
    fn fresh(&self, context: &Context) -> Result<Value, CliError> {
        let directory = directory(context)?;
        let written = project::is_written(&directory).then(|| {
            project::read(&directory).map_err(|error| {
                CliError::of("HASURA_METADATA_INVALID", Exit::BadData, &error)
                    .with_help("put it right, or take hasura/metadata away: what the project says itself would be lost")
            })
        });
        let written = written.transpose()?;
        Ok(build::build(
            Policy::embedded(),
            &self.catalog,
            &self.brought,
            written.as_ref(),
        ))
    }

    fn faults(&self, context: &Context, document: &Value) -> Result<Vec<Fault>, CliError> {
        let unauthorized = context.variables.get(UNAUTHORIZED_ROLE);
        let against = Against {
            policy: Policy::embedded(),
            catalog: &self.catalog,
            routes: &self.brought.routes,
            unauthorized: unauthorized.map_or("anonymous", String::as_str),
        };
        let mut faults = check::check(document, against);
        faults.extend(cron::run_twice(context, document)?);
        Ok(faults)
    }
}

pub(super) fn build(context: &Context) -> Result<(), CliError> {
    let sources = Sources::read(context)?;
    let document = sources.fresh(context)?;
    refuse(&sources.faults(context, &document)?)?;
    let directory = directory(context)?;
    project::write(&directory, &document).map_err(|error| unwritable(&error))?;
    let count = tables(&document).len();
    let answer = json!({"directory": directory, "tables": count, "actions": actions(&document)});
    context.output.answer(&answer, || {
        let what = counted(&document);
        format!("wrote {what} to {}\n", directory.display())
    })
}

pub(super) fn check(context: &Context) -> Result<(), CliError> {
    let document = checked(context)?;
    let count = tables(&document).len();
    let answer = json!({"tables": count, "actions": actions(&document), "faults": []});
    context.output.answer(&answer, || {
        format!("{}, nothing wrong\n", counted(&document))
    })
}

fn actions(document: &Value) -> usize {
    document["actions"].as_array().map_or(0, Vec::len)
}

fn counted(document: &Value) -> String {
    let (tables, actions) = (tables(document).len(), actions(document));
    format!("{tables} tables and {actions} actions")
}

pub(super) fn apply(context: &Context, at: &At) -> Result<(), CliError> {
    let document = checked(context)?;
    let endpoint = match endpoint(context, at) {
        Some(endpoint) => endpoint,
        None => configured(&directory(context)?)?,
    };
    let engine = engine(context, &endpoint)?;
    let answer = wait(engine.replace(&document))?.map_err(|error| remote(&error))?;
    context
        .output
        .answer(&answer, || format!("{endpoint} has taken it\n"))
}

pub(super) fn diff(context: &Context, at: &At) -> Result<(), CliError> {
    let own = read(&directory(context)?)?;
    let other = match &at.endpoint {
        Some(endpoint) => {
            let engine = engine(context, endpoint)?;
            wait(engine.export())?.map_err(|error| remote(&error))?
        }
        None => Sources::read(context)?.fresh(context)?,
    };
    let lines = diff::lines(&own, &other);
    if lines.is_empty() {
        return context
            .output
            .answer(&json!([]), || "no difference\n".to_owned());
    }
    let mut error = CliError::new(
        "HASURA_METADATA_DIFFERS",
        Exit::ChangesNeeded,
        format!(
            "{} differences; - is only in {DIRECTORY}/metadata",
            lines.len()
        ),
    );
    error.causes = lines;
    let help = if at.endpoint.is_some() {
        "nself hasura metadata apply"
    } else {
        "nself hasura metadata build"
    };
    Err(error.with_help(help))
}

/// What is written, with nothing wrong in it.
fn checked(context: &Context) -> Result<Value, CliError> {
    let document = read(&directory(context)?)?;
    let sources = Sources::read(context)?;
    refuse(&sources.faults(context, &document)?)?;
    Ok(document)
}

fn refuse(faults: &[Fault]) -> Result<(), CliError> {
    if faults.is_empty() {
        return Ok(());
    }
    let message = format!("{} things are wrong in the metadata", faults.len());
    let mut error = CliError::new("HASURA_METADATA_INVALID", Exit::BadData, message);
    error.causes = faults.iter().map(Fault::to_string).collect();
    Err(error.with_help("run nself db migrate up, then nself hasura metadata build"))
}

fn live(context: &Context) -> Result<Catalog, CliError> {
    let (config, _) = context.config()?;
    with_database(context, &config, async |session| {
        let client = session.connect().await?;
        let read = Catalog::read(&client).await;
        let place = session.target().describe();
        Ok(read.map_err(|source| RunError::Connect { place, source })?)
    })
}

fn directory(context: &Context) -> Result<PathBuf, CliError> {
    Ok(context.directory()?.join(DIRECTORY))
}

fn read(directory: &Path) -> Result<Value, CliError> {
    project::read(directory).map_err(|error| {
        CliError::of("HASURA_METADATA_INVALID", Exit::BadData, &error)
            .with_help("make it with nself hasura metadata build")
    })
}

fn endpoint(context: &Context, at: &At) -> Option<String> {
    at.endpoint
        .clone()
        .or_else(|| context.variables.get(ENDPOINT).cloned())
}

fn configured(directory: &Path) -> Result<String, CliError> {
    let endpoint = project::endpoint(directory).map_err(|error| unwritable(&error))?;
    endpoint.ok_or_else(|| {
        CliError::new(
            "HASURA_UNREACHABLE",
            Exit::Usage,
            "nobody says where Hasura is",
        )
        .with_help(format!("name it: --endpoint URL, or {ENDPOINT}"))
    })
}

fn engine(context: &Context, endpoint: &str) -> Result<Engine, CliError> {
    let secret = context.variables.get(ADMIN_SECRET).map(String::as_str);
    Engine::new(endpoint, secret).map_err(|error| remote(&error))
}

fn wrong_fragment(error: &FragmentError) -> CliError {
    CliError::of("HASURA_METADATA_INVALID", Exit::BadData, error)
}

fn unwritable(error: &ProjectError) -> CliError {
    CliError::of("HASURA_PROJECT", Exit::CannotCreate, error)
}
