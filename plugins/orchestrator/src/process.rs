//! Shells, scripts and containers. A program is run by the host, as far as the operator's list lets it; here a task becomes such a program,
//! and its end an outcome. A job holds it: when the host dies, the program dies with it, and the job is worked again under the same key.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use nself_plugin_api::{
    capability::process::{Container, Ended, Program, Pull, Running, What},
    futures_util::future::{self, Either},
    prelude::*,
    serde_json::{Value, json},
    tracing::{info, warn},
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    advance::{By, advance},
    calling, dsl,
    engine::{Error as Fault, Need, NeedId, Outcome, Process, Return, Run, ScriptRun, ScriptText},
    exchange::{Exchange, failed},
    store::{jobs, needs},
    watching::{News, Watcher},
};

/// The job that holds a program.
pub(crate) const KIND: &str = "orchestrator.process";
/// The job that removes a container some time after its end.
pub(crate) const REMOVAL: &str = "orchestrator.container_end";
/// Time for one attempt at it: more than the longest that an operator can allow.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(25 * 3_600);
/// The variable with the key that is the same whenever this program is run.
const KEY: &str = "IDEMPOTENCY_KEY";
/// The largest script that is fetched.
const SCRIPT_BYTES_MAX: usize = 4 << 20;
/// The last of what a program complained that is told of it, characters.
const TOLD_MAX: usize = 1_000;
/// A program that is not wanted any more is told so by a notification. Those get lost when the connection does.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between looks while the database is away.
const AWAY: Duration = Duration::from_secs(1);
/// What shells add to the number of a signal.
const BY_SIGNAL: i32 = 128;

#[derive(Deserialize)]
struct Which {
    instance: Uuid,
    need: i64,
}

#[derive(Deserialize)]
struct WhichKey {
    key: String,
}

/// Hands a program to a job of its own, which may take as long as the program does.
pub(crate) async fn hand_over(
    cx: &Cx<Orchestrator>,
    instance: Uuid,
    need: i64,
    family: Option<Uuid>,
) -> Result<()> {
    let payload = json!({"instance": instance, "need": need});
    let options = json!({"family_id": family, "unique": format!("{instance}/{need}")});
    jobs::enqueue(&cx.db(), KIND, &payload, &options).await?;
    Ok(())
}

/// A program of an instance is to be run.
pub(crate) async fn work(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let Which { instance, need } = job.json()?;
    let Some(Need::Run(run)) = calling::find_need(&cx, instance, need).await? else {
        return Ok(());
    };
    let id = crate::advance::need(need);
    let unwanted = pin!(unwanted(&cx, instance, need));
    let started = match future::select(pin!(start(&cx, &run)), unwanted).await {
        Either::Left((started, unwanted)) => started.map(|running| (running, unwanted)),
        Either::Right(_) => return Ok(()),
    };
    let (running, unwanted) = match started {
        Ok(running) => running,
        Err(fault) => return tell(&cx, instance, id, Outcome::Failed(fault)).await,
    };
    if !run.awaited {
        tell(&cx, instance, id, Outcome::Done).await?;
        leave(running.end().await, instance);
        return Ok(());
    }
    match future::select(pin!(running.end()), unwanted).await {
        Either::Left((ended, _)) => {
            let outcome = judge(&run, ended).unwrap_or_else(Outcome::Failed);
            remove_later(&cx, &run).await?;
            tell(&cx, instance, id, outcome).await
        }
        // What runs ends with what holds it.
        Either::Right(_) => Ok(()),
    }
}

async fn tell(cx: &Cx<Orchestrator>, instance: Uuid, need: NeedId, outcome: Outcome) -> Result<()> {
    advance(cx, instance, vec![(need, outcome)], By::Outcome).await
}

/// Nobody waits for this end.
fn leave(ended: Result<Ended>, instance: Uuid) {
    match ended {
        Ok(ended) => {
            info!(%instance, code = ended.code, signal = ended.signal, "a program that nobody waits for ended");
        }
        Err(error) => {
            warn!(%instance, %error, "a program that nobody waits for did not end by itself");
        }
    }
}

/// Waits until an instance needs something no more.
async fn unwanted(cx: &Cx<Orchestrator>, instance: Uuid, need: i64) {
    let mut watcher = Watcher::of(cx, instance, News::Any);
    loop {
        // A database that is away says nothing, and then nothing changes.
        let open = needs::of(&cx.db(), instance).await;
        if open.is_ok_and(|open| !open.contains(&need)) {
            return;
        }
        match watcher.news(LOOK_EVERY).await {
            Ok(true) => {}
            Err(_) if cx.clock().sleep(AWAY).await.is_ok() => {}
            // What runs may come to its end in the time that the plugin has for that.
            Ok(false) | Err(_) => return future::pending().await,
        }
    }
}

