//! `nself init`

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{CliError, Context, Exit};
use crate::config::FILE_NAME;
use crate::config::project::{self, InitReport, Template};
use crate::identity::NewApiKey;

/// Makes a project. What is there already is never changed.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// Where [default: --project, else here]
    dir: Option<PathBuf>,
    /// What to start with
    #[arg(long, value_enum, default_value_t)]
    template: Template,
}

pub(super) fn run(context: &Context, args: &InitArgs) -> Result<(), CliError> {
    let stated = args.dir.as_ref().or(context.stated_directory());
    let directory = stated.cloned().unwrap_or_else(|| PathBuf::from("."));
    let (report, key) = make(&directory, args.template)?;
    let mut answer = serde_json::to_value(&report)
        .map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    if let Some(key) = &key {
        answer["operator_key"] = key.as_str().into();
    }
    context.output.answer(&answer, || {
        let told = key.map(|key| shown_once(&key));
        told.unwrap_or_default() + &text(&report)
    })
}

/// Makes a project, with an API key for its operator when there was none before. The key is not kept anywhere: whoever
/// calls shows it.
pub(super) fn make(
    directory: &Path,
    template: Template,
) -> Result<(InitReport, Option<Zeroizing<String>>), CliError> {
    let key = NewApiKey::generate();
    let report = project::init(directory, template, Some(&key.sha256))?;
    let is_new = report.created.iter().any(|name| name == FILE_NAME);
    Ok((report, is_new.then_some(key.secret)))
}

/// The operator's login, for a terminal.
pub(super) fn shown_once(key: &str) -> String {
    format!(
        "operator's API key: {key}\n  shown this once, and kept by nobody: put it into a password manager. As a header: x-api-key: KEY\n  \
         lost it? nself config key operator2\n"
    )
}

fn text(report: &InitReport) -> String {
    let mut text = String::new();
    for (word, names) in [
        ("created", &report.created),
        ("kept", &report.kept),
        ("generated secret", &report.secrets),
    ] {
        for name in names {
            text.extend([word, " ", name, "\n"]);
        }
    }
    let here = report.directory.as_os_str() == ".";
    let enter = if here {
        String::new()
    } else {
        format!("cd '{}' && ", report.directory.display())
    };
    text + "next: " + &enter + "nself up\n"
}
