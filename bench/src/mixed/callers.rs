//! Who asks for what: people with accounts and families of their own, and a service.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use serde_json::{Value, json};

use super::load::Load;
use crate::{
    Failure, Result,
    client::{bare, bearer, json_post, json_post_by, with_bearer, with_json},
};

/// The key of an operator, who may do everything that is not for members of families.
pub(super) const KEY: &str = "nsk_bench_soaks_everything";

/// Each has an account, and a family with a channel.
pub(super) const PEOPLE: usize = 8;

const PASSWORD: &str = "correct horse battery staple";

/// How the channel of each family ends.
pub(super) const CHANNEL: &str = ":bench:all";

/// What jobs are enqueued, and what other ones a schedule makes.
pub(super) const JOB: &str = "bench00.nothing";
pub(super) const SCHEDULED_JOB: &str = "bench00.limited";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Me,
    Note,
    Job,
    Refresh,
    SignIn,
    Publication,
    Mail,
    Workflow,
}

impl Kind {
    /// How often in a second.
    pub(super) const MIX: [(Self, f64); 8] = [
        (Self::Me, 40.0),
        (Self::Note, 10.0),
        (Self::Job, 40.0),
        (Self::Refresh, 4.0),
        (Self::SignIn, 1.0),
        (Self::Publication, 8.0),
        (Self::Mail, 1.0),
        (Self::Workflow, 1.0),
    ];
}

/// Somebody with an account, and what they hold.
#[derive(Debug, Clone)]
pub(super) struct Person {
    email: String,
    pub(super) access: String,
    refresh: String,
    family: String,
}

impl Person {
    pub(super) fn channel(&self) -> String {
        format!("family:{}{CHANNEL}", self.family)
    }
}

/// All who ask, and how often they were told that it is done.
pub(super) struct Callers {
    pub(super) load: Load,
    pub(super) people: Vec<RefCell<Person>>,
    pub(super) jobs: Cell<i64>,
    pub(super) mails: Cell<i64>,
    pub(super) runs: Cell<i64>,
    /// In the channel of each person.
    pub(super) publications: [Cell<u64>; PEOPLE],
}

