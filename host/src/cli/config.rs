//! `nself config`: the effective values, and where each came from, the secrets' files among them; keys of operators.

mod key;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::{CliError, Context, Exit, Table};
use crate::config::{Config, Origin, secrets::Secrets, shown};

/// Shows the effective configuration. Secrets are masked; those that are files are listed as `secrets.files.<name>`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<ConfigCommand>,
    /// Only this key, or the keys below it: `http`, `plugins.auth`
    key: Option<String>,
    /// Only what somebody stated, without defaults
    #[arg(long)]
    stated: bool,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigCommand {
    /// Make an API key for an operator or a service, show it once, and keep its digest in nself.toml
    Key(key::KeyArgs),
}

#[derive(Debug, Serialize)]
struct Row {
    key: String,
    value: Value,
    from: String,
    stated: bool,
}

pub(super) fn run(context: &Context, args: &ConfigArgs) -> Result<(), CliError> {
    if let Some(ConfigCommand::Key(args)) = &args.command {
        return key::run(context, args);
    }
    let (config, provenance) = context.config()?;
    let settings = shown(&config, &provenance).into_iter();
    let rows: Vec<Row> = settings
        .map(|(key, value, origin)| Row {
            key,
            value,
            from: origin.to_string(),
            stated: origin != Origin::Default,
        })
        .chain(secret_files(&config)?)
        .filter(|row| row.stated || !args.stated)
        .filter(|row| {
            args.key
                .as_ref()
                .is_none_or(|wanted| is_at_or_below(&row.key, wanted))
        })
        .collect();
    if let Some(key) = args
        .key
        .as_ref()
        .filter(|_| rows.is_empty() && !args.stated)
    {
        let error = CliError::new("CONFIG_NO_SUCH_KEY", Exit::Usage, format!("no key `{key}`"));
        return Err(error.with_help("`nself config` lists every key"));
    }
    context.output.answer(&rows, || {
        let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
        for row in &rows {
            table.row([row.key.clone(), text(&row.value), row.from.clone()]);
        }
        context.output.table(&table)
    })
}

/// Where each secret comes from that is a file.
fn secret_files(config: &Config) -> Result<Vec<Row>, CliError> {
    let files = Secrets::files(config)?.into_iter();
    let row = |(name, file): (String, PathBuf)| Row {
        key: format!("secrets.files.{name}"),
        value: Value::from("***"),
        from: file
            .strip_prefix(&config.directory)
            .unwrap_or(&file)
            .display()
            .to_string(),
        stated: true,
    };
    Ok(files.map(row).collect())
}

fn is_at_or_below(key: &str, wanted: &str) -> bool {
    key.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
