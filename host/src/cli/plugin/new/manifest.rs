//! `Cargo.toml` of a crate outside of the workspace: what it would inherit is written out.

use std::{fs, path::Path};

use toml::{Table, Value};

use super::super::super::{CliError, Exit};

/// Rewrites `Cargo.toml`, and adds the checkout's `Cargo.lock`: the crate is then built from the same versions of
/// everything, without asking a registry.
pub(super) fn stand_alone(
    files: &mut Vec<(String, String)>,
    checkout: &Path,
) -> Result<(), CliError> {
    let path = checkout.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let workspace: Table = text.parse().map_err(|error| unreadable(&path, &error))?;
    for (_, text) in files.iter_mut().filter(|(path, _)| path == "Cargo.toml") {
        *text = written_out(text, &workspace, checkout);
    }
    if let Ok(lock) = fs::read_to_string(checkout.join("Cargo.lock")) {
        files.push(("Cargo.lock".to_owned(), lock));
    }
    files.push((".gitignore".to_owned(), "/target\n".to_owned()));
    Ok(())
}

/// `KEY.workspace = true` becomes what the workspace says about KEY. A crate that is no member must say that it is a
/// workspace of its own: it may stand below another one. The profiles are the workspace's, so that a shared target
/// directory serves both; but for what they say of single packages, which this crate may not have.
fn written_out(manifest: &str, workspace_manifest: &Table, checkout: &Path) -> String {
    let mut section = "";
    let mut lines = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if section == "[lints]" {
            continue;
        }
        let inherited = line.strip_suffix(".workspace = true").and_then(|key| {
            let table = if section == "[package]" {
                "package"
            } else {
                "dependencies"
            };
            let workspace = workspace_manifest.get("workspace")?;
            Some((key, workspace.get(table)?.get(key)?))
        });
        lines.push(match inherited {
            Some((key, value)) => format!("{key} = {}", from_anywhere(value, checkout)),
            None => line.to_owned(),
        });
    }
    let profiles = workspace_manifest
        .get("profile")
        .map(|profile| Table::from_iter([("profile".to_owned(), without_packages(profile))]))
        .and_then(|profiles| toml::to_string(&profiles).ok());
    format!(
        "{}\n\n[workspace]\n\n{}",
        lines.join("\n"),
        profiles.unwrap_or_default()
    )
}

/// cargo warns of each package that is named and not there.
fn without_packages(profiles: &Value) -> Value {
    let mut profiles = profiles.clone();
    for (_, profile) in profiles.as_table_mut().into_iter().flatten() {
        if let Some(packages) = profile.get_mut("package").and_then(Value::as_table_mut) {
            packages.retain(|name, _| name == "*");
        }
    }
    profiles
}

/// A path in the workspace's manifest is relative to it.
fn from_anywhere(value: &Value, checkout: &Path) -> Value {
    let mut value = value.clone();
    if let Some(Value::String(path)) = value.get_mut("path") {
        *path = checkout.join(&*path).display().to_string();
    }
    value
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> CliError {
    let message = format!("cannot read {}", path.display());
    CliError::new("PLUGIN_CHECKOUT", Exit::BadData, message)
        .with_cause(error.to_string())
        .with_help("name a checkout of nself: --checkout DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_inherits_is_written_out() {
        let workspace = "[workspace.package]\nversion = \"0.1.0\"\n[workspace.dependencies]\nserde = { version = \"1\", features = [\"derive\"] }\napi = { path = \"plugin-api\" }\n[profile.dev]\ndebug = false\n";
        let workspace: Table = workspace.parse().expect("TOML");
        let manifest = "[package]\nname = \"x\"\nversion.workspace = true\n\n[lints]\nworkspace = true\n\n[dependencies]\napi.workspace = true\nserde.workspace = true\n";
        let expected = "[package]\nname = \"x\"\nversion = \"0.1.0\"\n\n[dependencies]\napi = { path = \"/n/plugin-api\" }\nserde = { features = [\"derive\"], version = \"1\" }\n\n[workspace]\n\n[profile.dev]\ndebug = false\n";
        assert_eq!(written_out(manifest, &workspace, Path::new("/n")), expected);
    }
}
