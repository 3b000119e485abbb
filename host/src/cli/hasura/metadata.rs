//! `nself hasura metadata build`, `check`, `apply` and `diff`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    super::{CliError, Context, Exit, db::with_database, plugin},
    At, remote, wait,
};
use crate::{
    hasura::{
        build,
        catalog::Catalog,
        check::{self, Against, Fault},
        diff,
        fragment::{Fragment, FragmentError},
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

pub(super) fn build(context: &Context) -> Result<(), CliError> {
    let (document, catalog) = fresh(context)?;
    refuse(&faults(context, &document, &catalog))?;
    let directory = directory(context)?;
    project::write(&directory, &document).map_err(|error| unwritable(&error))?;
    let count = tables(&document).len();
    let answer = json!({"directory": directory, "tables": count});
    context.output.answer(&answer, || {
        format!("wrote {count} tables to {}\n", directory.display())
    })
}

pub(super) fn check(context: &Context) -> Result<(), CliError> {
    let document = checked(context)?;
    let count = tables(&document).len();
    context
        .output
        .answer(&json!({"tables": count, "faults": []}), || {
            format!("{count} tables, nothing wrong\n")
        })
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
        None => fresh(context)?.0,
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

/// What the sources make now.
fn fresh(context: &Context) -> Result<(Value, Catalog), CliError> {
    let accepted = plugin::accepted(context)?;
    let mut fragments = vec![];
    for plugin in accepted.plugins.iter().filter(|plugin| plugin.enabled) {
        fragments.extend(Fragment::all(&plugin.manifest).map_err(|error| wrong_fragment(&error))?);
    }
    let catalog = live(context)?;
    let document = build::build(Policy::embedded(), &catalog, &fragments);
    Ok((document, catalog))
}

/// What is written, with nothing wrong in it.
fn checked(context: &Context) -> Result<Value, CliError> {
    let document = read(&directory(context)?)?;
    let catalog = live(context)?;
    refuse(&faults(context, &document, &catalog))?;
    Ok(document)
}

fn faults(context: &Context, document: &Value, catalog: &Catalog) -> Vec<Fault> {
    let unauthorized = context.variables.get(UNAUTHORIZED_ROLE);
    let against = Against {
        policy: Policy::embedded(),
        catalog,
        unauthorized: unauthorized.map_or("anonymous", String::as_str),
    };
    check::check(document, against)
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
