//! One client: whose it is, what it is subscribed to, when it has to answer. What it asks for is done in the modules below.

mod again;
mod allowance;
mod answer;
pub(crate) mod by_server;
pub(crate) mod connect;
mod look;
mod publish;
mod rpc;
mod subscribe;
mod subscriptions;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use nself_plugin_api::{
    capability::tokens::Receipt,
    prelude::{Principal, Role},
};
use uuid::Uuid;

pub(crate) use self::answer::{No, handle};
use self::{allowance::Allowance, subscriptions::Subscriptions};
use crate::{
    channel::Channel,
    config::Config,
    outlet::{Frame, Outlet},
    protocol::{ClientInfo, Disconnect, Error, Reply},
};

/// Time for a connection to say whose it is.
const STALE_AFTER: Duration = Duration::from_secs(25);
/// Time for a client to take its end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Who a connection belongs to.
struct Bearer {
    /// Of its token, to be checked when sessions end.
    receipt: Receipt,
    /// As the token says, less what was taken away since.
    principal: Principal,
    /// An earlier end than the token's, as a program has said.
    ends_at: Option<u64>,
}

impl Bearer {
    fn new(receipt: Receipt, mut principal: Principal, ends_at: Option<u64>) -> Self {
        if principal.user_id.or(principal.device_id).is_some() {
            // Who has an id is called by that.
            principal.subject = String::new();
        }
        Self {
            receipt,
            principal,
            ends_at,
        }
    }

    /// Seconds since 1970 at which its connection ends, whoever said so: never later than the token does.
    fn end(&self) -> u64 {
        let of_token = self.principal.expires_at;
        self.ends_at.map_or(of_token, |end| end.min(of_token))
    }
}

struct State {
    bearer: Option<Bearer>,
    subscriptions: Subscriptions,
    /// No subscription ends before by itself, in seconds since 1970.
    next_end: Option<u64>,
    /// By the rules that they are counted by, of which there are few.
    allowances: Vec<(usize, Allowance)>,
    /// Of commands other than publications.
    commands: Option<Allowance>,
    /// When it was asked for a sign of life; before it has said whose it is, when it was opened.
    pinged_at: Duration,
    is_pong_due: bool,
    /// It has answered the last ping.
    has_answered: bool,
    closed_at: Option<Duration>,
    is_over: bool,
}

/// One client.
pub(crate) struct Session {
    /// Its own among all that there are here; others call it [`known_as`](Self::known_as).
    pub client: Uuid,
    /// What others call it, where that is not its own: the same after each connect of a client that has a name for itself.
    known_as: OnceLock<Uuid>,
    /// Where its frames go.
    pub outlet: Arc<dyn Outlet>,
    /// It only listens: it answers no ping, and brings no newer token.
    is_one_way: bool,
    state: Mutex<State>,
}

/// What time it is: by a clock that never goes back, and in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub monotonic: Duration,
    pub seconds: u64,
}

impl Session {
    pub(crate) fn new(outlet: Arc<dyn Outlet>, now: Duration) -> Self {
        Self {
            client: Uuid::now_v7(),
            known_as: OnceLock::new(),
            outlet,
            is_one_way: false,
            state: Mutex::new(State {
                bearer: None,
                subscriptions: Subscriptions::default(),
                next_end: None,
                allowances: Vec::new(),
                commands: None,
                pinged_at: now,
                is_pong_due: false,
                has_answered: false,
                closed_at: None,
                is_over: false,
            }),
        }
    }

    /// One of a client that only listens.
    pub(crate) fn one_way(outlet: Arc<dyn Outlet>, now: Duration) -> Self {
        Self {
            is_one_way: true,
            ..Self::new(outlet, now)
        }
    }

