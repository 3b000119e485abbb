//! Jobs fail and wait, mails wait for their relay, and a schedule has left something out.

use std::process::Child;

use nself_compose::{
    lab::stand_in,
    shell::{command, eventually, tools},
};
use serde_json::{Value, json};

use super::{
    page::{Page, cell, when},
    service::Service,
};
use crate::household::{Household, free_port};

const KIND: &str = "jobs.http_request";

/// What the work needs, all of it in trouble.
struct Trouble {
    household: Household,
    service: Service,
    url: String,
    relay: u16,
}

impl Trouble {
    fn begin() -> Self {
        let (port, relay) = (free_port(), free_port());
        let settings = format!(
            "[plugins.jobs]\negress = [\"127.0.0.1:{port}\"]\n[plugins.mail.config]\ndelivery = \"smtp\"\n\
             from = \"Home <home@example.org>\"\nsmtp_host = \"127.0.0.1\"\nsmtp_port = {relay}\nsmtp_tls = \"none\"\n"
        );
        Self {
            household: Household::start(&["jobs", "mail", "scheduler"], &settings),
            service: Service::start(port, 503),
            url: format!("http://127.0.0.1:{port}/"),
            relay,
        }
    }

    fn enqueues(&self, attempts_max: u32) -> String {
        let job = json!({
            "kind": KIND, "payload": {"url": self.url}, "options": {"attempts_max": attempts_max},
        });
        let household = &self.household;
        let told = household.posts("/v1/jobs", &household.operator(), &job);
        told.data()["id"].to_string()
    }

    /// Waits until a job is in that state.
    fn until(&self, id: &str, state: &str) {
        eventually(state, || {
            let job = self.household.data(&["jobs", "show", id]);
            when(job["state"] == state, job.to_string())
        });
    }
}

pub(super) fn drill(page: &mut Page) {
    let trouble = Trouble::begin();
    jobs_wait_and_fail(page, &trouble);
    mails_wait(page, &trouble);
    a_schedule_left_something_out(page, &trouble.household);
    let more = "nself jobs limits set NAME --running-max 50";
    let limits = page.types(&trouble.household, more, &[("NAME", "default")]);
    assert!(limits.good("the limits").contains("running_max: 50"));
}

fn jobs_wait_and_fail(page: &mut Page, trouble: &Trouble) {
    let household = &trouble.household;
    let named = [("NAME", "default")];
    household.run(&["jobs", "pause", "default"]).good("a pause");
    let (failing, lost) = (trouble.enqueues(20), trouble.enqueues(1));
    let queues = page
        .types(household, "nself jobs queues", &[])
        .good("the queues");
    assert_eq!(cell(&queues, &["default"], "AVAILABLE"), "2", "{queues}");
    let tail = page.watches(household, "nself jobs tail --queue NAME", &named);
    page.types(household, "nself jobs resume NAME", &named)
        .good("it goes on");
    tail.until("failed");
    drop(tail);
    let limits = page
        .types(household, "nself jobs limits list", &[])
        .good("the limits");
    assert_eq!(cell(&limits, &["default"], "MAX"), "-", "{limits}");

    trouble.until(&failing, "retryable");
    let list = "nself jobs list --state retryable --kind KIND";
    let listed = page
        .types(household, list, &[("KIND", KIND)])
        .good("what fails");
    assert_eq!(cell(&listed, &[&failing], "LAST ERROR"), "JOB_HTTP_STATUS");
    let shown = page.types(household, "nself jobs show ID", &[("ID", &failing)]);
    let shown = shown.good("its attempts");
    assert!(
        shown.contains("JOB_HTTP_STATUS") && shown.contains("503"),
        "{shown}"
    );
    let why = [("NAME", "default"), ("...", "the service is down")];
    let pause = "nself jobs pause NAME --reason \"...\"";
    let paused = page.types(household, pause, &why).good("a pause");
    assert!(paused.contains("the service is down"), "{paused}");
    let listed = page
        .types(household, "nself jobs list --queue NAME", &named)
        .good("all of it");
    assert!(
        listed.contains(&failing) && listed.contains(&lost),
        "{listed}"
    );

    trouble.until(&lost, "discarded");
    let dead = page
        .types(household, "nself jobs dead", &[])
        .good("what was given up");
    assert_eq!(cell(&dead, &[&lost], "ERROR"), "JOB_HTTP_STATUS");
    trouble.service.says(200);
    let again = "nself jobs retry-dead --kind KIND";
    page.confirms(household, again, &[("KIND", KIND)])
        .good("it is tried again");
    household
        .run(&["jobs", "resume", "default"])
        .good("it goes on");
    trouble.until(&lost, "completed");
    household
        .run(&["jobs", "retry", &failing])
        .good("it goes on");
    trouble.until(&failing, "completed");
    trouble.service.says(400);
    let useless = trouble.enqueues(1);
    trouble.until(&useless, "discarded");
    let remove = "nself jobs remove-dead ID";
    page.confirms(household, remove, &[("ID", &useless)])
        .good("it is removed");
    let dead = household.data(&["jobs", "dead"]);
    assert_eq!(dead["jobs"], json!([]), "nothing is left");
}

