//! Data: what expressions see, and the way of data through workflow and tasks.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    error::Error,
    machine::Machine,
    state::{Frame, Role, TaskFrame},
};
use crate::{
    dsl::{Data, Span, duration},
    expressions::{Bounds, truth},
};

/// What an expression sees beside its input.
#[derive(Clone, Copy, Default)]
pub(super) struct Scope<'s> {
    /// The thread whose variables count.
    pub thread: Option<u64>,
    pub task: Option<&'s TaskFrame>,
    /// `$input`, where it is there.
    pub input: Option<&'s Value>,
    /// `$output`, where it is there.
    pub output: Option<&'s Value>,
    /// The raw output, for `$task.output`.
    pub raw_output: Option<&'s Value>,
    pub authorization: Option<&'s Value>,
    /// One more variable.
    pub variable: Option<(&'s str, &'s Value)>,
    /// Whether secrets are seen: what is evaluated is not kept.
    pub secrets: bool,
}

impl Machine<'_> {
    fn bounds(&self) -> Bounds {
        Bounds {
            steps: self.around.limits.expression_steps,
            bytes: self.around.limits.value_bytes_max,
            now_ms: self.around.now.as_millisecond(),
        }
    }

    fn lookup(&self, scope: &Scope<'_>, name: &str) -> Option<Value> {
        let shown = |value: Value| {
            if scope.secrets {
                self.secrets.reveal(value)
            } else {
                value
            }
        };
        if let Some((variable, value)) = scope.variable
            && variable == name
        {
            return Some(shown(value.clone()));
        }
        if let Some(value) = scope.thread.and_then(|thread| self.variable(thread, name)) {
            return Some(shown(value));
        }
        match name {
            "context" => {
                let kept = scope.task.and_then(|task| task.context.as_ref());
                Some(shown(kept.unwrap_or(&self.state.context).clone()))
            }
            "input" => scope.input.cloned().map(shown),
            "output" => scope.output.cloned().map(shown),
            "secrets" if scope.secrets => Some(self.secrets.real().clone()),
            "secrets" => Some(self.secrets.marked().clone()),
            "authorization" => Some(scope.authorization.cloned().unwrap_or_default()),
            "task" => scope.task.map(|task| {
                let node = self.node(task);
                shown(json!({
                    "name": node.name,
                    "reference": task.task,
                    "definition": node.task.source,
                    "input": task.input,
                    "output": scope.raw_output,
                    "startedAt": moment(task.started_at),
                }))
            }),
            "workflow" => Some(shown(json!({
                "id": self.state.instance,
                "definition": self.program.definition.source,
                "input": self.state.input,
                "startedAt": moment(self.state.started_at),
            }))),
            "runtime" => Some(self.around.runtime.clone()),
            _ => None,
        }
    }

    /// A variable of the lists that the thread is in, innermost first, then of the thread whose branch it is.
    fn variable(&self, thread: u64, name: &str) -> Option<Value> {
        let thread = self.state.threads.get(&thread)?;
        let found = thread.frames.iter().rev().find_map(|frame| match frame {
            Frame::List(list) => list.variables.get(name).cloned(),
            Frame::Task(_) => None,
        });
        found.or_else(|| self.variable(thread.parent?.0, name))
    }

    /// Evaluates an expression.
    pub(super) fn evaluate(
        &self,
        expression: &str,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<Value, Error> {
        let lookup = |name: &str| self.lookup(&scope, name);
        let input = self.seen(input, scope);
        self.program
            .expressions
            .evaluate(expression, &input, &lookup, self.bounds())
            .map_err(Error::expression)
    }

    /// Evaluates what stands in `${ }` in a value.
    pub(super) fn resolve(
        &self,
        template: &Value,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<Value, Error> {
        let lookup = |name: &str| self.lookup(&scope, name);
        let input = self.seen(input, scope);
        self.program
            .expressions
            .resolve(template, &input, &lookup, self.bounds())
            .map_err(Error::expression)
    }

    fn seen<'v>(&self, input: &'v Value, scope: Scope<'_>) -> std::borrow::Cow<'v, Value> {
        if scope.secrets && !self.program.definition.shared.secrets.is_empty() {
            return std::borrow::Cow::Owned(self.secrets.reveal(input.clone()));
        }
        std::borrow::Cow::Borrowed(input)
    }

    /// Whether a condition is true. Only that is kept, so it sees secrets.
    pub(super) fn holds(
        &self,
        condition: &str,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<bool, Error> {
        let scope = Scope {
            secrets: true,
            ..scope
        };
        Ok(truth(&self.evaluate(condition, input, scope)?))
    }

    /// `from` or `as`: an expression with or without `${ }`, or an object of such.
    pub(super) fn transform(
        &self,
        data: &Data,
        value: &Value,
        scope: Scope<'_>,
    ) -> Result<Option<Value>, Error> {
        match &data.transform {
            None => Ok(None),
            Some(Value::String(expression)) => self.evaluate(expression, value, scope).map(Some),
            Some(template) => self.resolve(template, value, scope).map(Some),
        }
    }

    /// Judges data by the schema at a reference, when there is one.
    pub(super) fn validate(&self, reference: &str, value: &Value) -> Result<(), Error> {
        let Some(schema) = self.program.schemas.get(reference) else {
            return Ok(());
        };
        match schema.iter_errors(value).next() {
            None => Ok(()),
            // The text of what is wrong may repeat the value; the place and the rule say enough.
            Some(error) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() {
                    "the data".to_owned()
                } else {
                    place
                };
                let detail = format!("{place}: {}", error.masked());
                Err(Error::validation(detail))
            }
        }
    }

    /// The workflow's input: judged, then transformed.
    pub(super) fn workflow_input(&self) -> Result<Value, Error> {
        let at = |error: Error| Error {
            instance: "/input".to_owned(),
            ..error
        };
        let raw = &self.state.input;
        self.validate("/input", raw).map_err(at)?;
        let data = &self.program.definition.input;
        let transformed = self.transform(data, raw, Scope::default()).map_err(at)?;
        Ok(transformed.unwrap_or_else(|| raw.clone()))
    }

    /// The workflow's output: transformed, then judged.
    pub(super) fn workflow_output(&self, raw: Value) -> Result<Value, Error> {
        let at = |error: Error| Error {
            instance: "/output".to_owned(),
            ..error
        };
        let data = &self.program.definition.output;
        let output = self
            .transform(data, &raw, Scope::default())
            .map_err(at)?
            .unwrap_or(raw);
        self.validate("/output", &output).map_err(at)?;
        Ok(output)
    }

    /// Opens the timer of the workflow's timeout.
    pub(super) fn open_deadline(&mut self) -> Result<(), Error> {
        let Some(timeout) = &self.program.definition.timeout else {
            return Ok(());
        };
        let input = self.state.input.clone();
        let span = self.timeout(timeout, &input, Scope::default())?;
        let at = self.after(span)?;
        self.wait(super::state::ROOT, Role::Deadline, Some(at));
        Ok(())
    }

    /// A timeout, or the shared one of that name.
    pub(super) fn timeout(
        &self,
        timeout: &Value,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<Span, Error> {
        let timeout = match timeout {
            Value::String(name) => self
                .program
                .definition
                .shared
                .timeouts
                .get(name)
                .ok_or_else(|| Error::configuration(format!("no timeout named {name}")))?,
            own => own,
        };
        self.span(&timeout["after"], input, scope)
    }

    /// A duration, literal or by expression.
    pub(super) fn span(
        &self,
        value: &Value,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<Span, Error> {
        let value = self.resolve(value, input, scope)?;
        duration(&value).ok_or_else(|| Error::configuration(format!("{value} is not a duration")))
    }

    pub(super) fn after(&self, span: Span) -> Result<Timestamp, Error> {
        let too_far = |_| Error::configuration("a time beyond all calendars");
        self.around.now.checked_add(span).map_err(too_far)
    }
}

/// A time as expressions see it.
fn moment(at: Timestamp) -> Value {
    json!({
        "iso8601": at.to_string(),
        "epoch": {"seconds": at.as_second(), "milliseconds": at.as_millisecond()},
    })
}
