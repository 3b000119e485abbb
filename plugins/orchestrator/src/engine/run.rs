//! `run`: what a task wants to be run, and what of that becomes its output.
//!
//! Secrets go to programs by their environment and standard input alone. Words of a command line can be read by everybody on a machine,
//! and a script's text is kept in a file: a task that puts a secret there fails, and says so.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    data::Scope,
    error::Error,
    machine::Machine,
    need::{Need, Outcome, Process, Return, Run, ScriptRun, ScriptText, WorkflowRun},
    program::Program,
    secret::Secrets,
    state::TaskFrame,
};
use crate::{dsl::Kind, expressions};

/// Fields of a process that may hold secrets.
const SECRET: [&str; 2] = ["environment", "stdin"];
/// Bytes of a key's digest in the name of a container: those of a UUID.
const DIGEST_BYTES: usize = 16;

impl Program {
    /// Processes that a run may start: where each task is, and what it runs in the words of the operator's list. What an expression
    /// says is not known yet.
    pub fn processes(&self) -> Vec<(String, String)> {
        let runs = self.tasks.iter().filter_map(|(reference, node)| {
            let Kind::Run(run) = &node.task.kind else {
                return None;
            };
            Some((reference.clone(), word(run)?))
        });
        let mut found: Vec<(String, String)> = runs.collect();
        found.sort();
        found
    }
}

fn word(run: &Value) -> Option<String> {
    let literal = |value: &Value| {
        let text = value.as_str()?;
        expressions::inner(text).is_none().then(|| text.to_owned())
    };
    if run.get("shell").is_some() {
        return Some("shell".to_owned());
    }
    if let Some(script) = run.get("script") {
        return Some(format!("script:{}", literal(&script["language"])?));
    }
    let container = run.get("container")?;
    Some(format!("container:{}", literal(&container["image"])?))
}

impl Machine<'_> {
    /// What a `run` task asks for.
    pub(super) fn process(
        &self,
        run: &Value,
        frame: &TaskFrame,
        scope: Scope<'_>,
    ) -> Result<Need, Error> {
        let process = if let Some(workflow) = run.get("workflow") {
            Process::Workflow(self.workflow(workflow, frame, scope)?)
        } else if let Some(shell) = run.get("shell") {
            Process::Shell(self.fields(shell, frame, scope)?.into())
        } else if let Some(script) = run.get("script") {
            Process::Script(self.script(script, frame, scope)?)
        } else if let Some(container) = run.get("container") {
            let mut fields = self.fields(container, frame, scope)?;
            let name = || Value::from(self.container_name(frame));
            fields.entry("name").or_insert_with(name);
            Process::Container(fields.into())
        } else {
            return Err(Error::configuration("nothing to run"));
        };
        Ok(Need::Run(Run {
            key: self.key(frame),
            task: frame.task.clone(),
            awaited: is_awaited(run),
            returns: returns(run),
            process,
        }))
    }

    fn workflow(
        &self,
        workflow: &Value,
        frame: &TaskFrame,
        scope: Scope<'_>,
    ) -> Result<WorkflowRun, Error> {
        let resolved = self.resolve(workflow, frame.input(), scope)?;
        let text = |name: &str| resolved[name].as_str().unwrap_or_default().to_owned();
        Ok(WorkflowRun {
            namespace: text("namespace"),
            name: text("name"),
            version: text("version"),
            // Another workflow keeps its input: secrets do not go there.
            input: match workflow.get("input") {
                Some(given) => self.resolve(given, frame.input(), without_secrets(scope))?,
                None => json!({}),
            },
        })
    }

    /// The fields of a process, secrets in those alone that may hold them.
    fn fields(
        &self,
        process: &Value,
        frame: &TaskFrame,
        scope: Scope<'_>,
    ) -> Result<Map<String, Value>, Error> {
        let mut fields = Map::new();
        for (name, value) in process.as_object().into_iter().flatten() {
            let is_secret = SECRET.contains(&name.as_str());
            let scope = if is_secret {
                scope
            } else {
                without_secrets(scope)
            };
            let value = self.resolve(value, frame.input(), scope)?;
            if !is_secret && Secrets::marks(&value) {
                let detail = format!(
                    "a secret in `{name}`, which others can read: hand it over in `environment` or `stdin`"
                );
                return Err(Error::configuration(detail));
            }
            fields.insert(name.clone(), value);
        }
        Ok(fields)
    }

    fn script(
        &self,
        script: &Value,
        frame: &TaskFrame,
        scope: Scope<'_>,
    ) -> Result<ScriptRun, Error> {
        let mut without_source = script.clone();
        let source = without_source
            .as_object_mut()
            .and_then(|fields| fields.remove("source"));
        let mut fields = self.fields(&without_source, frame, scope)?;
        let text = match source {
            Some(source) => {
                let (uri, authentication) =
                    self.endpoint(&source["endpoint"], frame.input(), scope)?;
                ScriptText::At {
                    uri,
                    authentication,
                }
            }
            None => match fields.remove("code") {
                Some(Value::String(code)) => ScriptText::Inline(code),
                _ => return Err(Error::expression("a script that is no text")),
            },
        };
        Ok(ScriptRun {
            fields: fields.into(),
            text,
        })
    }

    /// The standard's recommendation: `{workflow.name}-{uuid}.{workflow.namespace}-{task.name}`. The same on every retry.
    fn container_name(&self, frame: &TaskFrame) -> String {
        let document = &self.program.definition.document;
        let digest = Sha256::digest(self.key(frame));
        let uuid = digest.iter().take(DIGEST_BYTES).enumerate();
        let uuid = uuid.fold(String::new(), |mut uuid, (number, byte)| {
            let hyphen = if matches!(number, 4 | 6 | 8 | 10) {
                "-"
            } else {
                ""
            };
            let _ = write!(uuid, "{hyphen}{byte:02x}");
            uuid
        });
        let task = &self.node(frame).name;
        let name = format!("{}-{uuid}.{}-{task}", document.name, document.namespace);
        let is_plain = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.');
        name.chars()
            .map(|one| if is_plain(one) { one } else { '-' })
            .collect()
    }

    /// What becomes the output of a `run` task.
    pub(super) fn returned_by(
        &self,
        run: &Value,
        frame: &TaskFrame,
        outcome: Outcome,
    ) -> Result<Value, Error> {
        let value = match outcome {
            Outcome::Completed(value) if is_awaited(run) => self.secrets.seal(value),
            Outcome::Completed(_) | Outcome::Done => return Ok(frame.input().clone()),
            _ => return Err(Error::runtime("an outcome that does not fit the task")),
        };
        if run.get("workflow").is_some() {
            return Ok(value);
        }
        Ok(match returns(run) {
            Return::Stdout => value["stdout"].clone(),
            Return::Stderr => value["stderr"].clone(),
            Return::Code => value["code"].clone(),
            Return::All => value,
            Return::None => Value::Null,
        })
    }
}

fn without_secrets(scope: Scope<'_>) -> Scope<'_> {
    Scope {
        secrets: false,
        ..scope
    }
}

fn is_awaited(run: &Value) -> bool {
    run["await"].as_bool().unwrap_or(true)
}

fn returns(run: &Value) -> Return {
    serde_json::from_value(run["return"].clone()).unwrap_or_default()
}
