//! A definition that has been found good.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    check,
    fault::Fault,
    position, schema,
    task::{Consumption, Data, TaskList},
};

/// How the text of a definition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

/// A workflow, in the terms of the standard.
#[derive(Debug, Clone, Deserialize)]
pub struct Definition {
    /// Who it is.
    pub document: Document,
    /// What comes in.
    #[serde(default)]
    pub input: Data,
    /// What its tasks share.
    #[serde(default, rename = "use")]
    pub shared: Use,
    /// Its tasks.
    #[serde(rename = "do")]
    pub tasks: TaskList,
    /// The name of a shared timeout, or one of its own.
    pub timeout: Option<Value>,
    /// What goes out.
    #[serde(default)]
    pub output: Data,
    /// When it starts by itself.
    pub schedule: Option<Schedule>,
    /// The whole definition as it was read, for `$workflow.definition` and for showing.
    #[serde(skip)]
    pub source: Value,
}

/// Who a workflow is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// The version of the standard.
    pub dsl: String,
    /// Where it belongs.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for.
    pub summary: Option<String>,
    /// Labels.
    #[serde(default)]
    pub tags: BTreeMap<String, Value>,
    /// Whatever its author keeps with it.
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
}

/// What the tasks of a workflow share by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Use {
    /// Authentication policies.
    pub authentications: BTreeMap<String, Value>,
    /// Errors.
    pub errors: BTreeMap<String, Value>,
    /// Extensions, in the order in which they apply.
    pub extensions: Vec<BTreeMap<String, Extension>>,
    /// Functions: tasks that are called by name.
    pub functions: BTreeMap<String, super::Task>,
    /// Retry policies.
    pub retries: BTreeMap<String, super::Retry>,
    /// Names of the secrets that it may read.
    pub secrets: Vec<String>,
    /// Timeouts.
    pub timeouts: BTreeMap<String, Value>,
    /// Catalogs of functions.
    pub catalogs: BTreeMap<String, Value>,
}

/// Tasks that run before and after others.
#[derive(Debug, Clone, Deserialize)]
pub struct Extension {
    /// Which kind of task it extends.
    pub extend: String,
    /// Whether it does.
    pub when: Option<String>,
    /// What runs before.
    #[serde(default)]
    pub before: TaskList,
    /// What runs after.
    #[serde(default)]
    pub after: TaskList,
}

/// When a workflow starts by itself. The durations are the schema's, see [`super::duration`].
#[derive(Debug, Clone, Deserialize)]
pub struct Schedule {
    /// At this interval.
    pub every: Option<Value>,
    /// At the times of this cron expression.
    pub cron: Option<String>,
    /// This long after the instance before has ended.
    pub after: Option<Value>,
    /// At these events.
    pub on: Option<Consumption>,
}

impl Definition {
    /// Reads and judges a definition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(text: &str, format: Format) -> Result<Self, Vec<Fault>> {
        let source = position::read(text, format).map_err(|fault| vec![fault])?;
        let located = |mut faults: Vec<Fault>| {
            position::locate(text, &mut faults);
            faults.sort_by_key(|fault| (fault.line, fault.column));
            faults
        };
        let faults = schema::check(&source);
        if !faults.is_empty() {
            return Err(located(faults));
        }
        let mut definition: Self = serde_json::from_value(source.clone()).map_err(|error| {
            vec![Fault::new(
                "",
                error.to_string(),
                "write it as the standard's reference says",
            )]
        })?;
        definition.source = source;
        let faults = check::check(&definition);
        if faults.is_empty() {
            Ok(definition)
        } else {
            Err(located(faults))
        }
    }
}
