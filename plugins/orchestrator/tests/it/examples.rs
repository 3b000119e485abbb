//! Examples of the standard, any directory of them: each is judged, and run to its end on a real host when it needs nothing that is
//! not there. What it is given, and what it may end with, is read from its definition, so that no example is known by its name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use nself_plugin_orchestrator::{
    dsl::{Definition, Fault, Format},
    engine::Program,
};
use nself_plugin_testkit::{LIMIT, TestHost, sample};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::world::World;
use crate::{
    stage::{act, builder, count, ended, run as run_of, send, until_count},
    stub::Stub,
};

#[path = "examples/reading.rs"]
mod reading;
#[path = "examples/world.rs"]
mod world;

/// How often all events are sent that an example listens to.
const ROUNDS: usize = 6;

/// What is found of an example.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ends as it says.
    Runs(String),
    /// It is good, and not run: why.
    LeftOut(String),
    /// It is refused, or ends otherwise.
    Fails(String),
}

/// Judges the definitions of a directory (`*.yaml`), in the order of their names.
///
/// # Panics
///
/// When the directory cannot be read, or the host does not start.
pub(crate) async fn run(directory: &Path) -> Vec<(String, Verdict)> {
    let examples: Vec<(String, Result<Value, String>)> = read_directory(directory);
    let good: Vec<&Value> = examples
        .iter()
        .filter_map(|(_, read)| read.as_ref().ok())
        .collect();
    let ground = Ground::open(&good).await;
    let mut verdicts = Vec::new();
    for (number, (file, read)) in examples.into_iter().enumerate() {
        let verdict = match &read {
            Err(why) => Verdict::Fails(why.clone()),
            Ok(definition) => match reading::left_out(definition) {
                Some(why) => Verdict::LeftOut(why),
                None => ground.judge(number, definition).await,
            },
        };
        println!("{file}: {verdict:?}");
        verdicts.push((file, verdict));
    }
    ground.host.stop().await;
    verdicts
}

fn read_directory(directory: &Path) -> Vec<(String, Result<Value, String>)> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let paths: BTreeSet<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("a text");
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        (file.into_owned(), valid(&text))
    };
    paths.into_iter().map(read).collect()
}

/// A definition that is valid and compiles, as a document.
fn valid(text: &str) -> Result<Value, String> {
    let faults = |faults: Vec<Fault>| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        faults.join("; ")
    };
    let definition = Definition::parse(text, Format::Yaml).map_err(faults)?;
    Program::compile(&definition).map_err(|error| error.to_string())?;
    serde_norway::from_str(text).map_err(|error| error.to_string())
}

/// A host, the server that stands for all others, and the database.
struct Ground {
    host: TestHost,
    sql: tokio_postgres::Client,
    server: Stub,
    base: String,
}

impl Ground {
    async fn open(definitions: &[&Value]) -> Self {
        let world = World::of(definitions);
        let server = Stub::open(move |asked, address| world.answer(asked, address)).await;
        let base = format!("http://{}", server.address);
        let names = definitions.iter().flat_map(|one| reading::secrets(one));
        let secrets: BTreeMap<String, Value> =
            names.map(|name| (name, world::secret(&base))).collect();
        let config = format!("{}run = [\"shell\", \"script\"]\n", server.egress());
        // The built program: programs are run by that.
        let host = builder()
            .program()
            .config(&config)
            .secret("workflow-secrets", &json!(secrets).to_string())
            .start()
            .await;
        let sql = host.sql().await;
        let ground = Self {
            host,
            sql,
            server,
            base,
        };
        let children = definitions.iter().flat_map(|one| reading::children(one));
        for child in children.collect::<BTreeSet<_>>() {
            ground.keep_child(&child).await;
        }
        ground
    }

    /// A workflow that examples run, and that says what it was given.
    async fn keep_child(&self, (namespace, name, version): &(String, String, String)) {
        let version = if version == "latest" {
            "1.0.0"
        } else {
            version
        };
        let child = json!({
            "document": {"dsl": "1.0.0", "namespace": namespace, "name": name, "version": version},
            "do": [{"tell": {"set": {"ran": name, "with": "${ . }"}}}],
        });
        let kept = self.keep(&child).await;
        kept.unwrap_or_else(|why| panic!("{name}: {why}"));
    }

    async fn keep(&self, definition: &Value) -> Result<Value, String> {
        let request = self.host.post("/v1/workflow-definitions").operator();
        let request = request.header("content-type", "application/json");
        let answer = request.body(definition.to_string()).send().await;
        match answer.status {
            200 => Ok(answer.data()),
            _ => Err(answer.text()),
        }
    }

