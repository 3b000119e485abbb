//! `nself plugin check` and `inspect`: what a file says, without running any of it.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::super::{CliError, Context, Exit};
use crate::loader::{CheckedPlugin, Host, Signed, Signer, System, Trust, check, discover};
use crate::plugin::{manifest::Families, trust};

/// The files of the plugin directory, and why one is not even looked at.
pub(super) fn discovered(context: &Context) -> Result<(Vec<PathBuf>, Vec<String>), CliError> {
    let (config, _) = context.config()?;
    let discovered = discover(&config.plugins_directory())
        .map_err(|fault| CliError::of("PLUGIN_DIRECTORY", Exit::Permission, &fault))?;
    Ok((
        discovered.files,
        discovered.refused.iter().map(ToString::to_string).collect(),
    ))
}

/// Whose signatures count in this project.
pub(super) fn trusted(context: &Context) -> Result<Trust, CliError> {
    let (config, _) = context.config()?;
    Ok(trust::of(&config))
}

/// Every plugin of the directory that passes, and the refusals.
pub(super) fn checked(context: &Context) -> Result<(Vec<CheckedPlugin>, Vec<String>), CliError> {
    let (system, trust) = (System::detect(), trusted(context)?);
    let (files, mut refused) = discovered(context)?;
    let mut plugins = Vec::new();
    for file in files {
        match check(&file, &Host::this(&system, &trust)) {
            Ok(plugin) => plugins.push(plugin),
            Err(refusal) => refused.push(refusal.to_string()),
        }
    }
    Ok((plugins, refused))
}

pub(super) fn run(context: &Context, files: &[PathBuf]) -> Result<(), CliError> {
    let (files, mut refused) = if files.is_empty() {
        discovered(context)?
    } else {
        (files.to_vec(), Vec::new())
    };
    let (system, trust) = (System::detect(), trusted(context)?);
    let mut passed = Vec::new();
    for file in &files {
        match check(file, &Host::this(&system, &trust)) {
            Ok(plugin) => passed.push(json!({
                "file": file, "id": plugin.manifest.id, "version": plugin.manifest.version,
                "sha256": plugin.sha256.to_string(), "signer": signer(&plugin), "warnings": plugin.warnings,
            })),
            Err(refusal) => refused.push(refusal.to_string()),
        }
    }
    let answer = json!({"passed": passed, "refused": refused});
    context.output.answer(&answer, || text(&answer))?;
    if refused.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} of {} files are refused",
        refused.len(),
        passed.len() + refused.len()
    );
    Err(CliError::new("PLUGIN_REFUSED", Exit::BadData, message))
}

fn text(answer: &Value) -> String {
    let mut text = String::new();
    for plugin in answer["passed"].as_array().into_iter().flatten() {
        let word = |key: &str| plugin[key].as_str().unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "good     {} {} {}",
            word("id"),
            word("version"),
            word("file")
        );
        for warning in plugin["warnings"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "warning  {}", warning.as_str().unwrap_or_default());
        }
    }
    for refusal in answer["refused"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "refused  {}", refusal.as_str().unwrap_or_default());
    }
    text
}

pub(super) fn inspect(context: &Context, subject: &str) -> Result<(), CliError> {
    let path = Path::new(subject);
    let plugin = if path.is_file() {
        check(path, &Host::this(&System::detect(), &trusted(context)?))
            .map_err(|refusal| CliError::of("PLUGIN_REFUSED", Exit::BadData, &refusal))?
    } else {
        let (plugins, refused) = checked(context)?;
        plugins
            .into_iter()
            .find(|plugin| plugin.manifest.id == subject)
            .ok_or_else(|| {
                let mut error = CliError::new(
                    "PLUGIN_NOT_FOUND",
                    Exit::Failed,
                    format!("no plugin {subject} in the plugin directory"),
                );
                error.causes = refused;
                error
            })?
    };
    // A file can be looked at outside of every project.
    let left_out = super::left_out(context).unwrap_or_default().into_iter();
    let quarantined = left_out
        .filter(|(id, _)| *id == plugin.manifest.id)
        .map(|(_, reason)| reason)
        .next();
    let answer = json!({
        "quarantined": quarantined, "file": plugin.path, "sha256": plugin.sha256.to_string(), "signer": signer(&plugin), "manifest": plugin.manifest,
    });
    context.output.answer(&answer, || {
        let reason = quarantined.map(|reason| format!("\n{reason}\n"));
        described(&plugin) + &reason.unwrap_or_default()
    })
}