fn mails_wait(page: &mut Page, trouble: &Trouble) {
    let household = &trouble.household;
    let test = household.data(&["mail", "test", "--to", "ada@example.org"]);
    let id = test["id"].as_str().expect("an id").to_owned();
    eventually("the relay is not there", || {
        let listed = household.data(&["mail", "list"]);
        when(listed[0]["last_error"].is_string(), listed.to_string())
    });
    let status = page
        .types(household, "nself mail status", &[])
        .good("the queue");
    assert!(status.contains("waiting: 1"), "{status}");
    let waiting = page.types(household, "nself mail list --status queued", &[]);
    let waiting = waiting.good("what waits");
    assert!(
        !cell(&waiting, &[&id], "LAST ERROR").is_empty(),
        "{waiting}"
    );
    let _relay = Relay::start(trouble.relay);
    page.types(household, "nself mail retry ID", &[("ID", &id)])
        .good("it is sent");
    eventually("it is sent", || {
        let listed = household.data(&["mail", "list", "--status", "sent"]);
        when(listed[0]["id"] == *id, listed.to_string())
    });
}

/// As when the host was away for hours, in which a schedule was due that leaves such times out.
fn a_schedule_left_something_out(page: &mut Page, household: &Household) {
    let schedule = json!({
        "name": "hourly", "spec": "0 * * * *", "missed": "skip",
        "target": {"event": {"type": "schedule.hour", "data": {}}},
    });
    let made = household.posts("/v1/schedules", &household.operator(), &schedule);
    assert_eq!(made.status, 201, "{made:?}");
    household.run(&["stop"]).good("it stops");
    let hours = "date_trunc('hour', now()) - interval '3 hours'";
    household.sql(&format!(
        "update scheduler.schedules set next_at = {hours}, due_at = {hours} where name = 'hourly'"
    ));
    household.run(&["up", "--detach"]).good("it starts");
    eventually("the times are left out", || {
        let shown = household.data(&["scheduler", "show", "hourly"]);
        when(shown["missed_total"] == 1, shown.to_string())
    });

    let named = ("NAME", "hourly");
    let shown = page.types(household, "nself scheduler show NAME", &[named]);
    let shown = shown.good("the schedule");
    assert!(shown.contains("missed_total: 1"), "{shown}");
    let history = page.types(household, "nself scheduler history NAME", &[named]);
    assert_eq!(history.good("what it fired").trim(), "nothing");
    let at = |hours: u8| {
        household.sql(&format!(
            "select to_char(date_trunc('hour', now() at time zone 'UTC') - interval '{hours} hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        ))
    };
    let (from, to) = (at(3), at(2));
    let backfill =
        "nself scheduler backfill NAME --from 2030-03-31T00:00:00Z --to 2030-03-31T06:00:00Z";
    let window = [
        named,
        ("2030-03-31T00:00:00Z", &*from),
        ("2030-03-31T06:00:00Z", &*to),
    ];
    page.types(household, backfill, &window)
        .good("the window is fired");
    let is_filled = |fire: &&Value| fire["origin"] == "backfill" && fire["outcome"] == "fired";
    eventually("both times are fired", || {
        let fires = household.data(&["scheduler", "history", "hourly"]);
        let filled = fires
            .as_array()
            .into_iter()
            .flatten()
            .filter(is_filled)
            .count();
        when(filled == 2, fires.to_string())
    });
}

/// A mail server that takes everything.
struct Relay(Child);

impl Relay {
    fn start(port: u16) -> Self {
        let mut catcher = command(tools().join("python/bin/python"));
        catcher
            .arg(stand_in("catcher.py"))
            .env("MP_SMTP_BIND_ADDR", format!("127.0.0.1:{port}"))
            .env("MP_UI_BIND_ADDR", format!("127.0.0.1:{}", free_port()));
        let relay = Self(catcher.spawn().expect("Python starts"));
        eventually("it listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
        });
        relay
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
