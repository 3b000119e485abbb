//! Commands: each has a name of its own, is one request to one of the plugin's routes that operators may call, and can be
//! given all that the request needs.

use super::names::{is_id, require, unique};
use crate::loader::refusal::ManifestFault;
use crate::plugin::manifest::{Access, Argument, ArgumentKind, Command, Manifest};

/// Words of a name.
const WORDS_MAX: usize = 4;

/// What the command line itself understands, whatever the command is.
const OWN_FLAGS: [&str; 4] = ["json", "project", "yes", "help"];

pub(super) fn admit(manifest: &Manifest) -> Result<(), ManifestFault> {
    let rule = "what commands are called under is called like a plugin";
    let is_called = manifest.command.is_empty() || is_id(&manifest.command);
    require("command", &manifest.command, is_called, rule)?;
    for command in &manifest.commands {
        named(command)?;
        let reachable = manifest.routes.iter().any(|route| {
            route.method == command.method
                && route.path == command.path
                && matches!(route.access, Access::Operator | Access::Service(_))
        });
        let rule = "it has to be a request to one of the plugin's routes for operators or services";
        require("command", &command.name, reachable, rule)?;
        arguments(command)?;
    }
    let names = manifest.commands.iter();
    unique("command", names.map(|command| command.name.as_str()))
}

fn named(command: &Command) -> Result<(), ManifestFault> {
    let words = command.name.split(' ');
    let is_named = words.clone().count() <= WORDS_MAX && words.clone().all(is_id);
    let rule = "use up to four words of a-z 0-9 _ -, with one blank between them";
    require("command", &command.name, is_named, rule)?;
    let heads = command.columns.iter().map(|column| &column.head);
    let summaries = command.arguments.iter().map(|argument| &argument.summary);
    let mut texts = [&command.summary, &command.confirm]
        .into_iter()
        .chain(heads)
        .chain(summaries);
    let is_plain = texts.all(|text| !text.chars().any(char::is_control));
    let rule = "its texts are lines without control characters";
    require("command", &command.name, is_plain, rule)
}

fn arguments(command: &Command) -> Result<(), ManifestFault> {
    let refuse_unless = |holds: bool, rule| require("command", &command.name, holds, rule);
    let arguments = command.arguments.iter();
    unique("argument", arguments.map(|argument| argument.name.as_str()))?;
    for argument in &command.arguments {
        let name = argument.name.as_str();
        let is_own = OWN_FLAGS.contains(&name);
        let rule = "an argument is called like a plugin, and not json, project, yes or help";
        require("argument", name, is_id(name) && !is_own, rule)?;
    }
    let mut places = command.path.split('/').filter(|one| one.starts_with('{'));
    let is_given = |place: &str| {
        let mut arguments = command.arguments.iter();
        arguments.any(|one| one.kind == ArgumentKind::Text && place == format!("{{{}}}", one.name))
    };
    refuse_unless(
        places.all(is_given),
        "each part of its path has to be a text among its arguments",
    )?;
    let is_file = |one: &&Argument| one.kind == ArgumentKind::File;
    let files = command.arguments.iter().filter(is_file).count();
    let can_have_body = !matches!(command.method.as_str(), "GET" | "DELETE");
    refuse_unless(
        files <= usize::from(can_have_body && command.body.is_none()),
        "a file is the whole body, which a GET or DELETE does not have",
    )?;
    refuse_unless(
        command.body.is_none() || can_have_body,
        "a GET or DELETE has no body",
    )?;
    refuse_unless(
        !command.is_tail || command.method == "GET",
        "what is followed is the answer to a GET",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(command: &Value) -> Manifest {
        let route = |method: &str, path: &str, access: &str| json!({"method": method, "path": path, "access": access});
        let manifest = json!({
            "schema": 1, "id": "notes", "version": "1.0.0", "description": "",
            "abi": {"major": 1, "needs": 0}, "build": {"target": "", "panic": "unwind", "api": ""},
            "routes": [
                route("GET", "/admin", "operator"), route("PUT", "/admin/{id}", "operator"),
                route("GET", "/open", "public"), json!({"method": "GET", "path": "/served", "access": {"service": "x"}}),
            ],
            "commands": [command],
        });
        serde_json::from_value(manifest).expect("a manifest")
    }

    #[track_caller]
    fn check(command: &Value, expected: bool) {
        assert_eq!(admit(&manifest(command)).is_ok(), expected, "{command}");
    }

    #[test]
    fn a_command_is_a_request_to_an_operators_route() {
        let get = |name: &str, path: &str| json!({"name": name, "method": "GET", "path": path});
        check(&get("notes", "/admin"), true);
        check(&get("notes of all", "/admin"), true);
        check(&get("notes", "/served"), true);
        check(&get("notes", "/open"), false);
        check(&get("notes", "/elsewhere"), false);
        for name in [
            "",
            "Notes",
            "notes  all",
            " notes",
            "a b c d e",
            "--x",
            "notes\n",
        ] {
            check(&get(name, "/admin"), false);
        }
        check(
            &json!({"name": "notes", "method": "POST", "path": "/admin"}),
            false,
        );
        check(
            &json!({"name": "notes", "method": "GET", "path": "/admin", "summary": "a\u{1b}[31mb"}),
            false,
        );
    }

    #[test]
    fn commands_may_be_called_under_another_name() {
        for (name, expected) in [("", true), ("note", true), ("Note", false), ("a b", false)] {
            let mut manifest =
                manifest(&json!({"name": "notes", "method": "GET", "path": "/admin"}));
            manifest.command = name.to_owned();
            assert_eq!(admit(&manifest).is_ok(), expected, "{name}");
        }
    }

    #[test]
    fn a_command_can_be_given_what_its_request_needs() {
        let put = |arguments: &Value| json!({"name": "notes", "method": "PUT", "path": "/admin/{id}", "arguments": arguments});
        let argument = |name: &str, kind: &str| json!({"name": name, "kind": kind});
        check(&put(&json!([argument("id", "text")])), true);
        check(
            &put(&json!([argument("id", "text"), argument("in", "file")])),
            true,
        );
        check(&put(&json!([])), false);
        check(&put(&json!([argument("id", "flag")])), false);
        check(
            &put(&json!([argument("id", "text"), argument("id", "text")])),
            false,
        );
        for own in OWN_FLAGS {
            check(
                &put(&json!([argument("id", "text"), argument(own, "flag")])),
                false,
            );
        }
        let two = json!([
            argument("id", "text"),
            argument("a", "file"),
            argument("b", "file")
        ]);
        check(&put(&two), false);
        let get = |more: Value| {
            let mut command = json!({"name": "notes", "method": "GET", "path": "/admin"});
            command
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().expect("an object").clone());
            command
        };
        check(&get(json!({"arguments": [argument("in", "file")]})), false);
        check(&get(json!({"body": {"a": 1}})), false);
        check(&get(json!({"is_tail": true})), true);
        let mut tail = put(&json!([argument("id", "text")]));
        tail["is_tail"] = true.into();
        check(&tail, false);
    }
}
