//! The end of a family: its jobs go with it, wherever they are, with all that hangs on them.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::stage::{count, enqueue, host, job, submit, until, until_count};

/// A new family of the shared model.
async fn family(sql: &Client, name: &str) -> Uuid {
    let owner = sql
        .query_one(
            "insert into public.users (display_name, email) values ($1::text, $1::text || '@example.com') returning id",
            &[&name],
        )
        .await
        .expect("a person")
        .get::<_, Uuid>(0);
    let made = "select public.create_family($1, $2)";
    let made = sql.query_one(made, &[&name, &owner]).await;
    made.expect("a family").get(0)
}

/// Deletes, exports and purges it, as auth does when its time is over.
async fn end(sql: &Client, family: Uuid) {
    for step in [
        "select public.delete_family($1, 'test')",
        "select public.note_export($1, null, 0, 'test')",
        "select public.purge_family($1, 'test', '0')",
    ] {
        let done = sql.query(step, &[&family]).await;
        done.unwrap_or_else(|error| panic!("{step}: {error:?}"));
    }
}

/// One family's jobs, one for each place where a job can be.
struct Jobs {
    ids: Vec<i64>,
    running: i64,
    waiting: i64,
    batch: Uuid,
}

impl Jobs {
    /// Enqueues them.
    async fn of(host: &TestHost, sql: &Client, family: Uuid, shared_batch: Uuid) -> Self {
        let of_family = |mut options: Value| {
            options["family_id"] = json!(family);
            options
        };
        let batch: Uuid = sql
            .query_one(
                "select jobs.open_batch('of a family', '{\"kind\": \"fixture-caller.tell\", \"options\": {\"tags\": [\"callback\"]}}', $1)",
                &[&family],
            )
            .await
            .expect("a batch")
            .get(0);
        let unique = |key: &str| json!({"key": format!("{family} {key}"), "window": 3_600});
        let (kind, fail) = ("fixture-caller.tell", "fixture-caller.fail");

        let options = of_family(json!({"unique": unique("done"), "tags": ["done"]}));
        let finished = enqueue(host, kind, json!({}), options).await;
        let dead = enqueue(host, fail, json!("never"), of_family(json!({}))).await;
        let options = of_family(json!({"delay": 3_600, "unique": unique("later")}));
        let later = enqueue(host, kind, json!({"large": "x".repeat(10_000)}), options).await;
        let held = of_family(json!({"queue": "held"}));
        let suspect = enqueue(host, kind, json!({}), held).await;
        let moved = "with gone as (delete from jobs.ready r where r.id = $1 returning r.*) insert into jobs.suspects select g.* from gone g";
        assert_eq!(sql.execute(moved, &[&suspect]).await.expect("moved"), 1);
        let held = of_family(json!({"queue": "held", "batch": shared_batch}));
        let ready = enqueue(host, kind, json!({}), held).await;
        let held = of_family(json!({"queue": "held", "batch": batch}));
        let batched = enqueue(host, kind, json!({}), held).await;
        let one_at_a_time = of_family(json!({"queue": "narrow", "concurrency_key": family}));
        let never = json!(format!("never kept of {family}"));
        let wait = "fixture-caller.wait";
        let running = enqueue(host, wait, never, one_at_a_time.clone()).await;
        until(host, running, "running").await;
        let waiting = enqueue(host, kind, json!({}), one_at_a_time).await;
        let line =
            "select jobs.write_log($1, 'info', 'of the family'), jobs.write_progress($1, '1')";
        for id in [finished, running] {
            sql.query(line, &[&id]).await.expect("it is written down");
        }

        until(host, finished, "completed").await;
        until(host, dead, "discarded").await;
        let waits = format!("select count(*) from jobs.waiting where id = {waiting}");
        until_count(sql, &waits, 1).await;
        let ids = vec![
            finished, dead, later, suspect, ready, batched, running, waiting,
        ];
        Self {
            ids,
            running,
            waiting,
            batch,
        }
    }