async fn start(cx: &Cx<Orchestrator>, run: &Run) -> Result<Running, Fault> {
    let mut program = match &run.process {
        Process::Shell(fields) => of(
            fields,
            What::Shell {
                command: text(fields, "command")?,
            },
        ),
        Process::Script(script) => of_script(cx, script).await?,
        Process::Container(fields) => of(fields, What::Container(container(fields, &run.key)?)),
        Process::Workflow(_) => return Err(Fault::runtime("a workflow is no program")),
    };
    let key = || run.key.clone();
    program
        .environment
        .entry(KEY.to_owned())
        .or_insert_with(key);
    cx.process()
        .start(&program)
        .await
        .map_err(|error| fault(&error))
}

/// A program with the fields that all of them have.
fn of(fields: &Value, what: What) -> Program {
    let mut program = Program::of(what);
    for argument in fields["arguments"].as_array().into_iter().flatten() {
        program.arguments.push(word(argument));
    }
    for (name, value) in fields["environment"].as_object().into_iter().flatten() {
        program.environment.insert(name.clone(), word(value));
    }
    program.stdin = match &fields["stdin"] {
        Value::Null => None,
        value => Some(word(value)),
    };
    program
}

/// A value as a program reads it.
fn word(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn text(fields: &Value, name: &str) -> Result<String, Fault> {
    let text = fields[name].as_str().map(str::to_owned);
    text.ok_or_else(|| Fault::expression(format!("`{name}` is no text")))
}

async fn of_script(cx: &Cx<Orchestrator>, script: &ScriptRun) -> Result<Program, Fault> {
    let code = match &script.text {
        ScriptText::Inline(code) => code.clone(),
        ScriptText::At {
            uri,
            authentication,
        } => {
            let exchange = Exchange {
                method: "GET",
                url: uri,
                headers: Vec::new(),
                body: None,
            };
            let answer = exchange.send(cx, authentication.as_ref()).await?;
            if answer.status() != 200 {
                let detail = format!("the script was answered {}", answer.status());
                return Err(Fault::communication(answer.status(), detail));
            }
            let bytes = answer
                .bytes(SCRIPT_BYTES_MAX)
                .await
                .map_err(|error| failed(&error))?;
            String::from_utf8(bytes.to_vec())
                .map_err(|_| Fault::communication(502, "the script is not UTF-8"))?
        }
    };
    let language = text(&script.fields, "language")?;
    Ok(of(&script.fields, What::Script { language, code }))
}

fn container(fields: &Value, key: &str) -> Result<Container, Fault> {
    let pairs = |name: &str| {
        let pairs = fields[name].as_object().into_iter().flatten();
        pairs.map(|(left, right)| (left.clone(), word(right)))
    };
    let port = |text: &str| {
        let port = text.parse::<u16>();
        port.map_err(|_| Fault::validation(format!("{text:?} is no port")))
    };
    let ports = pairs("ports").map(|(here, there)| Ok((port(&here)?, port(&there)?)));
    Ok(Container {
        image: text(fields, "image")?,
        command: fields["command"].as_str().map(str::to_owned),
        name: Some(text(fields, "name")?),
        key: key.to_owned(),
        ports: ports.collect::<Result<BTreeMap<_, _>, Fault>>()?,
        volumes: pairs("volumes").collect(),
        pull: match fields["pullPolicy"].as_str() {
            Some("always") => Pull::Always,
            Some("never") => Pull::Never,
            _ => Pull::Missing,
        },
        is_kept: fields["lifetime"]["cleanup"] != "always",
    })
}

/// What an end means for the task.
fn judge(run: &Run, ended: Result<Ended>) -> Result<Outcome, Fault> {
    let ended = ended.map_err(|error| fault(&error))?;
    if ended.is_truncated {
        return Err(Fault::runtime(
            "it was ended: it wrote more than programs.output_bytes_max allows",
        ));
    }
    let code = ended.code.or(ended.signal.map(|signal| BY_SIGNAL + signal));
    let is_looked_at = matches!(run.returns, Return::Code | Return::All);
    if code != Some(0) && !is_looked_at {
        return Err(Fault::runtime(complaint(&ended)));
    }
    Ok(Outcome::Completed(json!({
        "code": code, "stdout": ended.stdout, "stderr": ended.stderr,
    })))
}

/// How it ended, and the last that it said of why.
fn complaint(ended: &Ended) -> String {
    let how = match (ended.code, ended.signal) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended".to_owned(),
    };
    let told = ended.stderr.trim();
    if told.is_empty() {
        return how;
    }
    let skipped = told.chars().count().saturating_sub(TOLD_MAX);
    let last: String = told.chars().skip(skipped).collect();
    format!("{how}: {last}")
}

