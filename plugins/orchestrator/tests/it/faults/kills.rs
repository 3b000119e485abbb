//! Hosts that are killed at any moment, one after the other, while runs are under way.

use std::collections::{HashMap, HashSet};

use nself_plugin_testkit::{LIMIT, TestHost, eventually};
use serde_json::json;
use tokio_postgres::Client;

use crate::stage::{Ledger, builder, count, definition, put, start};

/// Calls of each run: each is an effect outside.
const CALLS: usize = 4;

/// What a series of kills came to.
#[derive(Debug)]
#[expect(dead_code, reason = "it is printed")]
pub(crate) struct Figures {
    /// Hosts that were killed.
    pub kills: usize,
    /// Runs, all of which completed.
    pub runs: usize,
    /// Effects outside, each under one key.
    pub effects: usize,
    /// Requests for them: those beyond the effects were sent again, under the same key.
    pub requests: usize,
    /// Jobs that were taken from hosts that died.
    pub rescued: i64,
    /// Jobs that were given up, and whose runs went on all the same.
    pub given_up: i64,
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_killed_at_random_moments_lose_no_effect_and_make_none_twice() {
    run(3, 20).await;
}

/// Starts so many runs and kills so many hosts that drive them.
///
/// # Panics
///
/// When a run does not complete, or an effect is not there exactly once.
pub(crate) async fn run(kills: usize, runs: usize) -> Figures {
    let ledger = Ledger::open(&[200]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    let host = builder().config(&config).start().await;
    let echo = "  - echo:\n      set: {n: '${ .n }'}\n";
    put(&host, "child", &definition("child", "", echo)).await;
    put(&host, "steps", &definition("steps", "", &tasks(&ledger))).await;
    let sql = host.sql().await;
    start_all(&host, &sql, runs).await;
    stand_by(&host).await;
    resume(&sql).await;
    let mut done = 0;
    for kill in 0..kills {
        let doomed = host.process_beside().start().await;
        // Somewhere on the way to the next of them, so that the last one meets the last runs.
        let wanted = runs * CALLS * (kill + 1) / (kills + 1);
        let wanted = done + any_below(wanted.saturating_sub(done).max(1));
        until_called(&ledger, &sql, wanted).await;
        doomed.kill().await;
        done = ledger.effects().len();
        eprintln!(
            "killed {} of {kills} hosts, {done} effects so far",
            kill + 1
        );
    }
    let _last = host.process_beside().start().await;
    until_all_ended(&sql).await;
    judge(&ledger, &sql, runs).await;
    let given_up = "select count(*) from jobs.dead where kind like 'orchestrator.%'";
    let rescued = "select count(*) from jobs.jobs where kind like 'orchestrator.%' and meta -> 'errors' @> '[{\"code\": \"HOST_DIED\"}]'";
    let figures = Figures {
        kills,
        runs,
        effects: ledger.effects().len(),
        requests: ledger.seen().len(),
        rescued: count(&sql, rescued).await,
        given_up: count(&sql, given_up).await,
    };
    host.stop().await;
    figures
}

/// Two calls, one right after the other, a pause, an event, a call, a child that is waited for, a call.
fn tasks(ledger: &Ledger) -> String {
    let call = |number: usize| {
        format!(
            "  - call{number}:\n      call: http\n      with:\n        method: post\n        endpoint: '${{ \"http://{}/\" + ($workflow.input.n | tostring) + \"/{number}\" }}'\n",
            ledger.address
        )
    };
    let rest = "  - rest:\n      wait: {milliseconds: 20}\n";
    let say = "  - say:\n      emit: {event: {with: {source: 'https://example.org/steps', type: org.example.step, data: {n: '${ $workflow.input.n }'}}}}\n";
    let ask = "  - ask:\n      run: {workflow: {namespace: test, name: child, version: latest, input: {n: '${ $workflow.input.n }'}}}\n";
    [&call(0), &call(1), rest, say, &call(2), ask, &call(3)].concat()
}

/// Lets a host drive nothing from here on: it has the database and is beside those that do.
pub(crate) async fn stand_by(host: &TestHost) {
    let disabled = host.registry().disable("jobs", LIMIT, true).await;
    disabled.unwrap_or_else(|refusal| panic!("{refusal}"));
}

/// Starts the runs while nothing is worked, so that all of them are still on their way when hosts begin to die.
async fn start_all(host: &TestHost, sql: &Client, runs: usize) {
    let pause = "update jobs.queues set paused_at = now(), paused_by = 'test' where worker = 'host'; \
                 select pg_notify('nself_jobs', 'queue ' || id) from jobs.queues";
    sql.batch_execute(pause).await.expect("they are paused");
    for n in 0..runs {
        start(host, "steps", json!({"n": n}), 0).await;
    }
}

async fn resume(sql: &Client) {
    let resume = "update jobs.queues set paused_at = null, paused_by = null where worker = 'host'; \
                  select pg_notify('nself_jobs', 'queue ' || id) from jobs.queues";
    sql.batch_execute(resume).await.expect("they are resumed");
}

/// Waits until so many effects are there, or nothing is left to be done.
async fn until_called(ledger: &Ledger, sql: &Client, wanted: usize) {
    eventually(&format!("{wanted} effects"), async || {
        let is_over = ledger.effects().len() >= wanted || open(sql).await == 0;
        is_over.then_some(())
    })
    .await;
}

async fn open(sql: &Client) -> i64 {
    count(
        sql,
        "select count(*) from orchestrator.instances where ended_at is null",
    )
    .await
}

/// Waits for the end of all runs, as long as some end.
async fn until_all_ended(sql: &Client) {
    loop {
        let before = open(sql).await;
        if before == 0 {
            return;
        }
        eventually("runs end", async || {
            (open(sql).await < before).then_some(())
        })
        .await;
    }
}

/// Every run has completed, and each of its effects is there once.
async fn judge(ledger: &Ledger, sql: &Client, runs: usize) {
    let completed =
        "select count(*) from orchestrator.instances where name = 'steps' and status = 'completed'";
    assert_eq!(whole(count(sql, completed).await), runs, "all completed");
    let effects = ledger.effects();
    assert_eq!(effects.len(), runs * CALLS, "each effect has one key");
    let paths: HashSet<&String> = effects.values().collect();
    assert_eq!(paths.len(), runs * CALLS, "and each key has one effect");
    for (what, query, expected) in [
        (
            "results of steps",
            "select count(*) from orchestrator.history h join orchestrator.instances i on i.id = h.instance_id \
             where i.name = 'steps' and h.status = 'completed'",
            runs * 7,
        ),
        (
            "steps with a result",
            "select count(distinct (h.instance_id, h.position)) from orchestrator.history h \
             join orchestrator.instances i on i.id = h.instance_id where i.name = 'steps' and h.status = 'completed'",
            runs * 7,
        ),
        (
            "events",
            "select count(*) from nself.events where type = 'workflow.emitted'",
            runs,
        ),
        (
            "runs that told of something",
            "select count(distinct data -> 'data' -> 'n') from nself.events where type = 'workflow.emitted'",
            runs,
        ),
        (
            "children",
            "select count(*) from orchestrator.instances where name = 'child' and status = 'completed'",
            runs,
        ),
        (
            "runs with a child",
            "select count(distinct parent_id) from orchestrator.instances where name = 'child'",
            runs,
        ),
        (
            "ends",
            "select count(*) from nself.events where type = 'workflow.completed'",
            runs * 2,
        ),
    ] {
        assert_eq!(whole(count(sql, query).await), expected, "{what}");
    }
}

fn whole(number: i64) -> usize {
    usize::try_from(number).expect("it is counted")
}

/// A number below `limit` that is another one each time.
fn any_below(limit: usize) -> usize {
    let random = uuid::Uuid::now_v7().as_u128() & 0xffff_ffff;
    usize::try_from(random).unwrap_or_default() % limit
}

impl Ledger {
    /// What was done, by its key: the path of the request.
    fn effects(&self) -> HashMap<String, String> {
        let line = |head: String| head.lines().next().unwrap_or_default().to_owned();
        let seen = self.seen().into_iter();
        let effects: HashMap<String, String> = seen.map(|(key, head)| (key, line(head))).collect();
        effects
    }
}