    /// Whether it is asked for signs of life.
    fn answers_pings(&self) -> bool {
        !self.is_one_way
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose it is.
    ///
    /// # Errors
    ///
    /// [`Disconnect::BAD_REQUEST`] while it has not said so.
    pub(crate) fn caller(&self) -> Result<Principal, Disconnect> {
        let state = self.state();
        let bearer = state.bearer.as_ref().ok_or(Disconnect::BAD_REQUEST)?;
        Ok(bearer.principal.clone())
    }

    /// Whose it is, if it has said so.
    pub(crate) fn principal(&self) -> Option<Principal> {
        self.caller().ok()
    }

    /// What is to be known of who it belongs to, without a copy of all of it; nothing while it has not said so.
    pub(crate) fn with_principal<T>(&self, look: impl FnOnce(&Principal) -> T) -> Option<T> {
        let state = self.state();
        state.bearer.as_ref().map(|bearer| look(&bearer.principal))
    }

    /// What is left of its token, to be checked.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        self.state().bearer.as_ref().map(|bearer| bearer.receipt)
    }

    /// What others call it.
    pub(crate) fn known_as(&self) -> Uuid {
        *self.known_as.get().unwrap_or(&self.client)
    }

    /// Whether its client has a name for itself, and is known again by that.
    pub(crate) fn is_known_again(&self) -> bool {
        self.known_as.get().is_some()
    }

    /// Whether it is subscribed to that channel, or is about to be.
    pub(crate) fn is_in(&self, name: &str) -> bool {
        self.state().subscriptions.contains_key(name)
    }

    /// How others see it.
    pub(crate) fn info(&self, principal: &Principal) -> ClientInfo {
        ClientInfo {
            user: user(principal),
            client: self.known_as().to_string(),
        }
    }

    /// Notes a subscription before it is made, so that there is never a second one.
    fn reserve(&self, channel: &Channel, channels_max: u32) -> Result<(), Error> {
        let mut state = self.state();
        if state.subscriptions.contains_key(&channel.name) {
            return Err(Error::ALREADY_SUBSCRIBED);
        }
        let amount = u32::try_from(state.subscriptions.len()).unwrap_or(u32::MAX);
        if amount >= channels_max {
            return Err(Error::LIMIT_EXCEEDED);
        }
        if let Some(end) = channel.own.expires_at {
            state.next_end = Some(state.next_end.map_or(end, |next| next.min(end)));
        }
        let (name, channel) = (&channel.name, channel.clone());
        state.subscriptions.insert(name, channel);
        Ok(())
    }

    /// Takes out the subscriptions that are at their end.
    pub(crate) fn take_ended(&self, now: Now) -> Vec<Channel> {
        let mut state = self.state();
        if state.next_end.is_none_or(|end| now.seconds < end) {
            return Vec::new();
        }
        let is_over =
            |channel: &Channel| channel.own.expires_at.is_some_and(|end| end <= now.seconds);
        let ended = state
            .subscriptions
            .extract_if(|_, channel| is_over(channel));
        let ended = ended.map(|(_, channel)| channel).collect();
        let left = state.subscriptions.values();
        state.next_end = left.filter_map(|channel| channel.own.expires_at).min();
        ended
    }

    /// Lets the connection end at that time, if its token does not end before; when it ends, or nothing where nobody has connected.
    pub(crate) fn end_at(&self, seconds: u64) -> Option<u64> {
        let mut state = self.state();
        let bearer = state.bearer.as_mut()?;
        bearer.ends_at = Some(seconds);
        Some(bearer.end())
    }

    /// Forgets a subscription.
    pub(crate) fn forget(&self, name: &str) -> Option<Channel> {
        self.state().subscriptions.remove(name)
    }

    /// Whether it is one to be told: closed ones have nothing to subscribe to.
    fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// The connection has ended: whose it was, and what it was subscribed to. Nothing is subscribed to any more.
    pub(crate) fn end(&self) -> (Option<String>, Vec<Channel>) {
        let mut state = self.state();
        let is_first = !std::mem::replace(&mut state.is_over, true);
        let bearer = state.bearer.as_ref().filter(|_| is_first);
        let user = bearer.map(|bearer| user(&bearer.principal));
        let channels = state.subscriptions.drain().map(|(_, channel)| channel);
        (user, channels.collect())
    }

    /// Takes over what is true of the bearer now, and gives back the subscriptions that it has lost by that. A role in a
    /// family is `None` for who is no member of it any more.
    pub(crate) fn change(&self, role: Option<Role>) -> Vec<Channel> {
        let mut state = self.state();
        let State {
            bearer,
            subscriptions,
            ..
        } = &mut *state;
        let Some(Bearer { principal, .. }) = bearer else {
            return Vec::new();
        };
        principal.role = role;
        if role.is_none() {
            principal.family_id = None;
            principal.member_id = None;
        }
        let lost = |channel: &Channel| !channel.may_subscribe(principal);
        subscriptions
            .extract_if(|_, channel| lost(channel))
            .map(|(_, channel)| channel)
            .collect()
    }

