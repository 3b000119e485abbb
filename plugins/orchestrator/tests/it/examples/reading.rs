//! What a definition says of itself: what it needs, what it reads, what it listens to, and which errors are its own.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// An operation of OpenAPI and its parameters.
pub(crate) type Operation = (String, BTreeSet<String>);

/// Fields that expressions and addresses read.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub paths: BTreeSet<Vec<String>>,
    /// Those that are gone through one by one.
    pub lists: BTreeSet<Vec<String>>,
}

impl Reads {
    pub(crate) fn extend(&mut self, others: Self) {
        self.paths.extend(others.paths);
        self.lists.extend(others.lists);
    }
}

/// One `listen`, or what starts a workflow.
#[derive(Debug)]
pub(crate) struct Listens {
    filters: Vec<Value>,
    /// The events that end it.
    until: Vec<Value>,
    /// It goes on whatever comes.
    pub is_for_ever: bool,
}

/// Calls what `look` says with each object of a document, those within what tasks hand on left out.
fn walk<'v>(value: &'v Value, look: &mut impl FnMut(&'v Map<String, Value>)) {
    const DATA: [&str; 6] = ["with", "set", "input", "output", "export", "document"];
    match value {
        Value::Object(fields) => {
            look(fields);
            let tasks = fields
                .iter()
                .filter(|(name, _)| !DATA.contains(&name.as_str()));
            tasks.for_each(|(_, value)| walk(value, look));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, look)),
        _ => {}
    }
}

/// Why an example is not run; none when it can be.
pub(crate) fn left_out(definition: &Value) -> Option<String> {
    let functions = definition["use"]["functions"].as_object();
    let mut why = None;
    walk(definition, &mut |task| {
        let called = task.get("call").and_then(Value::as_str);
        let reason = match called {
            None | Some("http" | "openapi") => None,
            Some(kind @ ("grpc" | "asyncapi" | "a2a" | "mcp")) => Some(format!("it calls {kind}")),
            Some(name) if functions.is_some_and(|known| known.contains_key(name)) => None,
            Some(address) if address.contains("://") => {
                Some("it calls a function of a catalogue elsewhere".to_owned())
            }
            Some(name) => Some(format!("it calls {name}, which needs somebody")),
        };
        let is_container = task
            .get("run")
            .is_some_and(|run| run["container"].is_object());
        let container = is_container.then(|| "it runs a container".to_owned());
        why = why.take().or(reason).or(container);
    });
    why
}

/// Names of its secrets.
pub(crate) fn secrets(definition: &Value) -> Vec<String> {
    let names = definition["use"]["secrets"]
        .as_array()
        .into_iter()
        .flatten();
    names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// Workflows that it runs: namespace, name and version.
pub(crate) fn children(definition: &Value) -> Vec<(String, String, String)> {
    let mut children = Vec::new();
    walk(definition, &mut |task| {
        let Some(child) = task.get("run").map(|run| &run["workflow"]) else {
            return;
        };
        let part = |name: &str| child[name].as_str().map(str::to_owned);
        if let (Some(namespace), Some(name)) = (part("namespace"), part("name")) {
            let version = part("version").unwrap_or_else(|| "latest".to_owned());
            children.push((namespace, name, version));
        }
    });
    children
}

/// Operations of OpenAPI that it calls, with their documents.
pub(crate) fn operations(definition: &Value) -> Vec<(String, Operation)> {
    let mut operations = Vec::new();
    walk(definition, &mut |task| {
        if task.get("call").and_then(Value::as_str) != Some("openapi") {
            return;
        }
        let Some(with) = task.get("with") else { return };
        let endpoint = &with["document"]["endpoint"];
        let document = endpoint.as_str().or_else(|| endpoint["uri"].as_str());
        let parameters = with["parameters"].as_object().into_iter().flatten();
        let parameters = parameters.map(|(name, _)| name.clone()).collect();
        if let (Some(document), Some(id)) = (document, with["operationId"].as_str()) {
            operations.push((document.to_owned(), (id.to_owned(), parameters)));
        }
    });
    operations
}

/// Whether its requests are to say who sends them. A digest comes after a challenge, which nobody here makes.
pub(crate) fn proves_itself(definition: &Value) -> bool {
    let mut proves = false;
    every(definition, &mut |name, value| {
        let is_proof = matches!(name, "basic" | "bearer" | "oauth2" | "oidc");
        proves |= is_proof && value.is_object();
    });
    proves
}

/// Types of the errors that it raises.
pub(crate) fn raises(definition: &Value) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    walk(definition, &mut |task| {
        let Some(error) = task.get("raise").map(|raise| &raise["error"]) else {
            return;
        };
        let error = match error.as_str() {
            Some(name) => &definition["use"]["errors"][name],
            None => error,
        };
        types.extend(error["type"].as_str().map(str::to_owned));
    });
    types
}

