//! What a schema cannot say: names that must exist, expressions that must read, durations that must mean something.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Consumption, Data, Definition, Kind, Task, TaskList, Until, duration, escape, fault::Fault,
};
use crate::expressions;

/// What is wrong beyond the schema.
pub(super) fn check(definition: &Definition) -> Vec<Fault> {
    let mut check = Check {
        definition,
        faults: Vec::new(),
    };
    check.version();
    check.data("/input", "from", &definition.input);
    check.data("/output", "as", &definition.output);
    check.timeout("/timeout", definition.timeout.as_ref());
    check.list("/do", &definition.tasks);
    check.shared();
    check.schedule();
    check.faults
}

struct Check<'d> {
    definition: &'d Definition,
    faults: Vec<Fault>,
}

impl Check<'_> {
    fn fault(&mut self, path: impl Into<String>, message: impl Into<String>, remedy: &str) {
        self.faults.push(Fault::new(path, message, remedy));
    }

    fn version(&mut self) {
        let dsl = &self.definition.document.dsl;
        if !dsl.starts_with("1.0.") {
            let message = format!("this is written in version {dsl} of the standard");
            self.fault(
                "/document/dsl",
                message,
                "write it in 1.0, which is what runs here",
            );
        }
    }

    fn list(&mut self, path: &str, tasks: &TaskList) {
        self.named(path, tasks, tasks);
    }

    /// Tasks with names of their own; `then` may name those of `beside`.
    fn named(&mut self, path: &str, tasks: &TaskList, beside: &TaskList) {
        let mut names = BTreeSet::new();
        for (number, (name, task)) in tasks.0.iter().enumerate() {
            let place = format!("{path}/{number}/{}", escape(name));
            if !names.insert(name) {
                let message = format!("another task of this list is called {name} too");
                self.fault(&place, message, "give it a name of its own");
            }
            if matches!(name.as_str(), "continue" | "exit" | "end") {
                let message = format!("a task cannot be called {name}: `then` could not name it");
                self.fault(&place, message, "give it another name");
            }
            self.task(&place, task, beside);
        }
    }

    fn then(&mut self, path: &str, then: &str, beside: &TaskList) {
        let known = matches!(then, "continue" | "exit" | "end")
            || beside.0.iter().any(|(name, _)| name == then);
        if !known {
            let message = format!("no task beside this one is called {then}");
            self.fault(
                path,
                message,
                "name a task of the same list, or continue, exit or end",
            );
        }
    }

    fn task(&mut self, path: &str, task: &Task, beside: &TaskList) {
        let at = |part: &str| format!("{path}/{part}");
        self.condition(&at("if"), task.condition.as_deref());
        self.data(&at("input"), "from", &task.input);
        self.data(&at("output"), "as", &task.output);
        self.data(&at("export"), "as", &task.export);
        self.timeout(&at("timeout"), task.timeout.as_ref());
        if let Some(then) = &task.then {
            self.then(&at("then"), then, beside);
        }
        self.kind(path, task, beside);
    }

    fn kind(&mut self, path: &str, task: &Task, beside: &TaskList) {
        let at = |part: &str| format!("{path}/{part}");
        match &task.kind {
            Kind::Call(name, with) => self.call(path, name, with),
            Kind::Do(tasks) => self.list(&at("do"), tasks),
            Kind::Emit(event) => self.texts(&at("emit/event/with"), event),
            Kind::For {
                collection,
                condition,
                tasks,
                ..
            } => {
                self.condition(&at("for/in"), Some(collection));
                self.condition(&at("while"), condition.as_deref());
                self.list(&at("do"), tasks);
            }
            // A branch is alone in its scope.
            Kind::Fork { branches, .. } => {
                self.named(&at("fork/branches"), branches, &TaskList::default());
            }
            Kind::Listen(listen) => {
                self.consumption(&at("listen/to"), &listen.to);
                if let Some(iterator) = &listen.foreach {
                    self.list(&at("foreach/do"), &iterator.tasks);
                    self.data(&at("foreach/output"), "as", &iterator.output);
                    self.data(&at("foreach/export"), "as", &iterator.export);
                }
            }
            Kind::Raise(Value::String(name)) => {
                let known = self.definition.shared.errors.contains_key(name);
                self.known(&at("raise/error"), "error", "errors", name, known);
            }
            Kind::Raise(error) => self.texts(&at("raise/error"), error),
            Kind::Run(process) => self.texts(&at("run"), process),
            Kind::Set(Value::String(expression)) => self.condition(&at("set"), Some(expression)),
            Kind::Set(template) => self.texts(&at("set"), template),
            Kind::Switch(cases) => {
                for (number, (name, when, then)) in cases.iter().enumerate() {
                    let case = at(&format!("switch/{number}/{}", escape(name)));
                    self.condition(&format!("{case}/when"), when.as_deref());
                    self.then(&format!("{case}/then"), then, beside);
                }
            }
            Kind::Try(tasks, catch) => {
                self.list(&at("try"), tasks);
                self.condition(&at("catch/when"), catch.when.as_deref());
                self.condition(&at("catch/exceptWhen"), catch.except_when.as_deref());
                match &catch.retry {
                    Some(Value::String(name)) => {
                        let known = self.definition.shared.retries.contains_key(name);
                        self.known(&at("catch/retry"), "retry policy", "retries", name, known);
                    }
                    Some(policy) => self.retry(&at("catch/retry"), policy),
                    None => {}
                }
                if let Some(tasks) = &catch.tasks {
                    self.list(&at("catch/do"), tasks);
                }
            }
            Kind::Wait(span) => self.duration(&at("wait"), Some(span)),
        }
    }

    fn call(&mut self, path: &str, name: &str, with: &Value) {
        let at = |part: &str| format!("{path}/{part}");
        self.texts(&at("with"), with);
        for part in [
            "endpoint/authentication",
            "document/endpoint/authentication",
            "authentication",
        ] {
            if let Some(policy) = with.pointer(&format!("/{part}")) {
                self.authentication(&at(&format!("with/{part}")), policy);
            }
        }
        let protocol = matches!(
            name,
            "http" | "openapi" | "asyncapi" | "grpc" | "a2a" | "mcp"
        );
        if protocol || name.contains("://") || self.definition.shared.functions.contains_key(name) {
            return;
        }
        match name.rsplit_once('@') {
            Some((_, "default")) => {}
            Some((_, catalog)) => {
                let known = self.definition.shared.catalogs.contains_key(catalog);
                self.known(&at("call"), "catalog", "catalogs", catalog, known);
            }
            None => self.known(&at("call"), "function", "functions", name, false),
        }
    }

    fn known(&mut self, path: &str, what: &str, list: &str, name: &str, known: bool) {
        if !known {
            let message = format!("there is no {what} called {name}");
            self.fault(
                path,
                message,
                &format!("declare it under use.{list}, or mend the name"),
            );
        }
    }

    fn authentication(&mut self, path: &str, policy: &Value) {
        if let Some(name) = policy["use"].as_str() {
            let known = self.definition.shared.authentications.contains_key(name);
            self.known(
                &format!("{path}/use"),
                "authentication",
                "authentications",
                name,
                known,
            );
            return;
        }
        for (scheme, fields) in policy.as_object().into_iter().flatten() {
            if let Some(name) = fields["use"].as_str() {
                let known = self
                    .definition
                    .shared
                    .secrets
                    .iter()
                    .any(|secret| secret == name);
                self.known(
                    &format!("{path}/{scheme}/use"),
                    "secret",
                    "secrets",
                    name,
                    known,
                );
            }
        }
    }

    fn consumption(&mut self, path: &str, consumption: &Consumption) {
        let named = [("all", &consumption.all), ("any", &consumption.any)];
        for (word, filters) in named {
            for (number, filter) in filters.iter().flatten().enumerate() {
                self.filter(&format!("{path}/{word}/{number}"), filter);
            }
        }
        if let Some(filter) = &consumption.one {
            self.filter(&format!("{path}/one"), filter);
        }
        match &consumption.until {
            Some(Until::Condition(condition)) => {
                self.condition(&format!("{path}/until"), Some(condition));
            }
            Some(Until::Consumed(until)) => self.consumption(&format!("{path}/until"), until),
            None => {}
        }
    }

    fn filter(&mut self, path: &str, filter: &super::EventFilter) {
        for (attribute, value) in &filter.with {
            self.texts(&format!("{path}/with/{}", escape(attribute)), value);
        }
        for (key, correlation) in &filter.correlate {
            let from = correlation.get("from").map(String::as_str);
            self.condition(&format!("{path}/correlate/{}/from", escape(key)), from);
        }
    }

    fn retry(&mut self, path: &str, policy: &Value) {
        self.condition(&format!("{path}/when"), policy["when"].as_str());
        self.condition(&format!("{path}/exceptWhen"), policy["exceptWhen"].as_str());
        for part in [
            "delay",
            "limit/duration",
            "limit/attempt/duration",
            "jitter/from",
            "jitter/to",
        ] {
            self.duration(
                &format!("{path}/{part}"),
                policy.pointer(&format!("/{part}")),
            );
        }
    }

    fn shared(&mut self) {
        let shared = &self.definition.shared;
        for (name, policy) in &shared.authentications {
            self.authentication(&format!("/use/authentications/{}", escape(name)), policy);
        }
        for (name, task) in &shared.functions {
            self.task(
                &format!("/use/functions/{}", escape(name)),
                task,
                &TaskList::default(),
            );
        }
        for name in shared.retries.keys() {
            let path = format!("/use/retries/{}", escape(name));
            let policy = self
                .definition
                .source
                .pointer(&path)
                .cloned()
                .unwrap_or_default();
            self.retry(&path, &policy);
        }
        for (name, timeout) in &shared.timeouts {
            self.duration(
                &format!("/use/timeouts/{}/after", escape(name)),
                timeout.get("after"),
            );
        }
        for (number, named) in shared.extensions.iter().enumerate() {
            for (name, extension) in named {
                let path = format!("/use/extensions/{number}/{}", escape(name));
                self.condition(&format!("{path}/when"), extension.when.as_deref());
                self.list(&format!("{path}/before"), &extension.before);
                self.list(&format!("{path}/after"), &extension.after);
            }
        }
    }

    fn schedule(&mut self) {
        let Some(schedule) = &self.definition.schedule else {
            return;
        };
        self.duration("/schedule/every", schedule.every.as_ref());
        self.duration("/schedule/after", schedule.after.as_ref());
        if let Some(on) = &schedule.on {
            self.consumption("/schedule/on", on);
        }
    }

    fn timeout(&mut self, path: &str, timeout: Option<&Value>) {
        match timeout {
            None => {}
            Some(Value::String(name)) => {
                let known = self.definition.shared.timeouts.contains_key(name);
                self.known(path, "timeout", "timeouts", name, known);
            }
            Some(own) => self.duration(&format!("{path}/after"), own.get("after")),
        }
    }

    fn duration(&mut self, path: &str, value: Option<&Value>) {
        let Some(value) = value else { return };
        match value.as_str() {
            Some(text) if expressions::inner(text).is_some() => self.condition(path, Some(text)),
            _ if duration(value).is_none() => {
                let message = format!("{value} is no duration");
                self.fault(
                    path,
                    message,
                    "write days to milliseconds, or ISO 8601 as in PT15M",
                );
            }
            _ => {}
        }
    }

    fn data(&mut self, path: &str, word: &str, data: &Data) {
        let place = format!("{path}/{word}");
        match &data.transform {
            None => {}
            Some(Value::String(expression)) => self.condition(&place, Some(expression)),
            Some(template) => self.texts(&place, template),
        }
    }

    /// An expression, with or without `${ }`.
    fn condition(&mut self, path: &str, expression: Option<&str>) {
        let Some(expression) = expression else { return };
        if let Err(what) = expressions::check(expression) {
            let message = format!("the expression cannot be read: {what}");
            self.fault(path, message, "mend the expression; it is jq");
        }
    }

    /// The expressions among the texts of a value.
    fn texts(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(text) if expressions::inner(text).is_some() => {
                self.condition(path, Some(text));
            }
            Value::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.texts(&format!("{path}/{number}"), item);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.texts(&format!("{path}/{}", escape(name)), field);
                }
            }
            _ => {}
        }
    }
}