    /// Asks for a sign of life where there was none lately; whether there was.
    fn is_surely_there(&self, now: Duration, config: &Config) -> bool {
        if self.is_one_way {
            // It cannot be asked.
            return true;
        }
        let patience = Duration::from_secs(config.pong_seconds.into());
        let mut state = self.state();
        let is_lately = now.saturating_sub(state.pinged_at) < patience;
        if state.is_pong_due || state.has_answered && is_lately {
            return !state.is_pong_due;
        }
        (state.pinged_at, state.is_pong_due, state.has_answered) = (now, true, false);
        drop(state);
        self.outlet.send(&Frame::from(Reply::default().frame()));
        false
    }

    /// The client has answered a ping.
    fn pong(&self) {
        let mut state = self.state();
        state.has_answered |= std::mem::take(&mut state.is_pong_due);
    }

    /// Whether it may publish once more.
    fn may_publish_now(&self, channel: &Channel, now: Duration) -> bool {
        let rate = f64::from(channel.rules.publish_per_second);
        let mut state = self.state();
        let allowances = &mut state.allowances;
        let rules = Arc::as_ptr(&channel.rules).addr();
        let known = allowances.iter().position(|(of, _)| *of == rules);
        let at = known.unwrap_or_else(|| {
            allowances.push((rules, Allowance::full(rate, now)));
            allowances.len() - 1
        });
        allowances[at].1.take(rate, rate, now)
    }

    /// Whether it may ask for something else once more. Who comes back subscribes to everything at once.
    fn may_ask_now(&self, config: &Config, now: Duration) -> bool {
        let rate = f64::from(config.commands_per_second);
        let burst = rate + f64::from(config.channels_per_connection);
        let mut state = self.state();
        let commands = &mut state.commands;
        let allowance = commands.get_or_insert_with(|| Allowance::full(burst, now));
        allowance.take(rate, burst, now)
    }

    /// Pings it when it is time, and ends it when its time is over. Whether it was given up.
    pub(crate) fn look_at_the_clock(&self, now: Now, config: &Config) -> bool {
        let mut state = self.state();
        if self.outlet.is_closing() {
            let closed_at = *state.closed_at.get_or_insert(now.monotonic);
            drop(state);
            let is_given_up = now.monotonic.saturating_sub(closed_at) >= CLOSE_LIMIT;
            if is_given_up {
                self.outlet.cut();
            }
            return is_given_up;
        }
        let waited = now.monotonic.saturating_sub(state.pinged_at);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        // A newer token could only come over a connection that takes commands.
        let grace = if self.is_one_way {
            0
        } else {
            u64::from(config.expired_grace_seconds)
        };
        let end = match &state.bearer {
            None => (waited >= STALE_AFTER).then_some(Disconnect::STALE),
            Some(bearer) if now.seconds >= bearer.end().saturating_add(grace) => {
                Some(Disconnect::EXPIRED)
            }
            Some(_) => (state.is_pong_due && waited >= seconds(config.pong_seconds))
                .then_some(Disconnect::NO_PONG),
        };
        let is_ping_due =
            state.bearer.is_some() && !state.is_pong_due && waited >= seconds(config.ping_seconds);
        if is_ping_due {
            state.pinged_at = now.monotonic;
            state.is_pong_due = self.answers_pings();
            state.has_answered = false;
        }
        drop(state);
        if let Some(why) = end {
            self.outlet.close(why);
        } else if is_ping_due {
            self.outlet.send(&Frame::from(Reply::default().frame()));
        }
        // It will not take its end either: nobody waits for that.
        end == Some(Disconnect::NO_PONG)
    }
}

/// How somebody is called towards others and counted: by their id, whatever the token's subject says.
pub(crate) fn user(principal: &Principal) -> String {
    let id = principal.user_id.or(principal.device_id);
    id.map_or_else(|| principal.subject.clone(), |id| id.to_string())
}
