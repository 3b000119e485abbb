//! `nself init`

use std::path::PathBuf;

use super::{CliError, Context};
use crate::config::project::{self, InitReport, Template};

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
    let report = project::init(&directory, args.template)?;
    context.output.answer(&report, || text(&report))
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
