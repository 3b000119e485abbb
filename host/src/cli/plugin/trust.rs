//! `nself plugin trust`: the keys that may sign plugins, in `nself.toml`.

use std::{fs, io, ops::Range, os::unix::fs::MetadataExt as _, path::Path};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::{
    super::{CliError, Context, Exit, Table, client},
    check,
};
use crate::{
    config::{Config, FILE_NAME},
    loader::{Policy, Trust, TrustedKey},
    minisign::PublicKey,
    plugin::trust::listed,
    whole_file::{PUBLIC, WholeFile},
};

/// `nself plugin trust`
#[derive(Debug, Clone, Args)]
pub struct TrustArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TrustCommand,
}

/// What can be done with trusted keys.
#[derive(Debug, Clone, Subcommand)]
pub enum TrustCommand {
    /// List the keys that may sign plugins, and what becomes of files that none of them signed
    List,
    /// Trust a key: what it signs may run here, once it is enabled
    Add(Add),
    /// Trust a key no longer
    Remove(Remove),
}

/// `nself plugin trust add`
#[derive(Debug, Clone, Args)]
pub struct Add {
    /// The public key (RWQ…), or the .pub file that holds it
    #[arg(value_name = "KEY|FILE")]
    pub key: String,
    /// What its holder is called in lists
    #[arg(long)]
    pub name: Option<String>,
}

/// `nself plugin trust remove`
#[derive(Debug, Clone, Args)]
pub struct Remove {
    /// The public key, its number, or its holder's name
    #[arg(value_name = "KEY|ID|NAME")]
    pub key: String,
}

fn refused(exit: Exit, message: impl Into<String>) -> CliError {
    CliError::new("TRUST_KEY", exit, message)
}

pub(super) fn run(context: &Context, args: &TrustArgs) -> Result<(), CliError> {
    match &args.command {
        TrustCommand::List => list(context),
        TrustCommand::Add(args) => add(context, args),
        TrustCommand::Remove(args) => remove(context, args),
    }
}

fn list(context: &Context) -> Result<(), CliError> {
    let Trust { policy, keys } = check::trusted(context)?;
    let policy = match policy {
        Policy::Off => "off",
        Policy::Warn => "warn",
        Policy::Require => "require",
    };
    let row = |trusted: &TrustedKey| json!({"key": trusted.key.to_string(), "key_id": trusted.key.id().to_string(), "name": trusted.name});
    let keys: Vec<Value> = keys.iter().map(row).collect();
    let answer = json!({"signatures": policy, "keys": keys});
    context.output.answer(&answer, || {
        let mut table = Table::new(&["ID", "NAME", "KEY"]);
        for key in &keys {
            table.row(
                ["key_id", "name", "key"]
                    .map(|word| key[word].as_str().unwrap_or_default().to_owned()),
            );
        }
        let keys = if table.is_empty() {
            "no keys: nself plugin trust add KEY\n".to_owned()
        } else {
            context.output.table(&table)
        };
        format!("signatures: {policy}\n{keys}")
    })
}

fn add(context: &Context, args: &Add) -> Result<(), CliError> {
    let key = key_of(&args.key)?;
    let name = args.name.as_deref().unwrap_or_default().trim();
    if name.contains([',', '\n', '\r']) {
        return Err(refused(
            Exit::Usage,
            "a name has neither commas nor line ends",
        ));
    }
    let (config, _) = context.config()?;
    let has = |entry: &&String| listed(entry).is_ok_and(|trusted| trusted.key == key);
    let mut entries = config.plugins.trust.clone();
    if let Some(entry) = entries.iter().find(has) {
        return Err(refused(Exit::Usage, format!("{entry} is trusted already")));
    }
    entries.push(format!("{key} {name}").trim_end().to_owned());
    write(context, &config, &entries)?;
    let trusted = TrustedKey {
        key,
        name: name.to_owned(),
        own: false,
    };
    answer(context, "trusts", &trusted)
}

fn remove(context: &Context, args: &Remove) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let wanted = args.key.trim();
    let is_it = |trusted: &TrustedKey| {
        let names = [
            trusted.key.to_string(),
            trusted.key.id().to_string(),
            trusted.name.clone(),
        ];
        names.iter().any(|name| !name.is_empty() && name == wanted)
    };
    let keys = config
        .plugins
        .trust
        .iter()
        .filter_map(|entry| listed(entry).ok());
    let matching: Vec<TrustedKey> = keys.filter(is_it).collect();
    let [key] = matching.as_slice() else {
        let message = format!("{} keys of the list are {wanted}", matching.len());
        return Err(refused(Exit::Usage, message).with_help(
            "name one by its whole public key: nself plugin trust list; the machine's own goes with .nself/signing.pub",
        ));
    };
    let others = config.plugins.trust.iter();
    let others = others.filter(|entry| listed(entry).is_ok_and(|trusted| trusted.key != key.key));
    let others: Vec<String> = others.cloned().collect();
    write(context, &config, &others)?;
    answer(context, "no longer trusts", key)
}

