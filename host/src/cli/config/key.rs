//! `nself config key`

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use serde_json::json;

use super::super::{CliError, Context, Exit};
use crate::{
    config::{
        Config, FILE_NAME,
        project::{OPERATOR_SCOPE, api_key_lines},
    },
    identity::NewApiKey,
    whole_file::{PRIVATE, WholeFile},
};

/// `nself config key`
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// Who uses it, such as `ci`
    name: String,
    /// What it may do; can be given several times [default: operator, which is everything]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
}

pub(super) fn run(context: &Context, args: &KeyArgs) -> Result<(), CliError> {
    check_name(&args.name)?;
    let (config, _) = context.config()?;
    if config.identity.api_keys.contains_key(&args.name) {
        let message = format!("there is an API key `{}` already", args.name);
        return Err(
            CliError::new("API_KEY_EXISTS", Exit::Usage, message).with_help(format!(
                "choose another name, or remove [identity.api_keys.{}] from {FILE_NAME} first",
                args.name
            )),
        );
    }
    let scopes = if args.scopes.is_empty() {
        vec![OPERATOR_SCOPE.to_owned()]
    } else {
        args.scopes.clone()
    };
    let key = NewApiKey::generate();
    let lines = api_key_lines(&args.name, &key.sha256, &scopes);
    append(context, &config.directory, &lines)?;
    context.output.note(&format!(
        "the key is shown this once; its digest is in {FILE_NAME}. A running host takes it at its next start"
    ));
    let answer = json!({
        "name": args.name, "key": key.secret.as_str(), "sha256": key.sha256, "scopes": scopes,
    });
    context
        .output
        .answer(&answer, || format!("{}\n", key.secret.as_str()))
}

/// The name is a key of the file, and shown in logs as who called.
fn check_name(name: &str) -> Result<(), CliError> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(fits) {
        return Ok(());
    }
    let message = format!("`{name}` cannot name an API key");
    Err(CliError::new("API_KEY_NAME", Exit::Usage, message)
        .with_help("use up to 64 letters, digits, `-` and `_`"))
}

/// Adds the lines at the end of the file: nothing that somebody wrote there is touched. The new file takes the old one's
/// place only when it reads.
fn append(context: &Context, directory: &Path, lines: &str) -> Result<(), CliError> {
    let path = directory.join(FILE_NAME);
    let failed = |error: &dyn std::error::Error| {
        CliError::of("API_KEY_WRITE", Exit::CannotCreate, error)
            .with_help(format!("make {} writable and try again", path.display()))
    };
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&error)),
        text => text.unwrap_or_default(),
    };
    let separator = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let text = format!("{before}{separator}{lines}");
    if let Err(error) = text.parse::<toml::Table>() {
        // For instance `api_keys = { … }` on one line: a table cannot be added to it from outside.
        return Err(CliError::of("API_KEY_WRITE", Exit::BadData, &error).with_help(format!(
            "write [identity.api_keys.NAME] in {FILE_NAME} as a table of its own, then try again"
        )));
    }
    let mode = fs::metadata(&path).map_or(PRIVATE, |metadata| metadata.mode() & 0o777);
    WholeFile::write(&path, mode, text.as_bytes()).map_err(|error| failed(&error))?;
    // What was written must also mean what it says.
    Config::load(directory, &context.variables)?;
    Ok(())
}
