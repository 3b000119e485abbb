//! The database is away, then the process, then something is slow.

use std::{fs, path::PathBuf};

use nself_compose::shell::{answer, command, eventually};
use serde_json::{Value, json};

use super::page::{Page, Watched, when};
use crate::household::Household;

pub(super) fn drill(page: &mut Page) {
    let household = Household::start(&["jobs"], "");
    household.run(&["jobs", "pause", "default"]).good("a pause");
    enqueue(&household, 200);
    the_database_is_away(page, &household);
    the_process_is_gone(page, &household);
    something_is_slow(page, &household);
    let stats = page.types(&household, "nself jobs stats", &[]);
    let stats = stats.good("the queues");
    assert!(stats.contains("available: 2"), "{stats}");
}

/// Work that waits, because its queue is paused.
fn enqueue(household: &Household, status: u16) -> String {
    let job = json!({"kind": "jobs.http_request", "payload": {"url": "http://example.org/"}});
    let reply = household.posts("/v1/jobs", &household.operator(), &job);
    assert!(reply.status / 100 == status / 100, "{reply:?}");
    reply.headers
}

fn the_database_is_away(page: &mut Page, household: &Household) {
    let outage = Outage::begin(household);
    let headers = enqueue(household, 503);
    assert!(headers.contains("retry-after: "), "{headers}");
    let said = page.types(household, "nself doctor", &[]);
    assert!(!said.success, "{said:?}");
    for part in ["database: away", "nself logs", "postgres.log"] {
        assert!(said.out.contains(part), "no {part:?} in {}", said.out);
    }
    let ready = page.types(household, "curl -s localhost:3000/readyz", &[]);
    let ready: Value = ready.good("an answer").parse().expect("JSON");
    let parts = ["/parts/postgres/ready", "/parts/jobs/ready"].map(|part| ready.pointer(part));
    assert_eq!(parts, [Some(&json!(false)), Some(&json!(true))], "{ready}");
    let live = household.asks("/livez", &[]).expect("the process is there");
    assert_eq!(live.status, 200);
    let warnings = page.types(household, "nself logs --level warn", &[]);
    let warnings = warnings.good("the log");
    assert!(warnings.contains("postgres does not start"), "{warnings}");
    page.leaves_to_systemd(household, "journalctl -u nself -g 'WARN|ERROR'");
    let id = headers
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "));
    let id = id.expect("each answer has an id").trim();
    let lines = page.types(household, "nself logs --json | grep ID", &[("ID", id)]);
    let lines = lines.good("the lines of that request");
    assert!(
        lines.contains("\"ERROR\"") && lines.contains("DATABASE_UNAVAILABLE"),
        "{lines}"
    );
    drop(outage);
    eventually("it goes on by itself", || {
        let ready = household.asks("/readyz", &[])?;
        when(ready.status == 200, ready.body)
    });
    enqueue(household, 200);
}

fn the_process_is_gone(page: &mut Page, household: &Household) {
    let pid = household.pid();
    answer(command("kill").args(["-KILL", &pid])).good("kill");
    eventually("nobody answers", || match household.asks("/livez", &[]) {
        Err(_) => Ok(()),
        Ok(reply) => Err(reply.body),
    });
    page.types(household, "nself up --detach", &[])
        .good("it starts");
    page.leaves_to_systemd(household, "systemctl start nself");
    assert_eq!(
        household.asks("/readyz", &[]).expect("an answer").status,
        200
    );
}

fn something_is_slow(page: &mut Page, household: &Household) {
    const RUNNING: &str = "nself db shell -- -c \"select pid, now() - query_start as since, wait_event_type, left(query, 100) from \
        pg_stat_activity where state <> 'idle' order by 2 desc\"";
    let slow = Watched::begin(
        household,
        "nself db shell -- -Atc 'select 4711, pg_sleep(120)'",
    );
    let is_slow = "select count(*) from pg_stat_activity where query like 'select 4711%' and state = 'active'";
    eventually("it is under way", || {
        let count = household.sql(is_slow);
        when(count == "1", count)
    });
    let running = page.types(household, RUNNING, &[]).good("what runs");
    let first = running.lines().nth(2).unwrap_or_default();
    assert!(
        first.contains("select 4711"),
        "the slowest comes first: {running}"
    );
    household.sql("select pg_cancel_backend(pid) from pg_stat_activity where query like 'select 4711%' and pid <> pg_backend_pid()");
    drop(slow);
}

/// While this is there, the private Postgres has died and does not start.
struct Outage {
    control: PathBuf,
    aside: PathBuf,
}

impl Outage {
    fn begin(household: &Household) -> Self {
        let cluster = household.cluster();
        let control = cluster.join("global/pg_control");
        let aside = control.with_extension("aside");
        fs::rename(&control, &aside).expect("a file of the cluster");
        let outage = Self { control, aside };
        let file = fs::read_to_string(cluster.join("postmaster.pid")).expect("it runs");
        let pid = file.lines().next().expect("a process");
        answer(command("kill").args(["-QUIT", pid])).good("kill");
        eventually("it is gone", || {
            let ready = household.asks("/readyz", &[])?;
            when(ready.body.contains("did not start"), ready.body)
        });
        outage
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        fs::rename(&self.aside, &self.control).expect("a file of the cluster");
    }
}
