//! The watch over one server: starts it again when it dies, keeps its log small, ends it when told.

use std::{fs::File, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, info, warn};

use super::{
    cluster::State,
    pidfile,
    server::{Plan, Server, ServerError},
};

/// The pauses between failing starts double from this.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// ...up to this: a full disk or a missing mount is noticed soon after it is mended.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// How often the log's size is looked at.
const LOG_LOOK: Duration = Duration::from_secs(60);

/// What the host wants.
#[derive(Debug)]
pub(crate) enum Control {
    /// End the server and say how that went.
    Stop(oneshot::Sender<Result<(), ServerError>>),
    /// Let it run, stop watching.
    Leave,
}

pub(crate) struct Supervisor {
    plan: Plan,
    /// Empty between two starts.
    server: Option<Server>,
    states: watch::Sender<State>,
    control: mpsc::Receiver<Control>,
    /// Held open: it makes this host the only one.
    _lock: File,
}

impl Supervisor {
    pub(crate) fn new(
        plan: Plan,
        server: Server,
        states: watch::Sender<State>,
        control: mpsc::Receiver<Control>,
        lock: File,
    ) -> Self {
        Self {
            plan,
            server: Some(server),
            states,
            control,
            _lock: lock,
        }
    }

    pub(crate) async fn run(mut self) {
        let control = self.watch().await;
        if let Some(Control::Stop(done)) = control {
            let outcome = self.stop().await;
            // The caller may have given up waiting; the server is stopped all the same.
            let _ = done.send(outcome);
        }
        self.states.send_replace(State::Stopped);
    }

    /// Keeps the server running until the host wants something else.
    async fn watch(&mut self) -> Option<Control> {
        let mut log_look = interval(LOG_LOOK);
        log_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Some(server) = &mut self.server else {
                tokio::select! {
                    control = self.control.recv() => return control,
                    () = bring_back(&self.plan, &mut self.server, &self.states) => {}
                }
                continue;
            };
            tokio::select! {
                control = self.control.recv() => return control,
                status = server.ended() => {
                    error!(status, "postgres ended and is started again");
                    self.server = None;
                    self.states.send_replace(State::Restarting { attempt: 0, reason: status });
                }
                _ = log_look.tick() => self.look_at_log(),
            }
        }
    }

    async fn stop(&mut self) -> Result<(), ServerError> {
        // Told in the middle of a restart: whatever runs by now has written its file or is in the slot.
        let found =
            || pidfile::running(&self.plan.data).map(|postmaster| Server::Adopted(postmaster.pid));
        match self.server.take().or_else(found) {
            Some(mut server) => server.stop().await,
            None => Ok(()),
        }
    }

    fn look_at_log(&self) {
        if let Err(error) = self.plan.log.rotate(&self.plan.account) {
            warn!(%error, path = %self.plan.log.path().display(), "the log of postgres cannot be rotated");
        }
    }
}

/// Tries until the server answers. Safe to give up on: a process that exists is in `slot`.
async fn bring_back(plan: &Plan, slot: &mut Option<Server>, states: &watch::Sender<State>) {
    let mut pause = BACKOFF_MIN;
    for attempt in 1.. {
        let Err(error) = plan.launch(slot).await else {
            break;
        };
        // It runs and refuses us, or hangs: leave no second one behind.
        if let Some(mut server) = slot.take() {
            let _ = server.stop().await;
        }
        error!(attempt, %error, "postgres does not start");
        states.send_replace(State::Restarting {
            attempt,
            reason: error.to_string(),
        });
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF_MAX);
    }
    let pid = slot
        .as_ref()
        .and_then(Server::pid)
        .map_or(0, |pid| pid.as_raw_nonzero().get());
    info!(pid, "postgres runs again");
    states.send_replace(State::Running(pid));
}
