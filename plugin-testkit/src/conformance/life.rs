//! Work beside requests, and the ends of a plugin's life: drained, without a database, enabled again.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use nself::{
    capability::task::lease::{Held, Leases},
    plugin::manifest::Route,
    postgres::connect::Target,
};
use nself_plugin_api::abi::{self, error::KIND_PANIC};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Conformance,
    routes::{admitted, filled, name, path_of},
};
use crate::{
    host::TestHost,
    sample::sample,
    wait::{LIMIT, eventually, within},
};

/// A method that no capability has.
const UNKNOWN_METHOD: &str = "no-such-method-of-the-testkit";

/// When a schedule is said to have fired.
const SCHEDULED_AT: &str = "2026-01-02T03:04:00Z";

impl Conformance {
    /// Every task and every schedule runs once without an error.
    ///
    /// # Panics
    ///
    /// With the first that does not.
    pub async fn every_task_and_schedule_runs(&self) {
        let manifest = &self.library.manifest;
        let host = self.start().await;
        // The singletons' leases first, so that this run is the only one, as a task may rely on.
        self.disable(&host).await;
        let leases = self.singletons(&host).await;
        self.enable(&host).await;
        let running = host.running(self.id()).await;
        for (number, task) in (0..).zip(&manifest.tasks) {
            let run = within(&task.name, running.instance().run_task(number)).await;
            if let Err(failure) = run {
                panic!("task {}: {failure} {}", task.name, failure.cause.to_text());
            }
        }
        for (number, schedule) in (0..).zip(&manifest.schedules) {
            let run = running
                .instance()
                .on_schedule(number, SCHEDULED_AT.to_owned().into());
            if let Err(failure) = within(&schedule.name, run).await {
                panic!(
                    "schedule {}: {failure} {}",
                    schedule.name,
                    failure.cause.to_text()
                );
            }
        }
        drop((running, leases));
        self.finish(host).await;
    }

    /// Every subscription has its place in the log and is read.
    ///
    /// # Panics
    ///
    /// With the first that is not.
    pub async fn every_subscription_reads(&self) {
        let host = self.start().await;
        let sql = host.sql().await;
        for subscription in &self.library.manifest.subscriptions {
            let cursor = format!("{}/{}", self.id(), subscription.name);
            eventually(&format!("reading of {cursor}"), async || {
                let held =
                    "select from nself.event_cursors where subscriber = $1 and lease_until > now()";
                let row = sql.query_opt(held, &[&cursor]).await;
                row.expect("cursors can be read")
            })
            .await;
        }
        drop(sql);
        self.finish(host).await;
    }

    /// Every provided capability answers, and refuses a method that it does not have without falling over.
    ///
    /// # Panics
    ///
    /// With the first that does not.
    pub async fn every_capability_answers(&self) {
        let host = self.start().await;
        let running = host.running(self.id()).await;
        for (number, capability) in (0..).zip(&self.library.manifest.provides) {
            let answer = running.instance().call(
                number,
                UNKNOWN_METHOD.into(),
                abi::bytes::Bytes::default(),
            );
            if let Err(refusal) = within(capability, answer).await {
                assert_ne!(
                    refusal.kind, KIND_PANIC,
                    "{capability} panics over an unknown method"
                );
                assert!(
                    refusal.status < 500,
                    "{capability} fails over an unknown method: {refusal}"
                );
            }
        }
        drop(running);
        self.finish(host).await;
    }

