//! Conformance: scenarios in Gherkin, in the words of the standard's own kit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nself_plugin_orchestrator::engine::{Authentication, HttpCall, RecordStatus, Status};
use serde_json::{Value, json};

use crate::driver::Driver;

/// A scenario: what is given, and what is expected then.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) definition: String,
    pub(crate) input: Value,
    expected: Vec<(String, Value)>,
}

/// What came of a workflow.
pub(crate) struct Ran {
    /// Its output, or its error.
    pub(crate) end: Result<Value, Value>,
    /// Names of its tasks, in the order in which they started.
    pub(crate) started: Vec<String>,
}

#[test]
fn every_scenario_of_the_project_passes() {
    let scenarios = read_directory(&features());
    assert!(scenarios.len() >= 10);
    scenarios.iter().for_each(check);
}

/// The project's own scenarios.
pub(crate) fn features() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/features")
}

/// The scenarios of all features in a directory.
pub(crate) fn read_directory(directory: &Path) -> Vec<Scenario> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("the directory is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "feature")
        })
        .collect();
    paths.sort();
    let text = |path| fs::read_to_string(path).expect("a text");
    paths
        .into_iter()
        .flat_map(|path| read(&text(path)))
        .collect()
}

fn read(text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut step = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let words = line.trim();
        if let Some(name) = words.strip_prefix("Scenario:") {
            scenarios.push(Scenario {
                name: name.trim().to_owned(),
                definition: String::new(),
                input: json!({}),
                expected: Vec::new(),
            });
            continue;
        }
        let Some(scenario) = scenarios.last_mut() else {
            continue;
        };
        if words.starts_with("\"\"\"") {
            let indent = line.len() - line.trim_start().len();
            let document = lines
                .by_ref()
                .take_while(|line| !line.trim().starts_with("\"\"\""));
            let document = document.fold(String::new(), |text, line| {
                text + line.get(indent..).unwrap_or(line.trim_start()) + "\n"
            });
            scenario.give(&step, document);
        } else {
            let keywords = ["Given ", "When ", "Then ", "And ", "But "];
            let words = keywords
                .iter()
                .find_map(|keyword| words.strip_prefix(keyword));
            if let Some(words) = words {
                words.clone_into(&mut step);
                scenario.expect(words);
            }
        }
    }
    scenarios
}

impl Scenario {
    /// A step that stands for itself, or has a text under it.
    fn expect(&mut self, words: &str) {
        let is_given = words.starts_with("a workflow") || words.starts_with("given the workflow");
        if !is_given && words != "the workflow is executed" {
            self.expected.push((words.to_owned(), Value::Null));
        }
    }

    /// The text under a step.
    fn give(&mut self, step: &str, document: String) {
        if step == "a workflow with definition:" {
            self.definition = document;
            return;
        }
        let value: Value = serde_norway::from_str(&document).expect("YAML");
        if step.starts_with("given the workflow input is") {
            self.input = value;
        } else {
            let last = self.expected.last_mut();
            last.expect("a text stands under a step").1 = value;
        }
    }
}

/// Runs a scenario on the engine alone.
pub(crate) fn check(scenario: &Scenario) {
    let mut driver = Driver::new(&scenario.definition, scenario.input.clone());
    driver.stub = Box::new(|call: &HttpCall| {
        let (_, rest) = call.endpoint.split_once("://").expect("a URI");
        let login = match &call.authentication {
            Some(Authentication::Basic { username, password }) => {
                Some(format!("{username}/{password}"))
            }
            _ => None,
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        pet_store(("https", host), path, login.as_deref())
    });
    let end = match driver.run() {
        Status::Completed(output) => Ok(output),
        Status::Faulted(error) => Err(serde_json::to_value(error).expect("JSON")),
        other => panic!("{}: {other:?}", scenario.name),
    };
    let started = driver.named(RecordStatus::Started);
    let started = started.into_iter().map(str::to_owned).collect();
    judge(scenario, &Ran { end, started });
}

/// Whether what came of it is what the scenario expects.
///
/// # Panics
///
/// When it is not, or when the scenario says something that nobody knows.
pub(crate) fn judge(scenario: &Scenario, ran: &Ran) {
    let name = &scenario.name;
    let output = ran.end.as_ref().unwrap_or(&Value::Null);
    let order = |which: &str| -> usize {
        let at = ran.started.iter().position(|task| task == which);
        at.unwrap_or_else(|| panic!("{name}: {which} never ran"))
    };
    for (words, value) in &scenario.expected {
        let quoted: Vec<&str> = words.split('\'').skip(1).step_by(2).collect();
        if words == "the workflow should complete" {
            assert!(ran.end.is_ok(), "{name}: {:?}", ran.end);
        } else if words == "the workflow should complete with output:" {
            assert_eq!(ran.end.as_ref(), Ok(value), "{name}");
        } else if words.starts_with("the workflow should fault") {
            let error = ran.end.as_ref().expect_err(name);
            for (field, expected) in value.as_object().into_iter().flatten() {
                assert_eq!(error[field], *expected, "{name}: {field}");
            }
        } else if words.starts_with("the workflow output should have properties") {
            for path in quoted {
                assert!(
                    property(output, path).is_some(),
                    "{name}: {path} of {output}"
                );
            }
        } else if words.ends_with("property with value:") {
            assert_eq!(property(output, quoted[0]), Some(value), "{name}");
        } else if words.contains("property containing") {
            let number = words.split_whitespace().find_map(|word| word.parse().ok());
            let items = property(output, quoted[0]).and_then(Value::as_array);
            assert_eq!(items.map(Vec::len), number, "{name}: {output}");
        } else if let Some(first) = words.strip_suffix(" should run first") {
            assert_eq!(order(first), 0, "{name}");
        } else if let Some((after, before)) = words.split_once(" should run after ") {
            assert!(order(after) > order(before), "{name}");
        } else {
            panic!("{name}: nobody knows what \"{words}\" means");
        }
    }
}

fn property<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.')
        .try_fold(value, |value, part| value.get(part))
}

/// What the servers of the scenarios answer, by their scheme and host, path, and who asks ("name/password").
pub(crate) fn pet_store(
    (scheme, host): (&str, &str),
    path: &str,
    login: Option<&str>,
) -> (u16, Value) {
    let path = path.split('?').next().unwrap_or_default();
    let pet = json!({"id": 1, "name": "milou", "status": "available"});
    match path {
        "v2/swagger.json" | "swagger.json" => (
            200,
            json!({
                "swagger": "2.0", "host": host, "basePath": "/v2", "schemes": [scheme],
                "paths": {
                    "/pet/findByStatus": {"get": {"operationId": "findPetsByStatus", "parameters": [
                        {"name": "status", "in": "query", "required": true, "type": "array"}]}},
                    "/pet/{petId}": {"get": {"operationId": "getPetById", "parameters": [
                        {"name": "petId", "in": "path", "required": true, "type": "integer"}]}},
                },
            }),
        ),
        "v2/pet/findByStatus" => (200, json!([pet])),
        path if path.starts_with("v2/pet/") && path.len() > "v2/pet/".len() => (200, pet),
        path => match path.strip_prefix("basic-auth/") {
            Some(expected) if login == Some(expected) => (200, json!({"authenticated": true})),
            Some(_) => (401, Value::Null),
            None => (404, Value::Null),
        },
    }
}
