//! `nself log-level`

use serde_json::json;

use super::{CliError, Context, client};

/// Show or change what the running host logs, its plugins included, until it ends.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct LogLevelArgs {
    /// off, error, warn, info, debug, trace, or a list such as `info,plugin=debug` [default: show it]
    pub(super) filter: Option<String>,
}

pub(super) fn run(context: &Context, args: &LogLevelArgs) -> Result<(), CliError> {
    let done = client::request(context, "log.level", json!({"filter": args.filter}))?;
    context.output.answer(&done, || {
        let filter = done["filter"].as_str().unwrap_or_default();
        match done["before"].as_str() {
            Some(before) => format!("{before} -> {filter}, until the host ends\n"),
            None => format!("{filter}\n"),
        }
    })
}