    /// Disabled under a request, it answers that request and ends by itself.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn it_drains(&self) {
        let host = self.start().await;
        let Some((route, schema)) = self.library.manifest.routes.iter().find_map(|route| {
            let takes_a_body = !self.except.contains(&name(route)) && route.kind == "json";
            Some((route, route.request.as_ref().filter(|_| takes_a_body)?))
        }) else {
            self.disable(&host).await;
            return self.finish(host).await;
        };
        let (finish, finished) = oneshot::channel::<()>();
        let body = sample(&schema.read()).to_string();
        let (first, rest) = body.split_at(body.len() / 2);
        let (first, rest) = (Bytes::from(first.to_owned()), Bytes::from(rest.to_owned()));
        let rest = async move {
            // The sender is gone only when the test has failed.
            let _ = finished.await;
            rest
        };
        let chunks = stream::unfold(Some((first, Some(rest))), async |state| match state {
            Some((chunk, Some(rest))) => Some((chunk, Some((rest.await, None)))),
            Some((chunk, None)) => Some((chunk, None)),
            None => None,
        });
        let path = path_of(route);
        let request = admitted(&host, route, &path, Uuid::now_v7());
        let request = request
            .header("content-type", "application/json")
            .stream(Box::pin(chunks));
        let running = host.running(self.id()).await;
        let generation = Arc::clone(running.generation());
        drop(running);
        let disabling = async {
            eventually("the request under way", async || {
                (generation.in_flight() > 0).then_some(())
            })
            .await;
            let disabling = self.disable(&host);
            let letting_go = async {
                eventually("draining", async || generation.is_draining().then_some(())).await;
                finish.send(()).expect("the request is under way");
            };
            tokio::join!(disabling, letting_go);
        };
        let (answer, ()) = tokio::join!(request.send(), disabling);
        assert!(
            answer.status < 500,
            "{} was cut off: {} {}",
            name(route),
            answer.status,
            answer.text()
        );
        let answer = admitted(&host, route, &path, Uuid::now_v7()).send().await;
        assert_eq!(
            answer.status,
            404,
            "{} of a plugin that is disabled",
            name(route)
        );
        self.finish(host).await;
    }

    /// While the database is away its routes answer, as failures if they must; when it is back they work again.
    ///
    /// # Panics
    ///
    /// When they do not.
    pub async fn it_survives_the_loss_of_the_database(&self) {
        let host = self.start().await;
        let family = Uuid::now_v7();
        let probes: Vec<&Route> = self
            .library
            .manifest
            .routes
            .iter()
            .filter(|route| route.kind == "json" && !self.except.contains(&name(route)))
            .collect();
        let ask = async |route: &Route| {
            let request = admitted(&host, route, &path_of(route), family);
            filled(route, request).send().await
        };
        let outage = host.database_away().await;
        for route in &probes {
            let answer = ask(route).await;
            assert_ne!(
                answer.status,
                404,
                "{} is gone with the database: {}",
                name(route),
                answer.text()
            );
        }
        outage.end().await;
        for route in &probes {
            eventually(&format!("{} after the outage", name(route)), async || {
                (ask(route).await.status < 500).then_some(())
            })
            .await;
        }
        self.finish(host).await;
    }

    /// Disabled and enabled again, it answers as before.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn it_is_enabled_again_after_it_was_disabled(&self) {
        let host = self.start().await;
        for _ in 0..2 {
            self.disable(&host).await;
            self.enable(&host).await;
        }
        let views = host.registry().plugins();
        let view = views.iter().find(|view| view.id == self.id());
        let view = view.expect("a plugin that was enabled is listed");
        assert!(!view.degraded, "{:?}", view.reason);
        self.finish(host).await;
    }

    async fn enable(&self, host: &TestHost) {
        let enabled = within("enabling", host.registry().enable(self.id())).await;
        enabled.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn disable(&self, host: &TestHost) {
        let disabled = within(
            "disabling",
            host.registry().disable(self.id(), LIMIT / 2, true),
        )
        .await;
        let disabled = disabled.unwrap_or_else(|error| panic!("{error}"));
        let clean = disabled.iter().all(|changed| changed.clean);
        assert!(clean, "{} had to be cut off", self.id());
    }

    /// The leases of the singleton tasks.
    async fn singletons(&self, host: &TestHost) -> Vec<Held> {
        let target = Target::from_url(&host.database().url()).expect("a test has a database");
        let leases = Leases::new(&target);
        let mut held = Vec::new();
        for task in self
            .library
            .manifest
            .tasks
            .iter()
            .filter(|task| task.singleton)
        {
            let lease = format!("{}:task:{}", self.id(), task.name);
            held.push(within(&lease, leases.acquire(&lease)).await);
        }
        held
    }
}