    /// Runs an example under a name of its own, its addresses mapped.
    async fn judge(&self, number: usize, definition: &Value) -> Verdict {
        let mut mapped = reading::mapped(definition, &self.base);
        mapped["document"]["name"] = json!(format!("example-{number}"));
        let kept = match self.keep(&mapped).await {
            Ok(kept) => kept,
            Err(why) => return Verdict::Fails(why),
        };
        let asked_before = self.server.asked().len();
        let run = self.ran(number, definition, &kept).await;
        let part = |name: &str| kept[name].as_str().expect("a text").to_owned();
        let path = format!(
            "/v1/workflows/{}/{}/{}",
            part("namespace"),
            part("name"),
            part("version")
        );
        // What events and times start is not to start again.
        self.host.delete(&path).operator().send().await;
        let run = match run {
            Ok(run) => run,
            Err(why) => return Verdict::Fails(why),
        };
        let asked = self.server.asked();
        let is_proved = asked[asked_before..]
            .iter()
            .any(|asked| !asked.header("authorization").is_empty());
        if reading::proves_itself(definition) && !is_proved {
            return Verdict::Fails("no request says who sends it".to_owned());
        }
        verdict(definition, &run)
    }

    /// The run of an example when it has ended, or has heard all and listens on.
    async fn ran(&self, number: usize, definition: &Value, kept: &Value) -> Result<Value, String> {
        let is_started_by_events = !definition["schedule"]["on"].is_null();
        let mut id = if is_started_by_events {
            Value::Null
        } else {
            self.start(definition, kept).await?
        };
        let listens = reading::listens(definition);
        let rounds = if listens.is_empty() { 0 } else { ROUNDS };
        for round in 0..rounds {
            self.settle().await;
            if !id.is_null() && self.has_ended(&id).await {
                break;
            }
            for (at, event) in reading::events(&listens, round, &self.base)
                .into_iter()
                .enumerate()
            {
                let mut event = event;
                event["id"] = json!(format!("{number}-{round}-{at}"));
                let sent = send(&self.host, &event).await;
                assert_eq!(sent.status, 200, "{event}: {}", sent.text());
            }
            self.settle().await;
            if id.is_null() {
                id = self.started(kept).await;
            }
        }
        if id.is_null() {
            return Err("no event starts it".to_owned());
        }
        let is_for_ever = listens.iter().any(|one| one.is_for_ever);
        let run = run_of(&self.host, &id).await;
        if is_for_ever && run["ended_at"].is_null() {
            let heard = format!(
                "select count(*) from orchestrator.deliveries where instance_id::text = '{}'",
                id.as_str().unwrap_or_default()
            );
            if count(&self.sql, &heard).await == 0 {
                return Err("it hears nothing".to_owned());
            }
            act(&self.host, &id, "cancel")
                .await
                .expect_status(200)
                .data();
            return Ok(run);
        }
        self.end(&id).await
    }

    async fn start(&self, definition: &Value, kept: &Value) -> Result<Value, String> {
        let mut input = reading::filled(&reading::reads(definition), &self.leaf());
        let schema = &definition["input"]["schema"]["document"];
        if let (Value::Object(wanted), Some(fields)) = (sample(schema), input.as_object_mut()) {
            fields.extend(wanted);
        }
        let path = format!(
            "/v1/workflows/{}/{}/{}/runs",
            kept["namespace"].as_str().unwrap_or_default(),
            kept["name"].as_str().unwrap_or_default(),
            kept["version"].as_str().unwrap_or_default()
        );
        let request = self.host.post(&path).operator();
        let answer = request.json(&json!({"input": input})).send().await;
        match answer.status {
            201 => Ok(answer.data()["id"].clone()),
            _ => Err(answer.text()),
        }
    }

    fn leaf(&self) -> String {
        world::leaf(&self.base)
    }

    /// Nothing that can be worked is left. Times wait for somebody who keeps them.
    async fn settle(&self) {
        let left = "select count(*) from jobs.jobs where state in ('available', 'running', 'retryable') and kind <> 'orchestrator.schedules'";
        until_count(&self.sql, left, 0).await;
    }

    async fn has_ended(&self, id: &Value) -> bool {
        !run_of(&self.host, id).await["ended_at"].is_null()
    }

    /// The run that events have started; null when they have not.
    async fn started(&self, kept: &Value) -> Value {
        let name = kept["name"].as_str().expect("a name");
        let path = format!("/v1/workflow-runs?name={name}");
        let runs = self.host.get(&path).operator().send().await.data();
        runs[0]["id"].clone()
    }

    async fn end(&self, id: &Value) -> Result<Value, String> {
        match timeout(LIMIT / 2, ended(&self.host, id)).await {
            Ok(run) => Ok(run),
            Err(_) => Err(format!("it does not end: {}", run_of(&self.host, id).await)),
        }
    }
}