/// The standard's error for one of the host's.
pub(crate) fn fault(error: &Error) -> Fault {
    let detail = error.message().to_owned();
    match error.code() {
        "PROCESS_DENIED" => Fault::authorization(detail),
        "CAPABILITY_NOT_GRANTED" => Fault::authorization(
            "the operator has not granted nself.process/1: nself plugin grant orchestrator",
        ),
        "PROCESS_MISSING" | "PROCESS_INVALID" => Fault::configuration(detail),
        "PROCESS_TIMEOUT" => Fault::timeout(detail),
        _ => Fault::runtime(detail),
    }
}

/// A container that is to be removed some time after its end. It is removed by the host that gets that job: where containers are of a
/// machine of their own, the others find nothing.
async fn remove_later(cx: &Cx<Orchestrator>, run: &Run) -> Result<()> {
    let Process::Container(fields) = &run.process else {
        return Ok(());
    };
    let lifetime = &fields["lifetime"];
    let after = dsl::duration(&lifetime["after"]);
    let Some(after) = after.filter(|_| lifetime["cleanup"] == "eventually") else {
        return Ok(());
    };
    let options = json!({"delay": format!("{} seconds", after.as_secs().max(0))});
    jobs::enqueue(&cx.db(), REMOVAL, &json!({"key": run.key}), &options).await?;
    Ok(())
}

/// The time of a container that has ended is over.
pub(crate) async fn remove(cx: Cx<Orchestrator>, job: JobRun) -> Result<()> {
    let WhichKey { key } = job.json()?;
    let removal = Program::of(What::Removal { key });
    cx.process().start(&removal).await?.end().await?;
    Ok(())
}

/// Why tasks of a definition will not run here as the operator's list is now; where each is stands before it.
pub(crate) async fn warnings(cx: &Cx<Orchestrator>, processes: &[(String, String)]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (reference, word) in processes {
        if let Err(error) = cx.process().check(word).await {
            let why = fault(&error).detail.unwrap_or_default();
            warnings.push(format!("{reference}: {why}"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: Option<i32>, signal: Option<i32>) -> Ended {
        Ended {
            code,
            signal,
            stdout: "out".to_owned(),
            stderr: "err\n".to_owned(),
            is_truncated: false,
        }
    }

    fn run(returns: Return) -> Run {
        Run {
            key: "k".to_owned(),
            task: "/do/0/a".to_owned(),
            awaited: true,
            returns,
            process: Process::Shell(json!({"command": "x"})),
        }
    }

    #[test]
    fn a_program_that_fails_is_a_fault_for_who_does_not_ask_how_it_ended() {
        for returns in [Return::Stdout, Return::Stderr, Return::None] {
            let fault = judge(&run(returns), Ok(ended(Some(3), None))).expect_err("it failed");
            assert_eq!(fault.detail.as_deref(), Some("it ended with code 3: err"));
        }
        let told = judge(&run(Return::All), Ok(ended(Some(3), None)));
        let all = json!({"code": 3, "stdout": "out", "stderr": "err\n"});
        assert_eq!(told, Ok(Outcome::Completed(all)));
        let fault = judge(&run(Return::None), Ok(ended(None, Some(9)))).expect_err("it failed");
        assert_eq!(fault.detail.as_deref(), Some("signal 9 ended it: err"));
        let Ok(Outcome::Completed(told)) = judge(&run(Return::Code), Ok(ended(None, Some(9))))
        else {
            panic!("it is looked at");
        };
        assert_eq!(told["code"], 137);
    }

    #[test]
    fn a_part_of_what_was_written_is_no_answer() {
        let cut = Ended {
            is_truncated: true,
            ..ended(Some(0), None)
        };
        assert!(judge(&run(Return::All), Ok(cut)).is_err());
    }

    #[test]
    fn errors_of_the_host_are_those_of_the_standard() {
        for (code, expected) in [
            ("PROCESS_DENIED", "authorization"),
            ("CAPABILITY_NOT_GRANTED", "authorization"),
            ("PROCESS_MISSING", "configuration"),
            ("PROCESS_INVALID", "configuration"),
            ("PROCESS_TIMEOUT", "timeout"),
            ("PROCESS_FAILED", "runtime"),
        ] {
            let fault = fault(&Error::new(500, code, "x"));
            assert!(fault.kind.ends_with(expected), "{code}: {}", fault.kind);
        }
    }

    #[test]
    fn a_container_is_called_and_kept_as_its_task_says() {
        let fields = json!({
            "image": "alpine", "name": "n", "ports": {"8080": 80}, "volumes": {"tea": "/tea"},
            "pullPolicy": "always", "lifetime": {"cleanup": "always"},
        });
        let wanted = container(&fields, "k").unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(
            (wanted.ports.get(&8080), wanted.is_kept),
            (Some(&80), false)
        );
        assert_eq!((wanted.pull, wanted.key.as_str()), (Pull::Always, "k"));
        let fields = json!({"image": "alpine", "name": "n", "ports": {"http": 80}});
        assert!(container(&fields, "k").is_err());
    }
}
