//! What the commands of `nself db` have in common: the database, and whose steps there are.

use std::sync::Arc;

use serde_json::Value;

use super::super::{CliError, Context, Exit, plugin};
use crate::{
    audit,
    config::{Config, FILE_NAME, secrets::Secrets},
    migrate::{MigrateError, Owner},
    plugin::manifest::Manifest,
    run::{RunError, Session, owners},
};

/// Everybody whose steps may be run, in the order in which they are.
pub(super) struct Owners {
    /// The host, the shared model, the project.
    own: Vec<Owner>,
    accepted: plugin::Accepted,
}

impl Owners {
    pub(super) fn read(context: &Context, config: &Config) -> Result<Self, CliError> {
        let own = owners(config).map_err(RunError::from)?;
        let accepted = plugin::accepted(context)?;
        for reason in &accepted.missing {
            context.output.note(&format!("left out: {reason}"));
        }
        Ok(Self { own, accepted })
    }

    /// The one of this name, or all that run.
    pub(super) fn select(&self, name: Option<&str>) -> Result<Vec<Owner>, CliError> {
        let plugin = |manifest: &Manifest| Owner::plugin(&manifest.id, manifest.migrations.clone());
        let Some(name) = name else {
            let enabled = self.accepted.plugins.iter().filter(|plugin| plugin.enabled);
            let plugins = enabled.map(|accepted| plugin(&accepted.manifest));
            return Ok(self.own.iter().cloned().chain(plugins).collect());
        };
        if let Some(owner) = self.own.iter().find(|owner| owner.name == name) {
            return Ok(vec![owner.clone()]);
        }
        match self.manifest(name) {
            Some(manifest) => Ok(vec![plugin(manifest)]),
            None => Err(self.unknown(name)),
        }
    }

    /// Whose steps are being written here: the project's when it has some, else the shared model's.
    pub(super) fn own_default(&self) -> &'static str {
        let has_project = self.own.iter().any(|owner| owner.name == "project");
        if has_project { "project" } else { "db" }
    }

    pub(super) fn manifest(&self, id: &str) -> Option<&Manifest> {
        let plugin = |accepted: &&plugin::AcceptedPlugin| accepted.manifest.id == id;
        let found = self.accepted.plugins.iter().find(plugin);
        found.map(|accepted| &accepted.manifest)
    }

    /// The plugins that are to run.
    pub(super) fn enabled(&self) -> Vec<&Manifest> {
        let enabled = self.accepted.plugins.iter().filter(|plugin| plugin.enabled);
        enabled.map(|accepted| &accepted.manifest).collect()
    }

    fn unknown(&self, name: &str) -> CliError {
        let own = self.own.iter().map(|owner| owner.name.as_str());
        let plugins = self.accepted.plugins.iter();
        let names: Vec<&str> = own
            .chain(plugins.map(|plugin| plugin.manifest.id.as_str()))
            .collect();
        let message = format!("nobody called {name} has migrations here");
        let mut error = CliError::new("MIGRATION_OWNER", Exit::Usage, message);
        error.causes.clone_from(&self.accepted.missing);
        error.with_help(format!("one of: {}", names.join(", ")))
    }
}

/// Runs `work` with the project's open database, and closes it again.
pub(in crate::cli) fn with_database<T>(
    context: &Context,
    config: &Config,
    work: impl AsyncFnOnce(&Session) -> Result<T, CliError>,
) -> Result<T, CliError> {
    is_project(config)?;
    let secrets = Secrets::of(config)?;
    let spinner = context.progress("opening the database");
    let progress: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(move |step| spinner.set(step));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    runtime.block_on(async {
        let session = Session::open(config, &secrets, &progress).await?;
        drop(progress);
        let done = work(&session).await;
        session.close().await;
        done
    })
}

/// A private cluster is not made by the way in a directory that is no project.
fn is_project(config: &Config) -> Result<(), CliError> {
    if config.database.url.is_some() || config.directory.join(FILE_NAME).is_file() {
        return Ok(());
    }
    let message = format!("{} is no project", config.directory.display());
    Err(CliError::new("PROJECT_NOT_FOUND", Exit::Usage, message)
        .with_help("make one with `nself init`, or name one with --project DIR"))
}

/// Appends to the audit log what an operator did with the database.
pub(in crate::cli) async fn audited(
    session: &Session,
    action: &str,
    details: Value,
) -> Result<(), CliError> {
    let client = session.connect().await?;
    audit::append_command(&client, action, details)
        .await
        .map_err(|error| CliError::of("DATABASE_ERROR", Exit::Failed, &error))
}

/// A migration's error, as every command tells it.
pub(super) fn failed(error: MigrateError) -> CliError {
    RunError::from(Box::new(error)).into()
}
