//! What may happen to hosts and to the database while schedules fire. Each test is judged by the table of fires: no time twice, none
//! left out, and a job for each.

mod clocks;
mod hosts;
mod server;

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::json;
use tokio_postgres::Client;

use crate::stage::{count, create, nothing};

/// Fires of the test's own schedules.
const FIRES: &str = "select count(*) from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id where s.owner = 'api'";

/// Makes schedules of every second, each of which has to be fired.
async fn create_every_second(host: &TestHost) {
    for number in 0..5 {
        let more = json!({"overlap": "allow", "missed": "all", "missed_max": 1_000});
        let name = format!("second-{number}");
        create(host, &name, "* * * * * *", nothing(), more).await;
    }
}

/// Waits until there are so many fires more.
async fn until_fired(sql: &Client, more: i64) {
    let wanted = count(sql, FIRES).await + more;
    eventually(&format!("{wanted} fires"), async || {
        (count(sql, FIRES).await >= wanted).then_some(())
    })
    .await;
}

/// Waits until all that is due by now is fired, and lets the schedules rest.
async fn end(sql: &Client) {
    let now: String = sql
        .query_one("select clock_timestamp()::text", &[])
        .await
        .expect("the database has a clock")
        .get(0);
    let behind = format!(
        "select count(*) from scheduler.schedules where owner = 'api' and next_at <= '{now}'"
    );
    eventually("nothing is left of what was due", async || {
        (count(sql, &behind).await == 0).then_some(())
    })
    .await;
    // A tick that is under way holds the rows until its commit.
    let pause = "update scheduler.schedules set paused_at = now(), paused_by = 'test'";
    sql.execute(pause, &[]).await.expect("they are paused");
}

/// Checks that each second from the first fire of a schedule to its last was fired, and enqueued one job.
async fn assert_each_second_once(sql: &Client) {
    let gaps = "select count(*) from (select 1 from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id where s.owner = 'api' \
                group by s.id, s.next_at having count(*) <> extract(epoch from max(f.nominal_at) - min(f.nominal_at)) + 1 \
                    or s.next_at <> max(f.nominal_at) + interval '1 second') g";
    assert_eq!(count(sql, gaps).await, 0, "no second is left out");
    let without = "select count(*) from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id left join jobs.jobs j on j.id = f.job_id \
                   where s.owner = 'api' and (f.outcome <> 'fired' or j.id is null or (j.meta ->> 'scheduled_at')::timestamptz <> f.nominal_at)";
    assert_eq!(count(sql, without).await, 0, "each fire has its job");
    let jobs = "select count(*) from jobs.jobs where kind = 'fixture-caller.nothing'";
    assert_eq!(
        count(sql, jobs).await,
        count(sql, FIRES).await,
        "and there is no other"
    );
}