fn answer(context: &Context, does: &str, key: &TrustedKey) -> Result<(), CliError> {
    let answer =
        json!({"key": key.key.to_string(), "key_id": key.key.id().to_string(), "name": key.name});
    context.output.answer(&answer, || format!("{does} {key}\n"))
}

fn key_of(text: &str) -> Result<PublicKey, CliError> {
    let text = if Path::new(text).is_file() {
        fs::read_to_string(text)
            .map_err(|error| CliError::of("TRUST_KEY", Exit::BadData, &error))?
    } else {
        text.to_owned()
    };
    text.trim()
        .parse()
        .map_err(|error| CliError::of("TRUST_KEY", Exit::BadData, &error))
}

/// Writes the list into the file, in the place of the one that stands there, touches nothing else, and tells a running host.
fn write(context: &Context, config: &Config, entries: &[String]) -> Result<(), CliError> {
    let path = config.directory.join(FILE_NAME);
    let failed = |error: &dyn std::error::Error| {
        CliError::of("TRUST_KEY", Exit::CannotCreate, error)
            .with_help(format!("make {} writable and try again", path.display()))
    };
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
        text => text.unwrap_or_default(),
    };
    let by_hand = || {
        refused(
            Exit::BadData,
            format!("`plugins.trust` cannot be changed in {FILE_NAME}"),
        )
        .with_help(format!(
            "write it by hand: under [plugins], trust = {}",
            toml::Value::from(entries.to_vec())
        ))
    };
    let text = with_list(&before, entries);
    let as_meant = text.parse::<toml::Table>().ok().and_then(|table| {
        let list = table.get("plugins")?.get("trust")?.as_array()?.clone();
        (list == toml::Value::from(entries.to_vec()).as_array()?.clone()).then_some(())
    });
    as_meant.ok_or_else(by_hand)?;
    let mode = fs::metadata(&path).map_or(PUBLIC, |metadata| metadata.mode() & 0o777);
    WholeFile::write(&path, mode, text.as_bytes()).map_err(|error| failed(&error))?;
    let (after, _) = Config::load(&config.directory, &context.variables)?;
    if after.plugins.trust != entries {
        let message = "something goes before nself.toml: the list in force is another one";
        return Err(refused(Exit::Configuration, message)
            .with_help("see where from: nself config plugins.trust"));
    }
    reload(context)
}

/// A running host takes the keys as they are now.
pub(super) fn reload(context: &Context) -> Result<(), CliError> {
    match client::request(context, "plugin.trust", Value::Null) {
        Err(error) if error.code == "HOST_NOT_RUNNING" => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The file with this list in it. Where it cannot be put is told by what comes out: that does not mean the list.
fn with_list(text: &str, entries: &[String]) -> String {
    let list: String = entries.iter().fold(String::new(), |list, entry| {
        list + "\n    " + &toml::Value::from(entry.as_str()).to_string() + ","
    });
    let list = if entries.is_empty() {
        "[]".to_owned()
    } else {
        format!("[{list}\n]")
    };
    if let Some(place) = place_of_list(text) {
        return format!("{}{list}{}", &text[..place.start], &text[place.end..]);
    }
    let is_header = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().collect::<String>() == "[plugins]"
    };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if is_header(line) {
            let end = if line.ends_with('\n') { "" } else { "\n" };
            return format!("{}{end}trust = {list}\n{}", &text[..at], &text[at..]);
        }
    }
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{text}{end}\n[plugins]\ntrust = {list}\n")
}

/// Where the value of `plugins.trust` stands.
fn place_of_list(text: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let DeValue::Table(plugins) = document.get_ref().get("plugins")?.get_ref() else {
        return None;
    };
    Some(plugins.get("trust")?.span())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_list(before: &str, after: &str) {
        assert_eq!(with_list(before, &["A".to_owned()]), after);
    }

    #[test]
    fn the_list_takes_its_place_and_nothing_else_moves() {
        let list = "[\n    \"A\",\n]";
        check_list("", &format!("\n[plugins]\ntrust = {list}\n"));
        check_list(
            "# mine\n[plugins] # here\ndirectory = \"d\"\n",
            &format!("# mine\n[plugins] # here\ntrust = {list}\ndirectory = \"d\"\n"),
        );
        check_list(
            "[plugins]\ntrust = [\"B\", # old\n]\n# after\n",
            &format!("[plugins]\ntrust = {list}\n# after\n"),
        );
        check_list(
            "plugins.trust = []\n[http]",
            &format!("plugins.trust = {list}\n[http]"),
        );
        check_list(
            "[plugins.hello]\nport = 1",
            &format!("[plugins.hello]\nport = 1\n\n[plugins]\ntrust = {list}\n"),
        );
        assert_eq!(
            with_list("[plugins]\ntrust = [\"B\"]\n", &[]),
            "[plugins]\ntrust = []\n"
        );
    }
}