    /// Rows of each table of the plugin that name the family or one of the jobs.
    async fn rows(&self, sql: &Client, family: Uuid) -> Vec<(String, i64)> {
        let tables = "select c.relname::text, a.attname::text from pg_class c join pg_attribute a on a.attrelid = c.oid \
            where c.relnamespace = 'jobs'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition \
                and (a.attname = 'family_id' or (a.attname = 'id' and a.atttypid = 'bigint'::regtype) or a.attname in ('families', 'batch')) \
                and c.relname not in ('gone_families', 'untold') order by 1, 2";
        let mut rows = Vec::new();
        for row in sql.query(tables, &[]).await.expect("the catalogue reads") {
            let (table, column): (String, String) = (row.get(0), row.get(1));
            let ids = self.ids.iter().map(ToString::to_string);
            let ids = ids.collect::<Vec<_>>().join(", ");
            let is_its = match &*column {
                "family_id" => format!("family_id = '{family}'"),
                "families" => format!("'{family}' = any (families)"),
                "batch" => format!("batch = '{}'", self.batch),
                _ => format!("id in ({ids})"),
            };
            let query = format!("select count(*) from jobs.{table} where {is_its}");
            rows.push((format!("{table}.{column}"), count(sql, &query).await));
        }
        rows
    }
}

async fn queues(sql: &Client) {
    sql.batch_execute(
        "insert into jobs.queues (name, paused_at, paused_by) values ('held', now(), 'test'); \
         insert into jobs.queues (name, running_per_key_max) values ('narrow', 1)",
    )
    .await
    .expect("queues");
}

#[tokio::test]
async fn nothing_is_left_of_a_familys_jobs_when_it_is_gone_and_nothing_of_anothers_is_touched() {
    let host = host().await;
    let sql = host.sql().await;
    queues(&sql).await;
    let shared: Uuid = sql
        .query_one(
            "select jobs.open_batch('of nobody', '{\"kind\": \"fixture-caller.tell\"}')",
            &[],
        )
        .await
        .expect("a batch")
        .get(0);
    let (gone, living) = (family(&sql, "gone").await, family(&sql, "living").await);
    let of_gone = Jobs::of(&host, &sql, gone, shared).await;
    let of_living = Jobs::of(&host, &sql, living, shared).await;
    let before = of_living.rows(&sql, living).await;
    for table in [
        "batch_jobs.batch",
        "batches.family_id",
        "dead.family_id",
        "finished.family_id",
        "later.family_id",
        "leases.families",
        "logs.id",
        "payloads.id",
        "progress.id",
        "ready.family_id",
        "suspects.family_id",
        "uniques.id",
        "waiting.family_id",
    ] {
        let there = before.iter().any(|(name, rows)| name == table && *rows > 0);
        assert!(there, "the test has nothing in {table}: {before:?}");
    }

    end(&sql, gone).await;
    eventually("nothing is left of the family", async || {
        let rows = of_gone.rows(&sql, gone).await;
        rows.iter().all(|(_, rows)| *rows == 0).then_some(())
    })
    .await;
    assert_eq!(of_living.rows(&sql, living).await, before);
    assert_eq!(job(&host, of_living.running).await["state"], "running");
    let dropped = eventually("the handler is dropped", async || {
        let answer = host.get("/caller/dropped").send().await;
        Some(answer.text()).filter(|text| text.contains('1'))
    });
    dropped.await;

    // Its batch ends without a word, and that of all others has one less to wait for.
    let callback = "select count(*) from jobs.jobs where meta -> 'tags' ? 'callback'";
    assert_eq!(count(&sql, callback).await, 0);
    let left = "select pending::bigint from jobs.batches where name = 'of nobody'";
    assert_eq!(count(&sql, left).await, 1);
    // Nobody is told that they were ended.
    let told = "select count(*) from nself.events where type = 'jobs.job_cancelled'";
    assert_eq!(count(&sql, told).await, 0);
    let noted = "select count(*) from nself.audit_log where action = 'jobs.family_forgotten' and target = $1";
    let noted = sql.query_one(noted, &[&gone.to_string()]).await;
    assert_eq!(noted.expect("the log reads").get::<_, i64>(0), 1);
    // The other family's jobs go on.
    let keep = format!("select fixture.keep('never kept of {living}')");
    sql.batch_execute(&keep).await.expect("it is kept");
    for id in [of_living.running, of_living.waiting] {
        until(&host, id, "completed").await;
    }
    host.stop().await;
}

