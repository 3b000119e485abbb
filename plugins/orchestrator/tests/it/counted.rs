//! What runs cost, counted: commits that are shared, jobs that are not made, and notifications that nobody would hear.

use nself_plugin_api::{
    futures_util::future::{join, join_all},
    manifest::Role,
};
use nself_plugin_testkit::{TestHost, eventually, within};
use serde_json::{Value, json};
use tokio_postgres::AsyncMessage;
use uuid::Uuid;

use crate::stage::{
    Ledger, act, builder, count, definition, ended, history, host, host_with, put, run, start,
    until,
};

const DOUBLE: &str = "  - double:\n      set: {twice: '${ .n * 2 }'}\n";

async fn start_of(host: &TestHost, name: &str, n: usize) -> nself_plugin_testkit::Answer {
    host.post(&format!("/v1/workflows/test/{name}/1.0.0/runs"))
        .operator()
        .json(&json!({"input": {"n": n}, "wait_seconds": 25}))
        .send()
        .await
}

#[tokio::test]
async fn runs_that_need_nothing_end_where_they_start_and_those_of_one_moment_share_commits() {
    let host = host().await;
    put(&host, "double", &definition("double", "", DOUBLE)).await;
    let sql = host.sql().await;
    let job = "select case when is_called then last_value else 0 end from jobs.numbers";
    let jobs = count(&sql, job).await;
    let answers = join_all((0..24).map(|n| start_of(&host, "double", n))).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 201, "{}", answer.text());
        let told = answer.data();
        assert_eq!(told["output"], json!({"twice": n * 2}), "{told}");
        assert_eq!(told, run(&host, &told["id"]).await);
    }
    let happened = history(&host, &answers[7].data()["id"]).await;
    let numbers: Vec<&Value> = happened.iter().map(|one| &one["number"]).collect();
    assert_eq!(numbers, [&json!(1), &json!(2)], "{happened:?}");
    assert_eq!(happened[1]["output"], json!({"twice": 14}));
    for (what, query, expected) in [
        (
            "runs",
            "select count(*) from orchestrator.instances where status = 'completed' and state is null",
            24,
        ),
        (
            "events",
            "select count(distinct subject) from nself.events where type = 'workflow.completed'",
            24,
        ),
        (
            "entries for what an operator did",
            "select count(distinct target) from nself.audit_log where action = 'orchestrator.run_started'",
            24,
        ),
        (
            "more commits than half of the runs",
            "select greatest(0, count(distinct xmin::text) - 12) from orchestrator.instances",
            0,
        ),
    ] {
        assert_eq!(count(&sql, query).await, expected, "{what}");
    }
    assert_eq!(count(&sql, job).await, jobs, "no job was enqueued");
    host.stop().await;
}

