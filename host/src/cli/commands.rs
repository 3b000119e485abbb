//! Commands of plugins: `nself PLUGIN COMMAND`. They are rows of the plugins' manifests; what is here knows how a row
//! becomes a command line, a request and a table, and knows no plugin.

mod parser;
mod pinned;
mod request;
mod show;
mod tail;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use self::parser::Refusal;
use super::{CliError, Context, Exit, Output, client};
use crate::config::Variables;
use crate::plugin::manifest::Command;

/// A running plugin that adds commands.
#[derive(Debug, Deserialize)]
pub(super) struct Offered {
    /// The plugin.
    pub(super) id: String,
    /// What its commands are called under; the id when empty.
    #[serde(default)]
    name: String,
    /// What it does.
    #[serde(default)]
    pub(super) description: String,
    /// Its commands.
    pub(super) commands: Vec<Command>,
}

impl Offered {
    /// What its commands are called under.
    pub(super) fn called(&self) -> &str {
        if self.name.is_empty() {
            &self.id
        } else {
            &self.name
        }
    }
}

/// Flags that are understood anywhere: those that stand after a plugin's name have not been read yet.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) json: bool,
    pub(super) yes: bool,
    pub(super) project: Option<PathBuf>,
}

impl Globals {
    /// Takes them out of `words`, up to a `--`.
    pub(super) fn take(words: Vec<OsString>) -> (Self, Vec<String>) {
        let mut globals = Self::default();
        let mut rest = Vec::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.to_string_lossy().as_ref() {
                "--json" => globals.json = true,
                "--yes" | "-y" => globals.yes = true,
                "--project" => globals.project = words.next().map(PathBuf::from),
                "--" => {
                    rest.push("--".to_owned());
                    rest.extend(
                        words
                            .by_ref()
                            .map(|word| word.to_string_lossy().into_owned()),
                    );
                }
                other => match other.strip_prefix("--project=") {
                    Some(project) => globals.project = Some(PathBuf::from(project)),
                    None => rest.push(other.to_owned()),
                },
            }
        }
        (globals, rest)
    }
}

/// What the running plugins offer.
fn offered(context: &Context) -> Result<Vec<Offered>, CliError> {
    let offered = client::request(context, "plugin.commands", Value::Null)?;
    serde_json::from_value(offered)
        .map_err(|error| CliError::of("HOST_LOST", Exit::Unavailable, &error))
}

/// For the end of `nself --help`: the plugins that add commands, as far as a host runs in the project.
pub(super) fn summary(words: &[OsString], variables: &Variables) -> Option<String> {
    let (globals, rest) = Globals::take(words.iter().skip(1).cloned().collect());
    let asks = matches!(
        rest.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ["--help" | "-h" | "help"]
    );
    if !asks {
        return None;
    }
    let output = Output::new(globals.json, variables);
    let context = Context::new(output, variables.clone(), globals.project, false);
    let offered = offered(&context)
        .ok()
        .filter(|offered| !offered.is_empty())?;
    Some(parser::summary(&offered))
}

/// What became of words that may be a command of a plugin.
pub(super) enum Ran {
    /// It was one.
    Done,
    /// It was one, and its arguments are wrong, or its help was asked for.
    Refused(clap::Error),
    /// It was none: a typing error, most likely.
    Nobodys,
}

/// Runs `words`, if they are a command of a plugin.
///
/// # Errors
///
/// As the plugin answers, and when the host does not run.
pub(super) fn run(context: &Context, words: &[String]) -> Result<Ran, CliError> {
    let offered = match offered(context) {
        Ok(offered) => offered,
        // Without an answer only the files tell whether a plugin is meant or a word is misspelt.
        Err(error) => {
            let mut known = words.iter().take(1);
            let is_plugin = known.any(|id| super::plugin::is_known(context, id));
            return if is_plugin {
                Err(error)
            } else {
                Ok(Ran::Nobodys)
            };
        }
    };
    let call = match parser::parse(&offered, words) {
        None => return Ok(Ran::Nobodys),
        Some(Err(Refusal::Arguments(error))) => return Ok(Ran::Refused(error)),
        Some(Err(Refusal::Help(text))) => {
            let answer = context
                .output
                .answer(&json!({"help": text}), || text.clone());
            return answer.map(|()| Ran::Done);
        }
        Some(Err(Refusal::Unknown { message, known })) => {
            return Err(CliError::new("USAGE", Exit::Usage, message).with_help(known.trim_end()));
        }
        Some(Ok(call)) => call,
    };
    if let Some(question) = call.question() {
        context.confirm(&question)?;
    }
    if call.command.is_tail {
        return tail::follow(context, &call).map(|()| Ran::Done);
    }
    let print = |chunk: &[u8]| context.output.chunk(chunk);
    if let Some(answer) = request::send(context, &call, print)? {
        show::answer(context, call.command, &answer)?;
    }
    Ok(Ran::Done)
}
