//! Connections that break while a statement is under way: it is carried out, and nobody hears of it.

use nself_plugin_testkit::{HostProcess, TestHost, Wire, eventually};
use serde_json::json;
use tokio_postgres::Client;

use super::ledger::{assert_each_done_once, bystander, enqueue, runs, until_completed};
use crate::stage::{count, until_count};

/// Makes a statement that writes into a table slow, while the switch is on.
const SLOW: &str = "
    create table public.switch (is_on boolean not null);
    insert into public.switch values (false);
    grant select on public.switch to public;
    create function public.slow() returns trigger language plpgsql security definer as $$
    begin
        if (select is_on from public.switch) then
            perform pg_sleep(1);
        end if;
        return null;
    end
    $$;
    create trigger slow after insert on jobs.leases for each statement execute function public.slow();
    create trigger slow after insert on jobs.finished for each statement execute function public.slow();
";

/// A host process behind a wire, and the way to cut it while something is written.
struct Stage {
    host: TestHost,
    sql: Client,
    wire: Wire,
    other: HostProcess,
}

impl Stage {
    async fn new() -> Self {
        let host = bystander().await;
        let sql = host.sql().await;
        sql.batch_execute(SLOW).await.expect("a switch");
        let wire = Wire::new(&host);
        let other = host.process_beside().database_url(wire.url()).start().await;
        until_count(&sql, "select count(*) from jobs.hosts", 1).await;
        Self {
            host,
            sql,
            wire,
            other,
        }
    }

    async fn switch(&self, is_on: bool) {
        let switched = self
            .sql
            .execute("update public.switch set is_on = $1", &[&is_on])
            .await;
        switched.expect("the switch can be turned");
    }

    /// Waits until a statement of that kind is being slow, cuts the wire, and waits until it has been carried out.
    async fn cut_during(&self, statement: &str) {
        let slow = format!(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%{statement}%'"
        );
        eventually("it is under way", async || {
            (count(&self.sql, &slow).await > 0).then_some(())
        })
        .await;
        self.switch(false).await;
        self.wire.cut();
        until_count(&self.sql, &slow, 0).await;
    }

    /// All that was enqueued is done, once, by the host that never died.
    async fn check(self, ids: &[i64]) {
        until_completed(&self.sql, ids.len()).await;
        until_count(&self.sql, "select count(*) from jobs.leases", 0).await;
        let runs = runs(&self.sql).await;
        assert_each_done_once(&runs, ids);
        assert!(runs.iter().all(|run| run.attempt == 1), "{runs:?}");
        assert!(runs.iter().all(|run| run.process == self.other.pid()));
        let begun_anew = "select count(*) from jobs.hosts where id <> (select min(id::text)::uuid from jobs.hosts)";
        assert_eq!(count(&self.sql, begun_anew).await, 0);
        self.host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_whose_claim_was_answered_to_nobody_are_worked() {
    let stage = Stage::new().await;
    stage.switch(true).await;
    let ids = enqueue(&stage.sql, 20, &json!({}), &json!({})).await;
    stage.cut_during("jobs.claim(").await;
    stage.check(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_ended_while_nobody_heard_the_database_are_not_recorded_twice() {
    let stage = Stage::new().await;
    stage.switch(true).await;
    let ids = enqueue(&stage.sql, 20, &json!({}), &json!({})).await;
    // The claim is slow as well.
    stage.cut_during("jobs.complete(").await;
    stage.check(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_whose_new_lease_nobody_heard_of_ends_all_the_same() {
    let stage = Stage::new().await;
    let ids = enqueue(&stage.sql, 3, &json!({"ms": 4_000}), &json!({})).await;
    until_count(&stage.sql, "select count(*) from ledger.runs", 3).await;
    stage.switch(true).await;
    stage.cut_during("jobs.split(").await;
    stage.check(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_begun_where_it_was_enqueued_is_worked_when_nobody_heard_that_it_was_written()
 {
    let stage = Stage::new().await;
    let mut ids = enqueue(&stage.sql, 1, &json!({}), &json!({})).await;
    until_completed(&stage.sql, 1).await;
    stage.switch(true).await;
    let body = json!({"kind": "ledger.work"});
    let post = stage.host.post("/v1/jobs").at(stage.other.address());
    let (answer, ()) = tokio::join!(
        post.operator().json(&body).send(),
        stage.cut_during("jobs.submit_leased(")
    );
    assert_eq!(answer.code(), "DATABASE_UNAVAILABLE");
    until_count(&stage.sql, "select count(*) from ledger.runs", 2).await;
    ids.push(runs(&stage.sql).await[1].job);
    stage.check(&ids).await;
}
