//! What a claimer would never look at does not get in: a priority outside of 0 to 9, attempts outside of 1 to 1000. The table of
//! available jobs has no constraint, so each way into it is tried.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::stage::{count, enqueue, host, job, submit, until};

/// Options that no job may have.
fn wrong() -> [Value; 8] {
    [
        json!({"priority": 10}),
        json!({"priority": -1}),
        json!({"priority": 1.5}),
        json!({"priority": "5"}),
        json!({"priority": 65_536}),
        json!({"attempts_max": 0}),
        json!({"attempts_max": 1_001}),
        json!({"attempts_max": -1}),
    ]
}

/// The condition under which a statement is refused; it is the last parameter's.
async fn refused(sql: &Client, statement: &str, options: &Value) -> String {
    let refused = sql.query(statement, &[options]).await;
    let refused = refused.expect_err(statement);
    let state = refused.code().map(|code| code.code().to_owned());
    state.unwrap_or_else(|| panic!("{statement}: {refused:?}"))
}

/// Jobs that are anywhere.
async fn jobs(sql: &Client) -> i64 {
    count(sql, "select count(*) from jobs.jobs").await
}

#[tokio::test]
async fn functions_that_enqueue_refuse_what_no_claimer_would_look_at() {
    let host = host().await;
    let sql = host.sql().await;
    for statement in [
        "select jobs.enqueue('fixture-caller.nothing', '{}', $1)",
        "select jobs.enqueue_many('fixture-caller.nothing', array['{}'::jsonb, '{}'], $1)",
        "select jobs.enqueue_many(jsonb_build_array('{\"kind\": \"a.b\"}'::jsonb, \
             jsonb_build_object('kind', 'fixture-caller.nothing', 'options', $1::jsonb)))",
        "select jobs.submit_many(array['a.b', 'a.b'], array['{}'::jsonb, '{}'], array[null::jsonb, $1])",
        "select jobs.submit('fixture-caller.nothing', '{}', $1)",
        "select jobs.submit('fixture-caller.nothing', '{}', $1::jsonb || '{\"unique\": {\"key\": \"a\", \"policy\": \"merge\"}}')",
        "select jobs.submit('fixture-caller.nothing', '{}', $1::jsonb || '{\"delay\": 3600}')",
    ] {
        for options in wrong() {
            let state = refused(&sql, statement, &options).await;
            assert_eq!(state, "22023", "{statement} with {options}");
        }
    }
    assert_eq!(jobs(&sql).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn routes_refuse_the_same() {
    let host = host().await;
    let sql = host.sql().await;
    for options in wrong() {
        let one = json!({"kind": "fixture-caller.nothing", "options": options});
        for (path, body) in [
            ("/v1/jobs", one.clone()),
            ("/v1/jobs/batch", json!([{"kind": "a.b"}, one])),
        ] {
            let answer = host.post(path).operator().json(&body).send().await;
            let got = (answer.status, answer.code());
            assert_eq!(got, (422, "JOB_OPTION".to_owned()), "{path}: {body}");
        }
    }
    assert_eq!(jobs(&sql).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn what_follows_a_job_is_held_to_the_same_when_it_is_enqueued() {
    let host = host().await;
    for options in wrong() {
        let next = json!([{"kind": "fixture-caller.nothing", "options": options}]);
        let id = enqueue(
            &host,
            "fixture-caller.tell",
            json!({}),
            json!({"then": next}),
        )
        .await;
        until(&host, id, "discarded").await;
    }
    let sql = host.sql().await;
    let others = "select count(*) from jobs.jobs where state <> 'discarded'";
    assert_eq!(count(&sql, others).await, 0);
    for options in wrong() {
        let then = json!({"kind": "fixture-caller.nothing", "options": options});
        let open = "select jobs.open_batch('b', $1)";
        let batch: uuid::Uuid = sql.query_one(open, &[&then]).await.expect("a batch").get(0);
        let seal = format!("select jobs.seal_batch('{batch}') where $1::jsonb is not null");
        assert_eq!(refused(&sql, &seal, &then).await, "22023", "{then}");
    }
    assert_eq!(count(&sql, others).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn another_priority_is_one_that_there_is_wherever_the_job_is() {
    let host = host().await;
    let sql = host.sql().await;
    sql.batch_execute(
        "insert into jobs.queues (name, paused_at, paused_by) values ('held', now(), 'test')",
    )
    .await
    .expect("a queue");
    let kind = "fixture-caller.nothing";
    let held = json!({"queue": "held"});
    let ready = submit(&sql, kind, json!({}), held.clone()).await;
    let of_family = json!({"queue": "held", "family_id": uuid::Uuid::now_v7()});
    let of_family = submit(&sql, kind, json!({}), of_family).await;
    let later = submit(&sql, kind, json!({}), json!({"delay": 3_600})).await;
    let keyed = json!({"queue": "held", "concurrency_key": "a"});
    let waiting = submit(&sql, kind, json!({}), keyed).await;
    let suspect = submit(&sql, kind, json!({}), held).await;
    move_to(&sql, "waiting", waiting).await;
    move_to(&sql, "suspects", suspect).await;
    let statement = "select jobs.reprioritise($1, $2::smallint)";
    for id in [ready, of_family, later, waiting, suspect] {
        for priority in [Some(-1_i16), Some(10), None] {
            let refused = sql.query(statement, &[&id, &priority]).await;
            let refused = refused.expect_err("it is refused");
            let state = refused.code().map(tokio_postgres::error::SqlState::code);
            assert_eq!(state, Some("22023"), "{id} to {priority:?}");
        }
        let taken = sql.query_one(statement, &[&id, &Some(9_i16)]).await;
        assert!(taken.expect("it is taken").get::<_, bool>(0), "{id}");
        assert_eq!(job(&host, id).await["priority"], 9);
    }
    host.stop().await;
}

async fn move_to(sql: &Client, table: &str, id: i64) {
    let moved = format!(
        "with gone as (delete from jobs.ready r where r.id = $1 returning r.*) insert into jobs.{table} select g.* from gone g"
    );
    assert_eq!(sql.execute(&moved, &[&id]).await.expect("moved"), 1);
}

#[tokio::test]
async fn tables_from_which_jobs_come_back_have_constraints_for_every_writer() {
    let host = host().await;
    let sql = host.sql().await;
    for (table, more, values) in [
        ("later", ", run_at", ", now()"),
        ("waiting", ", concurrency_key", ", 'a'"),
        ("suspects", "", ""),
        ("dead", ", error", ", '{}'"),
    ] {
        for (priority, attempt, attempts_max, refused_by) in [
            (10, 0, 10, Some("priority")),
            (-1, 0, 10, Some("priority")),
            (5, -1, 10, Some("attempts")),
            (5, 0, 0, Some("attempts")),
            (5, 0, 1_001, Some("attempts")),
            (9, 0, 1_000, None),
        ] {
            let insert = format!(
                "insert into jobs.{table} (queue, priority, attempt, attempts_max, kind{more}) \
                 values (1, {priority}, {attempt}, {attempts_max}, 'a.b'{values})"
            );
            let inserted = sql.execute(&insert, &[]).await;
            let constraint = inserted.err().map(|error| {
                let error = error.as_db_error().expect("the server refuses it");
                error.constraint().expect("a constraint").to_owned()
            });
            let expected = refused_by.map(|of| format!("{table}_{of}"));
            assert_eq!(constraint, expected, "{insert}");
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn a_kind_gives_its_jobs_no_number_of_attempts_that_there_is_not() {
    let host = host().await;
    let sql = host.sql().await;
    for attempts in [0, -1, 1_001] {
        let insert = format!(
            "insert into jobs.kinds (kind, queue, attempts_max, declared_by) values ('a.b', 1, {attempts}, 'test')"
        );
        let refused = sql.execute(&insert, &[]).await.expect_err("it is refused");
        let refused = refused.as_db_error().expect("the server refuses it");
        assert_eq!(refused.constraint(), Some("kinds_attempts_max"));
    }
    host.stop().await;
}
