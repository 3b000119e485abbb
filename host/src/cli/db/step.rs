//! `nself db new`

use serde_json::json;

use super::{
    super::{CliError, Context},
    New,
};
use crate::{
    config::project,
    migrate::files,
    run::{MIGRATIONS, RunError},
};

pub(super) fn create(context: &Context, args: &New) -> Result<(), CliError> {
    let directory = context.directory()?;
    let paths = files::create(&directory.join(MIGRATIONS), &step_name(&args.name));
    let paths = paths.map_err(RunError::from)?;
    let next = if project::is_checkout(&directory) {
        "fill them, and add them to the table in host/src/migrate/embedded.rs"
    } else {
        "fill them, then: nself db migrate up"
    };
    let files = paths.map(|path| {
        path.strip_prefix(&directory)
            .map_or(path.clone(), Into::into)
    });
    context.output.answer(&json!({"files": files}), || {
        let lines = files.map(|file| format!("wrote {}\n", file.display()));
        format!("{}next: {next}\n", lines.concat())
    })
}

/// `Add notes` is the step `add_notes`.
fn step_name(words: &[String]) -> String {
    let letters = words.join(" ").to_lowercase();
    let words: Vec<&str> = letters.split([' ', '-', '_']).collect();
    words
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
}
