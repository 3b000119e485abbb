//! Conformance: scenarios in Gherkin, in the words of the standard's own kit.

use std::{fs, path::Path};

use nself_plugin_orchestrator::engine::{HttpCall, RecordStatus, Status};
use serde_json::{Value, json};

use crate::driver::Driver;

/// A scenario: its name and its steps, each with the text under it.
struct Scenario {
    name: String,
    steps: Vec<(String, Value)>,
}

#[test]
fn every_scenario_of_the_project_passes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/features");
    assert!(run_directory(&directory) >= 10);
}

/// Runs every feature of a directory; how many scenarios there were.
pub(crate) fn run_directory(directory: &Path) -> usize {
    let mut count = 0;
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("the directory is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "feature")
        })
        .collect();
    paths.sort();
    for path in paths {
        for scenario in read(&fs::read_to_string(&path).expect("a text")) {
            println!("{}: {}", path.display(), scenario.name);
            check(&scenario);
            count += 1;
        }
    }
    count
}

fn read(text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let words = line.trim();
        if let Some(name) = words.strip_prefix("Scenario:") {
            scenarios.push(Scenario {
                name: name.trim().to_owned(),
                steps: Vec::new(),
            });
        } else if words.starts_with("\"\"\"") {
            let indent = line.len() - line.trim_start().len();
            let mut document = String::new();
            for line in lines.by_ref() {
                if line.trim().starts_with("\"\"\"") {
                    break;
                }
                document.push_str(line.get(indent..).unwrap_or(line.trim_start()));
                document.push('\n');
            }
            let step = scenarios
                .last_mut()
                .and_then(|scenario| scenario.steps.last_mut());
            let (words, value) = step.expect("a text stands under a step");
            *value = if words.ends_with("definition:") {
                Value::String(document)
            } else {
                serde_norway::from_str(&document).expect("YAML")
            };
        } else if let Some(scenario) = scenarios.last_mut() {
            let words = ["Given ", "When ", "Then ", "And ", "But "]
                .iter()
                .find_map(|keyword| words.strip_prefix(keyword));
            if let Some(words) = words {
                scenario.steps.push((words.to_owned(), Value::Null));
            }
        }
    }
    scenarios
}

fn check(scenario: &Scenario) {
    let mut definition = String::new();
    let mut input = json!({});
    let mut driver = None;
    let mut status = Status::Waiting;
    let name = &scenario.name;
    for (words, value) in &scenario.steps {
        let output = match &status {
            Status::Completed(output) => output,
            _ => &Value::Null,
        };
        let quoted: Vec<&str> = words.split('\'').skip(1).step_by(2).collect();
        let order = |which: &str| -> usize {
            let driver: &Driver = driver.as_ref().expect("it ran");
            let started = driver.named(RecordStatus::Started);
            started
                .iter()
                .position(|task| *task == which)
                .unwrap_or_else(|| panic!("{name}: {which} never ran"))
        };
        if words == "a workflow with definition:" {
            value.as_str().expect("a text").clone_into(&mut definition);
        } else if words.starts_with("given the workflow input is") {
            input = value.clone();
        } else if words == "the workflow is executed" {
            let mut one = Driver::new(&definition, input.clone());
            one.stub = Box::new(pet_store);
            status = one.run();
            driver = Some(one);
        } else if words == "the workflow should complete" {
            assert!(matches!(status, Status::Completed(_)), "{name}: {status:?}");
        } else if words == "the workflow should complete with output:" {
            assert_eq!(status, Status::Completed(value.clone()), "{name}");
        } else if words.starts_with("the workflow should fault") {
            let Status::Faulted(error) = &status else {
                panic!("{name}: {status:?}")
            };
            let error = serde_json::to_value(error).expect("JSON");
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

/// What the servers of the scenarios answer, by host and path.
fn pet_store(call: &HttpCall) -> (u16, Value) {
    let (_, rest) = call.endpoint.split_once("://").expect("a URI");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split('?').next().unwrap_or_default();
    let pet = json!({"id": 1, "name": "milou", "status": "available"});
    match (host, path) {
        (_, "v2/swagger.json" | "swagger.json") => (
            200,
            json!({
                "swagger": "2.0", "host": host, "basePath": "/v2", "schemes": ["https", "http"],
                "paths": {
                    "/pet/findByStatus": {"get": {"operationId": "findPetsByStatus", "parameters": [
                        {"name": "status", "in": "query", "required": true, "type": "array"}]}},
                    "/pet/{petId}": {"get": {"operationId": "getPetById", "parameters": [
                        {"name": "petId", "in": "path", "required": true, "type": "integer"}]}},
                },
            }),
        ),
        (_, "v2/pet/findByStatus") => (200, json!([pet])),
        (_, path) if path.starts_with("v2/pet/") && path.len() > "v2/pet/".len() => (200, pet),
        (_, path) if path.starts_with("basic-auth/") => {
            let expected = path.trim_start_matches("basic-auth/");
            match &call.authentication {
                Some(nself_plugin_orchestrator::engine::Authentication::Basic {
                    username,
                    password,
                }) if expected == format!("{username}/{password}") => {
                    (200, json!({"authenticated": true}))
                }
                _ => (401, Value::Null),
            }
        }
        _ => (404, Value::Null),
    }
}
