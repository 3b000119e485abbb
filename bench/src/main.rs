//! What the boundary and the host cost. Each figure is a ratio of runs that alternate in one process, so that whatever
//! else the machine does meets both sides: absolute times on a shared machine say nothing, their ratios do.
//!
//! `nself-bench [memory|database|tcp|isolated|sizes|changes|panics|overload|auth|jobs|schedules|audit|feed|stream|workflows|soak|mixed]...` measures the named parts, all of them but the last two without a name, and
//! prints a table; `jobs=1000000` says how many jobs are a large backlog, `soak=60` how many seconds of jobs and `mixed=60` of everything at once (600 without it), `rounds=2` how often `jobs`, `schedules`, `stream` and `workflows` take their turns. The exit code is 0 whatever the figures are: they are for reading.
#![forbid(unsafe_code)]

mod audit;
mod auth;
mod changes;
mod child;
mod client;
mod cpu;
mod database;
mod fan;
mod feed;
mod isolated;
mod jobs;
mod memory;
mod mixed;
mod native;
mod overload;
mod panics;
mod peers;
mod pgbench;
mod project;
mod report;
mod schedules;
mod sizes;
mod stage;
mod tcp;
mod websocket;
mod workflows;

use std::{ffi::OsString, process::ExitCode};

use nself::capability::process;
use report::Report;

/// Whatever went wrong: a benchmark has nobody to tell kinds of failures apart.
type Failure = Box<dyn std::error::Error + Send + Sync>;

type Result<T, E = Failure> = std::result::Result<T, E>;

const PARTS: &[&str] = &[
    "memory",
    "database",
    "tcp",
    "isolated",
    "sizes",
    "changes",
    "panics",
    "overload",
    "auth",
    "jobs",
    "schedules",
    "audit",
    "feed",
    "stream",
    "workflows",
    SOAK,
    MIXED,
];

/// Parts that are measured only when they are named: they take ten minutes each.
const SOAK: &str = "soak";
const MIXED: &str = "mixed";

/// The argument that says how many rounds there are.
const ROUNDS: &str = "rounds";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // A plugin's process is this program once more.
    if let Some(ended) = process::role(&words) {
        return ended;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, directory, log] = arguments.as_slice()
        && first == child::COMMAND
    {
        return exit(child::serve(directory.as_ref(), log));
    }
    if arguments == [fan::BARE] {
        return exit(fan::serve_bare());
    }
    if let Some(unknown) = arguments
        .iter()
        .find(|part| !PARTS.contains(&split(part).0) && split(part).0 != ROUNDS)
    {
        eprintln!(
            "there is no part {unknown}: choose from {}",
            PARTS.join(", ")
        );
        return ExitCode::from(2);
    }
    let mut wanted = arguments.iter().map(|wanted| split(wanted));
    let rounds = wanted.find(|(name, _)| *name == ROUNDS);
    let rounds = rounds.and_then(|(_, rounds)| rounds);
    let mut report = Report::default();
    for part in PARTS {
        let mut wanted = arguments.iter().map(|wanted| split(wanted));
        let named = wanted.find(|(name, _)| name == part);
        if let Some((_, size)) = named
            .or((arguments.is_empty() && ![SOAK, MIXED].contains(part)).then_some((*part, None)))
        {
            eprintln!("measuring: {part}");
            if let Err(failure) = measure(part, (size, rounds), &mut report) {
                report.failed(part, &*failure);
            }
        }
    }
    println!("{report}");
    ExitCode::SUCCESS
}

/// The name of a part, and its size when one is given: `jobs=1000000`.
fn split(argument: &str) -> (&str, Option<u32>) {
    match argument.split_once('=') {
        Some((part, size)) => (part, size.parse().ok()),
        None => (argument, None),
    }
}

fn exit(done: Result<()>) -> ExitCode {
    done.map_or_else(
        |failure| {
            eprintln!("{failure}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// One thread for everything here: its CPU time is then all that a side costs, and the server process has the other core.
fn measure(
    part: &str,
    (size, rounds): (Option<u32>, Option<u32>),
    report: &mut Report,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match part {
            "memory" => memory::measure(report).await,
            "database" => database::measure(report).await,
            "tcp" => tcp::measure(report).await,
            "isolated" => isolated::measure(report).await,
            "sizes" => sizes::measure(report).await,
            "changes" => changes::measure(report).await,
            "panics" => panics::measure(report).await,
            "overload" => overload::measure(report).await,
            "audit" => audit::measure(report).await,
            "feed" => feed::measure(report).await,
            "auth" => auth::measure(report).await,
            "schedules" => schedules::measure(report, size, rounds).await,
            "stream" => fan::measure(report, rounds).await,
            "workflows" => workflows::measure(report, size, rounds).await,
            SOAK => jobs::soak(report, size).await,
            MIXED => mixed::measure(report, size).await,
            _ => jobs::measure(report, size, rounds).await,
        }
    })
}