#[tokio::test]
async fn a_job_that_ends_after_its_family_leaves_nothing_however_it_ends() {
    let host = host().await;
    let sql = host.sql().await;
    let disabled = host
        .registry()
        .disable("jobs", nself_plugin_testkit::LIMIT, false);
    disabled.await.unwrap_or_else(|refusal| panic!("{refusal}"));
    let family = Uuid::now_v7();
    let other: Uuid = sql
        .query_one(
            "insert into jobs.hosts (name) values ('test') returning id",
            &[],
        )
        .await
        .expect("a host")
        .get(0);
    let claim = "select (c.picked).ids, c.lease from jobs.claim(1::smallint, $1, 1, array_fill(0::bigint, array[10]), true, null) c";
    for end in [
        // By the short way, which does not look whether somebody wants to end it.
        "select jobs.complete($1, array[$2::uuid], true) where $3::bigint > 0",
        "select jobs.settle($1, array[$2::uuid], array[$3::bigint], array['completed'], array['\"of the family\"'::jsonb], array[null::jsonb], array[null::float8])",
        "select jobs.settle($1, array[$2::uuid], array[$3::bigint], array['failed'], array[null::jsonb], array['{\"code\": \"A\"}'::jsonb], array[60::float8])",
        "select jobs.settle($1, array[$2::uuid], array[$3::bigint], array['discarded'], array[null::jsonb], array['{\"code\": \"A\"}'::jsonb], array[null::float8])",
        "select jobs.put_back(array[$2::uuid], 'HOST_DIED', 'it died', true) where $1::uuid is not null and $3::bigint > 0",
        "select jobs.unclaim($1, array[$2::uuid]) where $3::bigint > 0",
    ] {
        let options = json!({"family_id": family, "then": [{"kind": "fixture-caller.tell"}]});
        let options = if end.contains("complete(") {
            json!({"family_id": family})
        } else {
            options
        };
        let id = submit(&sql, "fixture-caller.tell", json!({}), options).await;
        let claimed = sql.query_one(claim, &[&other]).await.expect("a claim");
        assert_eq!(claimed.get::<_, Vec<i64>>(0), [id], "{end}");
        let lease: Uuid = claimed.get(1);
        let forget = format!("select jobs.forget_family('{family}', 100)");
        assert_eq!(count(&sql, &forget).await, 1);
        assert_eq!(count(&sql, &forget).await, 0, "it is asked once");
        let log = "select jobs.write_log($1, 'info', 'later than that')";
        sql.query(log, &[&id]).await.expect("it is written down");
        sql.query(end, &[&other, &lease, &id])
            .await
            .unwrap_or_else(|error| panic!("{end}: {error:?}"));
        // As every look of a host does.
        sql.query("select jobs.apply_cancels()", &[])
            .await
            .expect("a look");
        for table in ["jobs", "cancels", "logs"] {
            let left = format!("select count(*) from jobs.{table}");
            assert_eq!(count(&sql, &left).await, 0, "{table}: {end}");
        }
    }
    host.stop().await;
}

#[tokio::test]
async fn what_is_enqueued_for_a_family_that_is_gone_goes_with_the_next_pruning() {
    let host = host().await;
    let sql = host.sql().await;
    queues(&sql).await;
    let gone = family(&sql, "gone").await;
    end(&sql, gone).await;
    until_count(&sql, "select count(*) from jobs.gone_families", 1).await;
    let options = json!({"family_id": gone, "delay": 3_600});
    let late = enqueue(&host, "fixture-caller.tell", json!({}), options).await;
    let prune = enqueue(&host, "jobs.prune", json!({}), json!({})).await;
    until(&host, prune, "completed").await;
    let answer = host
        .get(&format!("/v1/jobs/{late}"))
        .operator()
        .send()
        .await;
    assert_eq!(answer.status, 404);
    let older = "update jobs.gone_families set gone_at = now() - interval '25 hours'";
    sql.execute(older, &[]).await.expect("time passes");
    let prune = enqueue(&host, "jobs.prune", json!({}), json!({})).await;
    until(&host, prune, "completed").await;
    assert_eq!(
        count(&sql, "select count(*) from jobs.gone_families").await,
        0
    );
    host.stop().await;
}