/// Who signed it, for answers.
pub(super) fn signer(plugin: &CheckedPlugin) -> Option<Signer> {
    plugin.signed.as_ref().map(Signed::signer)
}

/// The manifest for people.
fn described(plugin: &CheckedPlugin) -> String {
    let manifest = &plugin.manifest;
    let mut text = format!(
        "{} {}  {}\nsha256   {}\nsigned   {}\nboundary {}.{}, built with nself-plugin-api {}\n",
        manifest.id,
        manifest.version,
        manifest.description,
        plugin.sha256,
        plugin.signed.as_ref().map_or_else(
            || "by nobody who is trusted here".to_owned(),
            |signed| format!("by {}", signed.signer)
        ),
        manifest.abi.major,
        manifest.abi.needs,
        manifest.build.api
    );
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{title}");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        }
    };
    let requires = &manifest.requires;
    let mut asks = requires.capabilities.clone();
    asks.extend(
        requires
            .tables
            .iter()
            .map(|grant| format!("{} on {}", grant.rights.join(", "), grant.table)),
    );
    asks.extend(
        requires
            .egress
            .iter()
            .map(|host| format!("requests to {host}")),
    );
    asks.extend(requires.secrets.iter().map(|name| format!("secret {name}")));
    asks.extend(requires.ports.iter().map(|port| format!("port {port}")));
    asks.extend(requires.emits.iter().map(|kind| format!("events {kind}")));
    if !requires.families.is_active() {
        asks.push(Families::ALL_SHOWN.to_owned());
    }
    section("requires", asks);
    section("uses where provided", requires.optional.clone());
    let functions = manifest.functions.iter();
    let functions = functions.map(|one| format!("{} with {}", one.signature, one.capability));
    section(
        "provides",
        manifest.provides.iter().cloned().chain(functions).collect(),
    );
    section(
        "depends on",
        manifest
            .depends
            .iter()
            .map(|d| format!("{} {}", d.id, d.version))
            .collect(),
    );
    section(
        "routes",
        manifest
            .routes
            .iter()
            .map(|r| format!("{:<7}{:<32} {}", r.method, r.path, access(&r.access)))
            .collect(),
    );
    section(
        "tasks",
        manifest
            .tasks
            .iter()
            .map(|t| format!("{} every {} ms", t.name, t.every_ms))
            .collect(),
    );
    section(
        "subscriptions",
        manifest
            .subscriptions
            .iter()
            .map(|s| format!("{}: {}", s.name, s.types.join(", ")))
            .collect(),
    );
    section(
        "schedules",
        manifest
            .schedules
            .iter()
            .map(|s| format!("{}: {} {}", s.name, s.cron, s.timezone))
            .collect(),
    );
    section(
        "kinds of jobs",
        manifest.jobs.iter().map(|job| job.kind.clone()).collect(),
    );
    section(
        "migrations",
        manifest
            .migrations
            .iter()
            .map(|m| format!("{:04} {}", m.number, m.name))
            .collect(),
    );
    text
}

fn access(access: &crate::plugin::manifest::Access) -> String {
    match serde_json::to_value(access) {
        Ok(Value::String(word)) => word,
        Ok(Value::Object(map)) => map
            .into_iter()
            .map(|(word, value)| word + " " + &value.to_string())
            .collect(),
        _ => String::new(),
    }
}
