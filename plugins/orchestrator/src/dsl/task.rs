//! The tasks of the standard.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// Tasks with their names, in their order.
#[derive(Debug, Clone, Default)]
pub struct TaskList(pub Vec<(String, Task)>);

/// One task: what all have, and what it does.
#[derive(Debug, Clone)]
pub struct Task {
    /// Whether it runs at all.
    pub condition: Option<String>,
    /// What comes in.
    pub input: Data,
    /// What goes out.
    pub output: Data,
    /// What becomes the context.
    pub export: Data,
    /// The name of a shared timeout, or one of its own.
    pub timeout: Option<Value>,
    /// What runs next.
    pub then: Option<String>,
    /// What it does.
    pub kind: Kind,
    /// The task as it was read, for `$task.definition`.
    pub source: Value,
}

/// `input`, `output` or `export`: a schema, and how the data are transformed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Data {
    /// What the data must be.
    pub schema: Option<Schema>,
    /// `from` of an input, `as` of the others.
    #[serde(alias = "from", rename = "as")]
    pub transform: Option<Value>,
}

/// A schema of data.
#[derive(Debug, Clone, Deserialize)]
pub struct Schema {
    /// Its format, `json` unless said.
    pub format: Option<String>,
    /// The schema itself.
    pub document: Option<Value>,
    /// Where it is.
    pub resource: Option<Value>,
}

/// What a task does.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `call`: the protocol or function, and its arguments.
    Call(String, Value),
    /// `do`.
    Do(TaskList),
    /// `emit`: the properties of the event.
    Emit(Value),
    /// `for`.
    For {
        /// Name of the variable that holds the item.
        each: String,
        /// The collection.
        collection: String,
        /// Name of the variable that holds the index.
        at: String,
        /// Whether it goes on.
        condition: Option<String>,
        /// What runs for each.
        tasks: TaskList,
    },
    /// `fork`.
    Fork {
        /// What runs beside each other.
        branches: TaskList,
        /// Whether the first one that ends wins.
        compete: bool,
    },
    /// `listen`.
    Listen(Box<Listen>),
    /// `raise`: the name of a shared error, or an error.
    Raise(Value),
    /// `run`: the process.
    Run(Value),
    /// `set`.
    Set(Value),
    /// `switch`: name, `when` and `then` of each case.
    Switch(Vec<(String, Option<String>, String)>),
    /// `try`.
    Try(TaskList, Box<Catch>),
    /// `wait`.
    Wait(Value),
}

/// What a `listen` task waits for.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The events.
    pub to: Consumption,
    /// `data`, `envelope` or `raw`.
    pub read: String,
    /// What is done with each.
    pub foreach: Option<Iterator>,
}

/// Which events are consumed: exactly one of `all`, `any` and `one` is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Consumption {
    /// One event for each of these.
    pub all: Option<Vec<EventFilter>>,
    /// Events that match any of these, any event when there is none.
    pub any: Option<Vec<EventFilter>>,
    /// One event that matches.
    pub one: Option<EventFilter>,
    /// When `any` ends; at the first event when it is not there.
    pub until: Option<Until>,
}

/// When the consumption of any event ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Until {
    /// When this is true of what has been consumed.
    Condition(String),
    /// When these have been consumed.
    Consumed(Box<Consumption>),
}

/// Which event is meant.
#[derive(Debug, Clone, Deserialize)]
pub struct EventFilter {
    /// Attributes with their values or expressions.
    pub with: BTreeMap<String, Value>,
    /// Keys by which it is correlated: `from` and perhaps `expect`.
    #[serde(default)]
    pub correlate: BTreeMap<String, BTreeMap<String, String>>,
}

/// What is done with each event that is consumed.
#[derive(Debug, Clone, Deserialize)]
pub struct Iterator {
    /// Name of the variable that holds the event.
    #[serde(default = "item")]
    pub item: String,
    /// Name of the variable that holds the index.
    #[serde(default = "index")]
    pub at: String,
    /// What runs for each.
    #[serde(default, rename = "do")]
    pub tasks: TaskList,
    /// What goes out of each.
    #[serde(default)]
    pub output: Data,
    /// What becomes the context.
    #[serde(default)]
    pub export: Data,
}

/// Which errors are caught and what is done then.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Catch {
    /// Which errors.
    pub errors: ErrorFilter,
    /// Name of the variable that holds the error.
    #[serde(rename = "as")]
    pub variable: Option<String>,
    /// Only when this is true.
    pub when: Option<String>,
    /// Not when this is true.
    #[serde(rename = "exceptWhen")]
    pub except_when: Option<String>,
    /// The name of a shared policy, or a policy.
    pub retry: Option<Value>,
    /// What runs then.
    #[serde(rename = "do")]
    pub tasks: Option<TaskList>,
}

/// Values that an error must have to be caught.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ErrorFilter {
    /// Field and value.
    pub with: BTreeMap<String, Value>,
}