/// What is to be thought of the end of a run.
fn verdict(definition: &Value, run: &Value) -> Verdict {
    let error = &run["error"];
    match run["status"].as_str() {
        Some("completed") => Verdict::Runs("completed".to_owned()),
        Some("faulted") => {
            let kind = error["type"].as_str().unwrap_or_default();
            if reading::raises(definition).contains(kind) {
                return Verdict::Runs("it ends with the error that it raises".to_owned());
            }
            let instance = error["instance"].as_str().unwrap_or_default();
            let task = instance.rsplit('/').next().unwrap_or_default();
            let is_its_own = kind.ends_with("/expression")
                && reading::looks_into_lists(definition).contains(task);
            if is_its_own {
                let why = format!(
                    "it ends with an error of its own: {task} looks for a field in the list that listen gives"
                );
                return Verdict::Runs(why);
            }
            let detail = error["detail"].as_str().unwrap_or_default();
            if detail.starts_with("there is no ") && detail.contains("programs.path") {
                return Verdict::LeftOut(detail.to_owned());
            }
            Verdict::Fails(error.to_string())
        }
        Some("waiting" | "running") => Verdict::Runs("it listens on, as it says".to_owned()),
        _ => Verdict::Fails(run.to_string()),
    }
}

#[cfg(test)]
fn own() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples")
}

#[cfg(test)]
#[tokio::test]
async fn every_example_of_the_project_runs_or_is_left_out_for_what_it_needs() {
    let verdicts = run(&own()).await;
    let of = |file: &str| {
        let found = verdicts.iter().find(|(one, _)| one == file);
        &found.unwrap_or_else(|| panic!("{file}")).1
    };
    for (file, why) in [
        ("brew-in-a-container.yaml", "it runs a container"),
        ("call-the-kettle-by-grpc.yaml", "it calls grpc"),
        (
            "log-by-a-catalogue.yaml",
            "it calls a function of a catalogue elsewhere",
        ),
        (
            "ring-a-bell.yaml",
            "it calls device-command:1.0.0@default, which needs somebody",
        ),
    ] {
        assert_eq!(*of(file), Verdict::LeftOut(why.to_owned()), "{file}");
    }
    for (file, how) in [
        ("no-tea.yaml", "it ends with the error that it raises"),
        ("listen-for-ever.yaml", "it listens on, as it says"),
        (
            "a-field-of-a-list.yaml",
            "it ends with an error of its own: hear looks for a field in the list that listen gives",
        ),
        ("ask-the-kettle.yaml", "completed"),
        ("brew-by-operation.yaml", "completed"),
        ("count-cups.yaml", "completed"),
        ("echo-in-a-shell.yaml", "completed"),
        ("every-cup.yaml", "completed"),
        ("for-each-pot.yaml", "completed"),
        ("granted.yaml", "completed"),
        ("nightly.yaml", "completed"),
        ("start-on-a-whistle.yaml", "completed"),
        ("taste.yaml", "completed"),
        ("two-signs.yaml", "completed"),
    ] {
        assert_eq!(*of(file), Verdict::Runs(how.to_owned()), "{file}");
    }
    assert_eq!(verdicts.len(), 18);
}

#[cfg(test)]
#[tokio::test]
async fn an_example_that_is_refused_or_ends_otherwise_than_it_says_fails() {
    let folder = tempfile::tempdir().expect("there is room");
    let document = "document: {dsl: '1.0.0', namespace: test, name: bad, version: '1.0.0'}\n";
    for (file, tasks) in [
        ("invalid.yaml", "do: [{a: {boil: {}}}]"),
        (
            "wrong.yaml",
            "do: [{a: {set: {b: '${ .token | tonumber }'}}}]",
        ),
        (
            "other.yaml",
            "do: [{a: {try: [{b: {raise: {error: {type: 'https://t.test/x', status: 400}}}}], catch: {do: [{c: {set: {d: '${ .token | tonumber }'}}}]}}}]",
        ),
    ] {
        let text = format!("{document}{tasks}\n");
        fs::write(folder.path().join(file), text).expect("it is ours");
    }
    let verdicts = run(folder.path()).await;
    for (file, word) in [
        ("invalid.yaml", "/do/0"),
        ("wrong.yaml", "expression"),
        ("other.yaml", "expression"),
    ] {
        let found = verdicts.iter().find(|(one, _)| one == file);
        let Some((_, Verdict::Fails(why))) = found else {
            panic!("{file}: {found:?}");
        };
        assert!(why.contains(word), "{file}: {why}");
    }
}