#[tokio::test]
async fn who_of_a_family_started_a_run_stands_in_the_run_and_not_in_the_audit_log() {
    let host = host_with("family_instances_max = 1").await;
    put(&host, "double", &definition("double", "", DOUBLE)).await;
    let rest = "  - rest:\n      wait: {days: 30}\n";
    put(&host, "rest", &definition("rest", "", rest)).await;
    let family = Uuid::now_v7();
    let start = async |name: &str| {
        let path = format!("/v1/workflows/test/{name}/1.0.0/runs");
        let request = host.post(&path).role(Role::AdultMember, family);
        request.json(&json!({"input": {"n": 1}})).send().await
    };
    for name in ["double", "rest"] {
        let started = start(name).await.expect_status(201).data();
        let by = started["created_by"].as_str().expect("who it was");
        assert!(!by.is_empty(), "{started}");
    }
    // One waits, and the limit is one.
    assert_eq!(start("double").await.code(), "WORKFLOW_TOO_MANY");
    let sql = host.sql().await;
    let noted = "select count(*) from nself.audit_log where action = 'orchestrator.run_started'";
    assert_eq!(count(&sql, noted).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_key_that_comes_many_times_at_once_starts_one_run() {
    let host = host().await;
    put(&host, "double", &definition("double", "", DOUBLE)).await;
    let answers = join_all((0..12).map(|_| {
        host.post("/v1/workflows/test/double/1.0.0/runs")
            .operator()
            .header("idempotency-key", "\"k\"")
            .json(&json!({"input": {"n": 1}}))
            .send()
    }))
    .await;
    let first = answers[0].data()["id"].clone();
    for answer in &answers {
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.data()["id"], first);
    }
    let sql = host.sql().await;
    let runs = "select count(*) from orchestrator.instances";
    assert_eq!(count(&sql, runs).await, 1);
    host.stop().await;
}

#[tokio::test]
async fn a_definition_that_is_removed_starts_nothing_although_it_was_started_before() {
    let host = host().await;
    let text = definition("double", "", DOUBLE);
    put(&host, "double", &text).await;
    start_of(&host, "double", 1).await.expect_status(201).data();
    let path = "/v1/workflows/test/double/1.0.0";
    assert_eq!(host.delete(path).operator().send().await.status, 204);
    let gone = start_of(&host, "double", 1).await;
    assert_eq!(gone.code(), "WORKFLOW_NOT_FOUND", "{}", gone.text());
    put(&host, "double", &text).await;
    start_of(&host, "double", 1).await.expect_status(201).data();
    // What has runs is not deleted, whoever tries.
    let sql = host.sql().await;
    let refused = sql
        .execute("delete from orchestrator.definitions", &[])
        .await;
    let code = refused.expect_err("it has runs").code().cloned();
    assert_eq!(
        code,
        Some(tokio_postgres::error::SqlState::FOREIGN_KEY_VIOLATION)
    );
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_cannot_be_written_fails_alone_and_its_neighbours_of_the_same_commit_do_not() {
    let host = host().await;
    for name in ["double", "refused"] {
        put(&host, name, &definition(name, "", DOUBLE)).await;
    }
    let sql = host.sql().await;
    sql.batch_execute(
        "create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$; \
         create trigger refuse before insert on orchestrator.instances for each row when (new.name = 'refused') execute function public.refuse()",
    )
    .await
    .expect("a trigger");
    let starts =
        (0..40).map(|n| start_of(&host, if n % 10 == 0 { "refused" } else { "double" }, n));
    for (n, answer) in join_all(starts).await.into_iter().enumerate() {
        let expected = if n % 10 == 0 { 500 } else { 201 };
        assert_eq!(answer.status, expected, "{n}: {}", answer.text());
    }
    let runs = "select count(*) from orchestrator.instances";
    assert_eq!(count(&sql, runs).await, 36);
    host.stop().await;
}

#[tokio::test]
async fn a_text_with_nul_is_kept_as_one_that_postgres_can_give_back() {
    let host = host().await;
    let tasks = "  - a:\n      set: {text: '${ .text }'}\n";
    put(&host, "nul", &definition("nul", "", tasks)).await;
    let ended = start(&host, "nul", json!({"text": "a\u{0}b"}), 0).await;
    assert_eq!(ended["output"], json!({"text": "a\u{fffd}b"}), "{ended}");
    let happened = history(&host, &ended["id"]).await;
    assert_eq!(happened[1]["output"], json!({"text": "a\u{fffd}b"}));
    host.stop().await;
}

/// A host whose workflows may call this server, with a workflow `calls` of so many requests of it.
async fn host_that_calls(ledger: &Ledger, calls: usize) -> TestHost {
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    let host = builder().config(&config).start().await;
    let call = |number: usize| {
        format!(
            "  - call{number}:\n      call: http\n      with: {{method: get, endpoint: 'http://{}/{number}'}}\n",
            ledger.address
        )
    };
    let tasks: String = (0..calls).map(call).collect();
    put(&host, "calls", &definition("calls", "", &tasks)).await;
    host
}

#[tokio::test]
async fn calls_one_after_the_other_are_made_by_one_job_and_each_is_kept_before_the_next() {
    let ledger = Ledger::open(&[200]).await;
    let host = host_that_calls(&ledger, 6).await;
    let sql = host.sql().await;
    let job = "select case when is_called then last_value else 0 end from jobs.numbers";
    let before = count(&sql, job).await;
    let started = start(&host, "calls", json!({}), 25).await;
    let ended = until(&host, &started["id"], "completed").await;
    assert_eq!(ended["output"], json!({"tea": "ready"}));
    assert_eq!(count(&sql, job).await - before, 1, "one job for six calls");
    let keys: std::collections::HashSet<String> =
        ledger.seen().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    let parts = "select count(*) from orchestrator.history_parts";
    assert_eq!(count(&sql, parts).await, 7, "each step was kept by itself");
    let happened = history(&host, &started["id"]).await;
    let numbers = happened.iter().filter_map(|one| one["number"].as_u64());
    assert!(numbers.eq(1..=12), "{happened:?}");
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.needs").await,
        0
    );
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_is_suspended_or_cancelled_while_it_calls_goes_no_further() {
    let ledger = Ledger::open(&[200]).await;
    let host = host_that_calls(&ledger, 3).await;
    let sql = host.sql().await;
    // The second request is held until the run has been steered.
    for (action, status) in [("suspend", "suspended"), ("cancel", "cancelled")] {
        let before = ledger.seen().len();
        let gate = ledger.hold("/1");
        let started = start(&host, "calls", json!({}), 0).await;
        eventually("the second request comes", async || {
            (ledger.seen().len() == before + 2).then_some(())
        })
        .await;
        assert_eq!(act(&host, &started["id"], action).await.status, 200);
        if action == "cancel" {
            until(&host, &started["id"], status).await;
        }
        drop(gate);
        if action == "suspend" {
            let aside = "select count(*) from orchestrator.outcomes";
            crate::stage::until_count(&sql, aside, 1).await;
            assert_eq!(run(&host, &started["id"]).await["status"], status);
            assert_eq!(ledger.seen().len(), before + 2);
            assert_eq!(act(&host, &started["id"], "resume").await.status, 200);
            until(&host, &started["id"], "completed").await;
        }
        let expected = before + if action == "suspend" { 3 } else { 2 };
        assert_eq!(ledger.seen().len(), expected, "{action}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_job_that_has_gone_on_to_another_call_and_is_given_up_fails_that_one() {
    let ledger = Ledger::open(&[200]).await;
    let host = host_that_calls(&ledger, 2).await;
    let sql = host.sql().await;
    let pause = "update jobs.queues set paused_at = now(), paused_by = 'test' where worker = 'host'; \
                 select pg_notify('nself_jobs', 'queue ' || id) from jobs.queues";
    sql.batch_execute(pause).await.expect("they are paused");
    let started = start(&host, "calls", json!({}), 0).await;
    // As if the job had been enqueued for a call that is over.
    let discard = "with gone as (delete from jobs.ready r where r.kind = 'orchestrator.call' returning r.*) \
         insert into jobs.dead (id, queue, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload, error) \
         select g.id, g.queue, g.priority, 3, g.attempts_max, g.kind, g.family_id, g.concurrency_key, g.rate_key, g.meta, \
             g.payload || '{\"need\": 4711}', $1::text::jsonb from gone g returning id";
    let tell = "select nself.emit_event('jobs.job_discarded', $1::bigint::text, jsonb_build_object('id', $1::bigint, 'kind', 'orchestrator.call'))";
    let jobs = host.sql_as("jobs").await;
    let give_up = async |code: &str| {
        let error = json!({"code": code}).to_string();
        let id: i64 = sql
            .query_one(discard, &[&error])
            .await
            .expect("a job")
            .get(0);
        jobs.query(tell, &[&id]).await.expect("the event is told");
        id
    };
    let first = give_up("HOST_DIED").await;
    let other = format!("select count(*) from orchestrator.needs where job_id <> {first}");
    crate::stage::until_count(&sql, &other, 1).await;
    let anew = "select count(*) from jobs.ready r join orchestrator.needs n on n.job_id = r.id and n.need = (r.payload ->> 'need')::bigint";
    assert_eq!(
        count(&sql, anew).await,
        1,
        "another job looks after the need"
    );
    give_up("JOB_TIMEOUT").await;
    let lost = ended(&host, &started["id"]).await;
    assert_eq!(
        (&lost["status"], &lost["error"]["instance"]),
        (&json!("faulted"), &json!("/do/0/call0")),
        "{lost}"
    );
    host.stop().await;
}

#[tokio::test]
async fn other_hosts_are_told_of_a_run_only_when_somebody_waits_for_it_there() {
    let ledger = Ledger::open(&[200]).await;
    let host = host_that_calls(&ledger, 3).await;
    let (sql, mut heard) = listening(&host).await;
    let unwatched = start(&host, "calls", json!({}), 25).await;
    until(&host, &unwatched["id"], "completed").await;

    let gate = ledger.hold("/1");
    let watched = start(&host, "calls", json!({}), 0).await;
    let id = watched["id"].as_str().expect("an id").to_owned();
    let mark = "insert into orchestrator.watchers values ($1::text::uuid, $2, now() + interval '1 minute')";
    let marked = sql.execute(mark, &[&id, &Uuid::now_v7()]).await;
    marked.expect("another host waits");
    drop(gate);
    until(&host, &watched["id"], "completed").await;
    let told = within("a notification", heard.recv()).await;
    assert_eq!(told.as_deref(), Some(&*id), "the first that was told of");

    // Whoever waits long enough here says so to the others.
    let gate = ledger.hold("/1");
    sql.batch_execute("delete from orchestrator.watchers")
        .await
        .expect("marks are deleted");
    let marked = async {
        let marks = "select count(*) from orchestrator.watchers";
        crate::stage::until_count(&sql, marks, 1).await;
        drop(gate);
    };
    let (waited, ()) = join(start(&host, "calls", json!({}), 25), marked).await;
    assert_eq!(waited["status"], "completed", "{waited}");
    host.stop().await;
}

/// A session that hears what hosts tell each other of runs.
async fn listening(
    host: &TestHost,
) -> (
    tokio_postgres::Client,
    tokio::sync::mpsc::UnboundedReceiver<String>,
) {
    let url = host.database().url();
    let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    let (client, mut connection) = connected.expect("a connection");
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) =
            std::future::poll_fn(|task| connection.poll_message(task)).await
        {
            if let AsyncMessage::Notification(told) = message
                && sender.send(told.payload().to_owned()).is_err()
            {
                return;
            }
        }
    });
    client
        .batch_execute("listen nself_orchestrator_runs")
        .await
        .expect("it listens");
    (client, receiver)
}