/// How often and when something is tried again. The durations are the schema's, see [`super::duration`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Only when this is true.
    pub when: Option<String>,
    /// Not when this is true.
    #[serde(rename = "exceptWhen")]
    pub except_when: Option<String>,
    /// How long it waits.
    pub delay: Option<Value>,
    /// How that grows: `constant`, `linear` or `exponential`.
    pub backoff: BTreeMap<String, Value>,
    /// `attempt.count`, `attempt.duration` and `duration`.
    pub limit: Value,
    /// `from` and `to`.
    pub jitter: Option<BTreeMap<String, Value>>,
}

fn item() -> String {
    "item".to_owned()
}

fn index() -> String {
    "index".to_owned()
}

impl<'de> Deserialize<'de> for TaskList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items: Vec<BTreeMap<String, Task>> = Vec::deserialize(deserializer)?;
        Ok(Self(items.into_iter().flatten().collect()))
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = Value::deserialize(deserializer)?;
        Self::from_source(source).map_err(D::Error::custom)
    }
}

impl Task {
    fn from_source(source: Value) -> Result<Self, serde_json::Error> {
        let kind = Kind::of(&source)?;
        Ok(Self {
            condition: optional(&source, "if")?,
            input: field(&source, "input")?,
            output: field(&source, "output")?,
            export: field(&source, "export")?,
            timeout: optional(&source, "timeout")?,
            then: optional(&source, "then")?,
            kind,
            source,
        })
    }
}

impl Kind {
    fn of(source: &Value) -> Result<Self, serde_json::Error> {
        let has = |name: &str| source.get(name).is_some();
        if has("call") {
            let arguments = source.get("with").cloned().unwrap_or_default();
            return Ok(Self::Call(field(source, "call")?, arguments));
        }
        if has("for") {
            let each = &source["for"];
            return Ok(Self::For {
                each: optional(each, "each")?.unwrap_or_else(item),
                collection: field(each, "in")?,
                at: optional(each, "at")?.unwrap_or_else(index),
                condition: optional(source, "while")?,
                tasks: field(source, "do")?,
            });
        }
        if has("listen") {
            return Ok(Self::Listen(Box::new(Listen {
                to: field(&source["listen"], "to")?,
                read: optional(&source["listen"], "read")?.unwrap_or_else(|| "data".to_owned()),
                foreach: optional(source, "foreach")?,
            })));
        }
        if has("try") {
            let catch = Box::new(field(source, "catch")?);
            return Ok(Self::Try(field(source, "try")?, catch));
        }
        if let Some(fork) = source.get("fork") {
            return Ok(Self::Fork {
                branches: field(fork, "branches")?,
                compete: optional(fork, "compete")?.unwrap_or(false),
            });
        }
        if has("switch") {
            return Self::switch(source);
        }
        if has("do") {
            return Ok(Self::Do(field(source, "do")?));
        }
        let whole = |name: &str| source.get(name).cloned();
        if let Some(emit) = whole("emit") {
            return Ok(Self::Emit(emit["event"]["with"].clone()));
        }
        if let Some(raise) = whole("raise") {
            return Ok(Self::Raise(raise["error"].clone()));
        }
        if let Some(run) = whole("run") {
            return Ok(Self::Run(run));
        }
        if let Some(set) = whole("set") {
            return Ok(Self::Set(set));
        }
        whole("wait")
            .map(Self::Wait)
            .ok_or_else(|| serde_json::Error::custom("a task that does nothing"))
    }

    fn switch(source: &Value) -> Result<Self, serde_json::Error> {
        let cases: Vec<BTreeMap<String, BTreeMap<String, String>>> = field(source, "switch")?;
        let case = |(name, mut case): (String, BTreeMap<String, String>)| {
            let then = case.remove("then").unwrap_or_else(|| "continue".to_owned());
            (name, case.remove("when"), then)
        };
        Ok(Self::Switch(
            cases.into_iter().flatten().map(case).collect(),
        ))
    }

    /// The word by which an extension names this kind.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Call(..) => "call",
            Self::Do(_) => "composite",
            Self::Emit(_) => "emit",
            Self::For { .. } => "for",
            Self::Fork { .. } => "fork",
            Self::Listen(_) => "listen",
            Self::Raise(_) => "raise",
            Self::Run(_) => "run",
            Self::Set(_) => "set",
            Self::Switch(_) => "switch",
            Self::Try(..) => "try",
            Self::Wait(_) => "wait",
        }
    }
}

/// A field of a value; what it holds must be able to come from nothing when it is not there.
fn field<T: serde::de::DeserializeOwned>(
    source: &Value,
    name: &str,
) -> Result<T, serde_json::Error> {
    match source.get(name) {
        Some(value) => serde_json::from_value(value.clone()),
        None => serde_json::from_value(Value::Object(serde_json::Map::new())),
    }
}

fn optional<T: serde::de::DeserializeOwned>(
    source: &Value,
    name: &str,
) -> Result<Option<T>, serde_json::Error> {
    source
        .get(name)
        .cloned()
        .map(serde_json::from_value)
        .transpose()
}