/// Names of tasks that listen and take a field of what that gives, which is a list and has none.
pub(crate) fn looks_into_lists(definition: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(definition, &mut |tasks| {
        for (name, task) in tasks {
            let output = task["output"]["as"].as_str().unwrap_or_default();
            let output = output.trim_start_matches("${").trim_start();
            let is_field = output.strip_prefix('.').is_some_and(starts_a_name);
            if task["listen"].is_object() && is_field {
                names.insert(name.clone());
            }
        }
    });
    names
}

fn starts_a_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Calls `look` with each field of a document.
fn every<'v>(value: &'v Value, look: &mut impl FnMut(&'v str, &'v Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                look(name, value);
                every(value, look);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| every(value, look)),
        _ => {}
    }
}

/// All texts of a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// What its expressions and addresses read.
pub(crate) fn reads(definition: &Value) -> Reads {
    let mut reads = Reads::default();
    for text in texts(definition) {
        reads.paths.extend(paths(text));
        let names = text.split('{').skip(1).filter_map(|rest| {
            let (name, _) = rest.split_once('}')?;
            let is_name = starts_a_name(name) && name.chars().all(is_of_a_name);
            is_name.then(|| vec![name.to_owned()])
        });
        reads.paths.extend(names);
    }
    every(definition, &mut |name, value| {
        if name == "for" {
            let list = value["in"].as_str().unwrap_or_default();
            reads.lists.extend(paths(list));
        }
    });
    reads
}

fn is_of_a_name(one: char) -> bool {
    one.is_ascii_alphanumeric() || one == '_'
}

/// The fields that an expression reads of what it is given: `.a.b`, and not `$x.a`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut before = ' ';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_start = first == '.' && !is_of_a_name(before) && !")]\"".contains(before);
        let mut path = Vec::new();
        let mut end = rest;
        while is_start && end.strip_prefix('.').is_some_and(starts_a_name) {
            let name: String = end[1..]
                .chars()
                .take_while(|one| is_of_a_name(*one))
                .collect();
            end = &end[1 + name.len()..];
            path.push(name);
        }
        if path.is_empty() {
            before = first;
            rest = &rest[first.len_utf8()..];
        } else {
            before = 'a';
            rest = end;
            found.push(path);
        }
    }
    found
}

/// An object with all these fields.
pub(crate) fn filled(reads: &Reads, leaf: &str) -> Value {
    let mut all = json!({});
    // Short ones first: what is within a field counts more than the field.
    let mut paths: Vec<&Vec<String>> = reads.paths.iter().collect();
    paths.sort_by_key(|path| path.len());
    for path in paths {
        put(&mut all, path, json!(leaf));
    }
    for path in &reads.lists {
        put(&mut all, path, json!([{"id": leaf}]));
    }
    all
}

fn put(into: &mut Value, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *into = value;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    put(&mut into[name.as_str()], rest, value);
}

/// A definition whose addresses are below one server's.
pub(crate) fn mapped(definition: &Value, base: &str) -> Value {
    fn map(value: &mut Value, is_address: bool, base: &str) {
        match value {
            Value::String(text) if is_address => *text = mapped_text(text, base),
            Value::Array(values) => values
                .iter_mut()
                .for_each(|value| map(value, is_address, base)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    let is_one = matches!(name.as_str(), "endpoint" | "uri" | "authority");
                    map(value, is_one, base);
                }
            }
            _ => {}
        }
    }
    let mut definition = definition.clone();
    map(&mut definition, false, base);
    definition
}

