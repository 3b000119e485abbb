//! The same commands while no host runs: they change `plugins.lock`, and the next start does the rest.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    super::{CliError, Context, Exit},
    check, left_out,
};
use crate::plugin::{
    crashes::Crashes,
    lock::{Lock, LockError, LockRefusal, Standing},
    registry::ChangeError,
};

fn refused(refusal: &LockRefusal) -> CliError {
    let code = match refusal {
        LockRefusal::Held { .. } => "PLUGIN_DOES_NOT_FIT",
        _ => "PLUGIN_NOT_ACCEPTED",
    };
    CliError::of(code, Exit::Failed, refusal)
}

fn unusable(error: &LockError) -> CliError {
    CliError::of("PLUGINS_LOCK", Exit::BadData, error)
}

pub(super) fn open(context: &Context) -> Result<(Lock, std::path::PathBuf), CliError> {
    let path = context.directory()?.join("plugins.lock");
    let lock = Lock::read(&path).map_err(|error| unusable(&error))?;
    Ok((lock, path))
}

pub(super) fn enable(context: &Context, id: &str) -> Result<Value, CliError> {
    let (mut lock, path) = open(context)?;
    let (plugins, refusals) = check::checked(context)?;
    let plugin = plugins
        .into_iter()
        .find(|plugin| plugin.manifest.id == id)
        .ok_or_else(|| {
            let mut error = CliError::new(
                "PLUGIN_NOT_FOUND",
                Exit::Failed,
                format!("no file in the plugin directory is the plugin {id}"),
            );
            error.causes = refusals;
            error
        })?;
    let (config, _) = context.config()?;
    let crashes = Crashes::look(&config.state_directory());
    if let Some(reason) = crashes.quarantined(id, &plugin.sha256) {
        return Err(ChangeError::Quarantined(reason).into());
    }
    lock.may_have(&plugin.manifest)
        .map_err(|refusal| refused(&refusal))?;
    match lock
        .admit(&plugin.manifest, &plugin.sha256)
        .map_err(|refusal| refused(&refusal))?
    {
        Standing::New => lock.accept(&plugin.manifest, plugin.sha256, plugin.signer()),
        Standing::Disabled | Standing::Enabled => lock
            .set_enabled(id, true)
            .map_err(|refusal| refused(&refusal))?,
    }
    lock.write(&path).map_err(|error| unusable(&error))?;
    Ok(json!({
        "id": id, "version": plugin.manifest.version, "offline": true,
        "granted": plugin.manifest.requires.shown(),
    }))
}

pub(super) fn disable(context: &Context, id: &str) -> Result<Value, CliError> {
    let (mut lock, path) = open(context)?;
    lock.set_enabled(id, false)
        .map_err(|refusal| refused(&refusal))?;
    lock.write(&path).map_err(|error| unusable(&error))?;
    Ok(json!([{"id": id, "offline": true}]))
}

pub(super) fn list(context: &Context) -> Result<Value, CliError> {
    let (lock, _) = open(context)?;
    let left_out: BTreeMap<String, String> = left_out(context)?.into_iter().collect();
    let (plugins, refusals) = check::checked(context)?;
    let mut rows: Vec<Value> = plugins
        .iter()
        .map(|plugin| {
            let enabled = lock.plugins.get(&plugin.manifest.id).is_some_and(|locked| locked.enabled);
            let reason = left_out.get(&plugin.manifest.id);
            let state = match reason {
                Some(_) => "quarantined",
                None if lock.plugins.contains_key(&plugin.manifest.id) => "stopped",
                None => "discovered",
            };
            json!({
                "id": plugin.manifest.id, "version": plugin.manifest.version, "enabled": enabled,
                "state": state, "reason": reason,
                "description": plugin.manifest.description, "command": plugin.manifest.command, "sha256": plugin.sha256.to_string(),
                "signer": check::signer(plugin),
            })
        })
        .collect();
    rows.extend(refusals.into_iter().map(|reason| {
        let id = reason.split(':').next().unwrap_or_default().to_owned();
        json!({"id": id, "state": "failed", "reason": reason})
    }));
    Ok(Value::Array(rows))
}
