//! From words to a command and its arguments.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{read_to_string, stdin};

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::Value;

use super::Offered;
use crate::plugin::manifest::{Argument, ArgumentKind, Command};

/// A command with what was given to it.
pub(super) struct Call<'a> {
    pub(super) command: &'a Command,
    pub(super) values: BTreeMap<&'a str, Given>,
}

/// What an argument was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Text(String),
    Integer(i64),
    Flag,
    Json(Value),
}

impl Given {
    /// As it stands in an address.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Flag => "true".to_owned(),
            Self::Json(value) => value.to_string(),
        }
    }
}

/// Why words that begin with a plugin's name are no call.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The plugin's commands were asked for.
    Help(String),
    /// It has no such command; what it has instead.
    Unknown { message: String, known: String },
    /// The command was given something else than it takes, or its help was asked for.
    Arguments(clap::Error),
}

impl Call<'_> {
    /// What is to be asked before.
    pub(super) fn question(&self) -> Option<String> {
        let mut question = self.command.confirm.clone();
        for (name, given) in &self.values {
            question = question.replace(&format!("{{{name}}}"), &given.text());
        }
        (!question.is_empty()).then_some(question)
    }
}

/// The command that the words name, and its arguments; `None` when they name nothing of a plugin.
///
/// The first word is a plugin, or what its commands are called under. Where it is none, it may be left out: then the words have to be a command of exactly one.
pub(super) fn parse<'a>(
    offered: &'a [Offered],
    words: &[String],
) -> Option<Result<Call<'a>, Refusal>> {
    let first = words.first()?;
    if let Some(plugin) = offered
        .iter()
        .find(|plugin| plugin.id == *first || plugin.called() == first)
    {
        return Some(within(plugin, &words[1..]));
    }
    let mut having = offered
        .iter()
        .filter(|plugin| longest(plugin, words).is_some());
    let (plugin, other) = (having.next()?, having.next());
    other.is_none().then(|| within(plugin, words))
}

/// The command whose name is the longest beginning of the words.
fn longest<'a>(plugin: &'a Offered, words: &[String]) -> Option<(&'a Command, usize)> {
    let named = plugin.commands.iter().filter_map(|command| {
        let name: Vec<&str> = command.name.split(' ').collect();
        let is_it = words.len() >= name.len() && name.iter().zip(words).all(|(a, b)| a == b);
        is_it.then_some((command, name.len()))
    });
    named.max_by_key(|(_, length)| *length)
}

fn within<'a>(plugin: &'a Offered, words: &[String]) -> Result<Call<'a>, Refusal> {
    let Some((command, length)) = longest(plugin, words) else {
        let known = group(plugin, words);
        let is_help = |word: &String| matches!(word.as_str(), "--help" | "-h" | "help");
        return Err(if words.last().is_none_or(is_help) {
            Refusal::Help(known)
        } else {
            let message = format!("{} has no command `{}`", plugin.called(), words.join(" "));
            Refusal::Unknown { message, known }
        });
    };
    let words = words[length..].iter().cloned();
    let matches = grammar(plugin, command)
        .try_get_matches_from(std::iter::once(command.name.clone()).chain(words))
        .map_err(Refusal::Arguments)?;
    Ok(Call {
        values: values(command, &matches),
        command,
    })
}

fn grammar(plugin: &Offered, command: &Command) -> clap::Command {
    let name = format!("nself {} {}", plugin.called(), command.name);
    let mut grammar = clap::Command::new(name.clone())
        .bin_name(name)
        .about(command.summary.clone())
        .max_term_width(100)
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object instead of text, errors included"),
        )
        .arg(
            Arg::new("project")
                .long("project")
                .value_name("DIR")
                .help("The project's directory"),
        )
        .arg(
            Arg::new("yes")
                .long("yes")
                .short('y')
                .action(ArgAction::SetTrue)
                .help("Answer yes to every question"),
        );
    for argument in &command.arguments {
        grammar = grammar.arg(rule(command, argument));
    }
    grammar
}

fn rule(command: &Command, argument: &Argument) -> Arg {
    let arg = Arg::new(argument.name.clone()).help(argument.summary.clone());
    let shown = argument.name.to_uppercase();
    if command.is_in_path(argument) || argument.kind == ArgumentKind::File {
        return arg.value_name(shown).required(true);
    }
    let arg = arg
        .long(argument.name.replace('_', "-"))
        .required(argument.required);
    match argument.kind {
        ArgumentKind::Flag => arg.action(ArgAction::SetTrue).required(false),
        ArgumentKind::Integer => arg
            .value_name("NUMBER")
            .value_parser(clap::value_parser!(i64)),
        ArgumentKind::Json => arg.value_name("JSON").value_parser(json),
        ArgumentKind::Text | ArgumentKind::File => arg.value_name(shown),
    }
}

/// JSON, or what stands in the file after an `@`.
fn json(given: &str) -> Result<Value, String> {
    let text = match given.strip_prefix('@') {
        None => given.to_owned(),
        Some("-") => read_to_string(stdin()).map_err(|error| error.to_string())?,
        Some(path) => fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
    };
    serde_json::from_str(&text).map_err(|error| format!("it is not JSON: {error}"))
}