/// The same of a text: `https://example.org/tea` is `BASE/example.org/tea`.
pub(crate) fn mapped_text(text: &str, base: &str) -> String {
    let mut mapped = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = (&rest[..at], &rest[at + 3..]);
        let scheme = before
            .strip_suffix("https")
            .or_else(|| before.strip_suffix("http"));
        let is_host = after.starts_with(|first: char| first.is_ascii_alphanumeric());
        match scheme.filter(|_| is_host) {
            Some(before) => mapped.extend([before, base, "/"]),
            None => mapped.extend([before, "://"]),
        }
        rest = after;
    }
    mapped + rest
}

/// What it listens to.
pub(crate) fn listens(definition: &Value) -> Vec<Listens> {
    let mut found: Vec<Listens> = Vec::new();
    walk(definition, &mut |task| {
        let to = task.get("listen").map(|listen| &listen["to"]);
        let on = task.get("schedule").map(|schedule| &schedule["on"]);
        let consumed = to.or(on).filter(|consumed| consumed.is_object());
        found.extend(consumed.map(|consumed| {
            let until = &consumed["until"];
            let condition = until.as_str().unwrap_or_default();
            let condition = condition.trim_start_matches("${").trim_end_matches('}');
            Listens {
                filters: filters(consumed),
                until: filters(until),
                is_for_ever: condition.trim() == "false",
            }
        }));
    });
    found
}

fn filters(consumed: &Value) -> Vec<Value> {
    let many = ["all", "any"]
        .iter()
        .flat_map(|name| consumed[name].as_array().into_iter().flatten());
    let one = consumed.get("one");
    let mut filters: Vec<Value> = many.chain(one).cloned().collect();
    if consumed["any"].as_array().is_some_and(Vec::is_empty) {
        filters.push(json!({"with": {}}));
    }
    filters
}

/// The events that are sent in a round: those that end something only when others have come before.
pub(crate) fn events(listens: &[Listens], round: usize, base: &str) -> Vec<Value> {
    let wanted = listens.iter().flat_map(|one| &one.filters);
    let last = listens.iter().flat_map(|one| &one.until);
    let last = last.filter(|_| round > 0);
    wanted
        .chain(last)
        .flat_map(|filter| matching(filter, base))
        .collect()
}

/// Events that a filter may mean. What it wants of their data is tried around each number that it names.
fn matching(filter: &Value, base: &str) -> Vec<Value> {
    let mut event = json!({"specversion": "1.0", "source": format!("{base}/events"), "type": "org.example.something"});
    for (name, wanted) in filter["with"].as_object().into_iter().flatten() {
        let is_expression = wanted.as_str().is_some_and(|text| text.contains("${"));
        if !is_expression {
            event[name.as_str()] = wanted.clone();
        }
    }
    for (_, correlation) in filter["correlate"].as_object().into_iter().flatten() {
        for path in paths(correlation["from"].as_str().unwrap_or_default()) {
            put(&mut event, &path, json!("same"));
        }
    }
    let data = filter["with"]["data"].as_str().unwrap_or_default();
    let numbers = data.split(|one: char| !one.is_ascii_digit());
    let numbers = numbers.filter_map(|digits| digits.parse::<i64>().ok());
    let mut values: Vec<Value> = numbers
        .flat_map(|number| [number - 1, number, number + 1])
        .map(Value::from)
        .collect();
    if values.is_empty() {
        values.push(json!(base));
    }
    let read = paths(data);
    let with = |value: Value| {
        let mut event = event.clone();
        if event["data"].is_null() && !read.is_empty() {
            for path in &read {
                put(&mut event["data"], path, value.clone());
            }
        } else if event["data"].is_null() && !data.is_empty() {
            event["data"] = value;
        }
        event
    };
    values.into_iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_reads_fields_of_what_it_is_given_and_not_those_of_variables() {
        for (text, expected) in [
            ("${ .a.b + $context.c }", vec![vec!["a", "b"]]),
            ("a.b.c", vec![]),
            (".x[0].y", vec![vec!["x"]]),
            ("'${ \"to-\\(.name)\" }'", vec![vec!["name"]]),
        ] {
            assert_eq!(paths(text), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_below_the_one_server() {
        for (text, expected) in [
            ("https://tea.test/a/{b}", "B/tea.test/a/{b}"),
            (
                "${ \"http://tea.test/\\(.a)\" }",
                "${ \"B/tea.test/\\(.a)\" }",
            ),
            ("file://tea", "file://tea"),
        ] {
            assert_eq!(mapped_text(text, "B"), expected);
        }
    }
}