impl Callers {
    /// Makes the accounts and families.
    pub(super) async fn new(load: Load) -> Result<Self> {
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            people.push(RefCell::new(person(&load, number).await?));
        }
        Ok(Self {
            load,
            people,
            jobs: Cell::default(),
            mails: Cell::default(),
            runs: Cell::default(),
            publications: Default::default(),
        })
    }

    /// What the load needs beside people: a workflow, and a schedule that is due every second.
    pub(super) async fn prepare(&self, server: std::net::SocketAddr) -> Result<()> {
        let call = json!({"method": "post", "endpoint": format!("http://{server}/")});
        let workflow = json!({
            "document": {"dsl": "1.0.0", "namespace": "bench", "name": "mixed", "version": "1.0.0"},
            "do": [
                {"count": {"set": {"n": "${ .n + 1 }"}}},
                {"rest": {"wait": {"seconds": 2}}},
                {"call": {"call": "http", "with": call}},
            ],
        });
        let schedule = json!({
            "name": "mixed", "spec": "@every 1s", "target": {"job": {"kind": SCHEDULED_JOB}},
        });
        for (path, body) in [
            ("/v1/workflow-definitions", workflow),
            ("/v1/schedules", schedule),
        ] {
            needed(&self.load, &by_key(path, &body)).await?;
        }
        Ok(())
    }

    /// One of the things that are asked for; the number says by whom.
    pub(super) async fn act(self: Rc<Self>, kind: Kind, number: usize, due: Instant) {
        let person = &self.people[number % PEOPLE];
        match kind {
            Kind::Me => {
                let request = with_bearer("/auth/me", &person.borrow().access);
                self.load.ask(due, &request).await;
            }
            Kind::Note => self.note(person, due).await,
            Kind::Refresh => self.refresh(person, due).await,
            Kind::SignIn => self.sign_in(person, due).await,
            Kind::Publication => {
                let body = json!({"channel": person.borrow().channel(), "data": {"n": number}});
                let answer = self.load.ask(due, &by_key("/api/publish", &body)).await;
                let said = &self.publications[number % PEOPLE];
                said.set(said.get() + u64::from(answer.is_some()));
            }
            Kind::Job => {
                let body = json!({"kind": JOB, "payload": {"n": number}});
                self.count(&self.jobs, due, "/v1/jobs", &body).await;
            }
            Kind::Mail => {
                let body = json!({"to": format!("reader{number}@example.org")});
                self.count(&self.mails, due, "/mail/test", &body).await;
            }
            Kind::Workflow => {
                let body = json!({"input": {"n": 0}, "wait_seconds": 0});
                let path = "/v1/workflows/bench/mixed/1.0.0/runs";
                self.count(&self.runs, due, path, &body).await;
            }
        }
    }

    async fn count(&self, done: &Cell<i64>, due: Instant, path: &str, body: &Value) {
        let answer = self.load.ask(due, &by_key(path, body)).await;
        done.set(done.get() + i64::from(answer.is_some()));
    }

    /// Written, read, rewritten, listed and removed.
    async fn note(&self, person: &RefCell<Person>, due: Instant) {
        const NOTES: &str = "/hello/notes";
        let header = bearer(&person.borrow().access);
        let draft = json!({"title": "Milk", "body": "Two bottles, and bread if there is some."});
        let request = with_json("POST", NOTES, &header, &draft);
        let Some(note) = self.load.ask(due, &request).await else {
            return;
        };
        let path = format!(
            "{NOTES}/{}",
            note["data"]["id"].as_str().unwrap_or_default()
        );
        for request in [
            bare("GET", &path, &header),
            with_json("PUT", &path, &header, &draft),
            bare("GET", NOTES, &header),
            bare("DELETE", &path, &header),
        ] {
            self.load.ask(Instant::now(), &request).await;
        }
    }

    async fn refresh(&self, person: &RefCell<Person>, due: Instant) {
        let body = json!({"refresh_token": person.borrow().refresh});
        let answer = self.load.ask(due, &json_post("/auth/refresh", &body)).await;
        if let Some((access, refresh)) = answer.as_ref().and_then(tokens) {
            let mut person = person.borrow_mut();
            (person.access, person.refresh) = (access, refresh);
        }
    }

    /// Another session of the same person, which is ended at once.
    async fn sign_in(&self, person: &RefCell<Person>, due: Instant) {
        let body = json!({"email": person.borrow().email, "password": PASSWORD});
        let answer = self.load.ask(due, &json_post("/auth/login", &body)).await;
        if let Some((access, _)) = answer.as_ref().and_then(tokens) {
            let request = json_post_by("/auth/logout", &access, &json!({}));
            self.load.ask(Instant::now(), &request).await;
        }
    }
}

/// The bytes of a POST with the operator's key.
fn by_key(path: &str, body: &Value) -> Vec<u8> {
    with_json("POST", path, &format!("x-api-key: {KEY}\r\n"), body)
}

/// A request without which there is nothing to go on with.
async fn needed(load: &Load, request: &[u8]) -> Result<Value> {
    let answer = load.ask(Instant::now(), request).await;
    answer.ok_or_else(|| Failure::from("the load cannot be prepared"))
}

/// Access and refresh token of an answer.
fn tokens(answer: &Value) -> Option<(String, String)> {
    let text = |name: &str| answer["data"][name].as_str().map(str::to_owned);
    Some((text("access_token")?, text("refresh_token")?))
}

async fn person(load: &Load, number: usize) -> Result<Person> {
    let missing = || Failure::from("an answer without tokens");
    let email = format!("person{number}@example.org");
    let body = json!({"email": email, "password": PASSWORD});
    let answer = needed(load, &json_post("/auth/register", &body)).await?;
    let (access, refresh) = tokens(&answer).ok_or_else(missing)?;
    let body = json!({"name": format!("Family {number}")});
    let answer = needed(load, &json_post_by("/auth/families", &access, &body)).await?;
    let family = answer["data"]["id"].as_str().unwrap_or_default().to_owned();
    let path = format!("/auth/families/{family}/switch");
    let body = json!({"refresh_token": refresh});
    let answer = needed(load, &json_post_by(&path, &access, &body)).await?;
    let (access, refresh) = tokens(&answer).ok_or_else(missing)?;
    Ok(Person {
        email,
        access,
        refresh,
        family,
    })
}