fn values<'a>(command: &'a Command, matches: &ArgMatches) -> BTreeMap<&'a str, Given> {
    let given = |argument: &Argument| match argument.kind {
        ArgumentKind::Flag => matches.get_flag(&argument.name).then_some(Given::Flag),
        ArgumentKind::Integer => matches
            .get_one::<i64>(&argument.name)
            .copied()
            .map(Given::Integer),
        ArgumentKind::Json => matches
            .get_one::<Value>(&argument.name)
            .cloned()
            .map(Given::Json),
        ArgumentKind::Text | ArgumentKind::File => matches
            .get_one::<String>(&argument.name)
            .cloned()
            .map(Given::Text),
    };
    let arguments = command.arguments.iter();
    arguments
        .filter_map(|argument| Some((argument.name.as_str(), given(argument)?)))
        .collect()
}

/// Commands of a plugin that begin with the words, or all of them when none does.
fn group(plugin: &Offered, words: &[String]) -> String {
    let begins = |command: &&Command| {
        let mut name = command.name.split(' ');
        let words = words.iter().filter(|word| !word.starts_with('-'));
        words.into_iter().all(|word| name.next() == Some(word))
    };
    let mut commands: Vec<&Command> = plugin.commands.iter().filter(begins).collect();
    if commands.is_empty() {
        commands = plugin.commands.iter().collect();
    }
    let width = commands.iter().map(|command| command.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = format!(
        "{}\n\nUsage: nself {} <COMMAND>\n\nCommands:\n",
        plugin.description,
        plugin.called()
    );
    for command in commands {
        writeln!(text, "  {:<width$}  {}", command.name, command.summary)
            .expect("a string takes all text");
    }
    text
}

/// All plugins with commands, for the help of the whole.
pub(super) fn summary(offered: &[Offered]) -> String {
    let width = offered.iter().map(|plugin| plugin.called().len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::from("Commands of the plugins that run:\n");
    for plugin in offered {
        let (name, description) = (plugin.called(), &plugin.description);
        writeln!(text, "  {name:<width$}  {description}").expect("a string takes all text");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;
    use serde_json::json;

    use super::*;

    fn offered() -> Vec<Offered> {
        let notes = json!({"id": "notes", "name": "note", "description": "Notes", "commands": [
            {"name": "list", "summary": "List", "method": "GET", "path": "/notes", "arguments": [
                {"name": "query", "kind": "text"}, {"name": "limit", "kind": "integer"}, {"name": "with", "kind": "json"}]},
            {"name": "list remove", "method": "DELETE", "path": "/notes/{id}", "confirm": "Remove {id}?", "arguments": [
                {"name": "id", "kind": "text"}, {"name": "now", "kind": "flag"}]},
            {"name": "log", "method": "GET", "path": "/log"},
        ]});
        let other =
            json!({"id": "other", "commands": [{"name": "log", "method": "GET", "path": "/log"}]});
        serde_json::from_value(json!([notes, other])).expect("they read")
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(line: &str, expected: Option<Result<&str, &str>>) {
        let offered = offered();
        let parsed = parse(&offered, &words(line));
        let parsed = parsed.as_ref().map(|parsed| match parsed {
            Ok(call) => Ok(call.command.name.as_str()),
            Err(Refusal::Help(_)) => Err("help"),
            Err(Refusal::Unknown { .. }) => Err("unknown"),
            Err(Refusal::Arguments(error)) if error.kind() == ErrorKind::DisplayHelp => Err("help"),
            Err(Refusal::Arguments(_)) => Err("arguments"),
        });
        assert_eq!(parsed, expected, "{line}");
    }

    #[test]
    fn the_longest_name_is_meant() {
        check("notes list", Some(Ok("list")));
        check("note list", Some(Ok("list")));
        check("notes list --query x --limit 3", Some(Ok("list")));
        check("notes list remove 1", Some(Ok("list remove")));
        for wrong in ["list --limit x", "list remove", "list --now"] {
            check(&format!("notes {wrong}"), Some(Err("arguments")));
        }
    }

    #[test]
    fn the_plugin_may_be_left_out_where_one_has_the_command() {
        check("list remove 1 --now", Some(Ok("list remove")));
        check("log", None);
        check("other log", Some(Ok("log")));
        check("lisst", None);
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        for line in ["notes", "notes --help", "notes help", "notes list --help"] {
            check(line, Some(Err("help")));
        }
        check("notes nothing", Some(Err("unknown")));
    }

    #[test]
    fn json_is_given_as_such_or_in_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "{\"cup\": 2}").expect("it is written");
        for (given, expected) in [
            ("[1]".to_owned(), Some(json!([1]))),
            (
                format!("@{}", file.path().display()),
                Some(json!({"cup": 2})),
            ),
            ("{".to_owned(), None),
            ("@/nowhere".to_owned(), None),
        ] {
            let offered = offered();
            let words = words(&format!("note list --with {given}"));
            let parsed = parse(&offered, &words).expect("it is a command");
            let with = parsed.ok().map(|call| call.values["with"].clone());
            assert_eq!(with, expected.map(Given::Json), "{given}");
        }
    }

    #[test]
    fn a_question_names_what_was_given() {
        let offered = offered();
        let call = parse(&offered, &words("notes list remove 7 --now")).expect("it is a command");
        let call = call.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert_eq!(call.question().as_deref(), Some("Remove 7?"));
        assert_eq!(call.values["now"], Given::Flag);
    }
}
