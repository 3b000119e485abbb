//! `nself status`

use serde_json::{Value, json};

use super::{CliError, Context, Exit, Table, client};

/// Show each part: state, version, and what is wrong. Exit code 4 when something does not run.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StatusArgs {
    /// Print nothing: the exit code tells
    #[arg(long, short)]
    pub quiet: bool,
}

pub(super) fn run(context: &Context, args: &StatusArgs) -> Result<(), CliError> {
    let status = match client::request(context, "status", Value::Null) {
        Ok(status) => status,
        Err(error) if error.code == "HOST_NOT_RUNNING" => {
            return not_running(context, args, &error);
        }
        Err(error) => return Err(error),
    };
    if !args.quiet {
        context.output.answer(&status, || text(context, &status))?;
    }
    if status["healthy"] == json!(true) {
        return Ok(());
    }
    Err(CliError::new(
        "UNHEALTHY",
        Exit::Unhealthy,
        "something that should run does not",
    )
    .with_help("see the reasons with `nself plugin list`"))
}

fn not_running(context: &Context, args: &StatusArgs, error: &CliError) -> Result<(), CliError> {
    let mut error = error.clone();
    error.exit = Exit::Unhealthy;
    if args.quiet && !context.output.is_json() {
        "not running".clone_into(&mut error.message);
    }
    Err(error)
}

fn text(context: &Context, status: &Value) -> String {
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut table = Table::new(&["PART", "STATE", "VERSION", "NOTE"]);
    table.row([
        "host".into(),
        "started".into(),
        word(&status["version"]),
        format!(
            "pid {}, up {} s, {}",
            status["pid"],
            status["uptime_s"],
            word(&status["gateway"])
        ),
    ]);
    table.row([
        "postgres".into(),
        word(&status["database_state"]),
        String::new(),
        word(&status["database"]),
    ]);
    for plugin in status["plugins"].as_array().into_iter().flatten() {
        table.row(super::plugin::list_row(plugin));
    }
    context.output.table(&table)
}
