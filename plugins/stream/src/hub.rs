//! Who listens on this host: sessions, the channels that they are subscribed to, and how far each channel was delivered.
//!
//! A channel of the log has one position here. The reader moves it on, publication by publication, and a subscriber is given
//! what comes behind the position at which it came in. While it is being told what it missed, newer publications wait for it.
//!
//! Nothing here waits, and a session's own lock is taken within the hub's, never the other way round.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nself_plugin_api::wake::Wake;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    channel::Channel,
    deltas::Worded,
    outlet::Frame,
    protocol::{ClientInfo, Disconnect, Join, Leave, Publication, Push, Unsubscribe, push},
    session::Session,
};

/// Where a channel is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub id: i64,
    pub epoch: String,
    pub top: i64,
}

/// A channel that somebody on this host is subscribed to.
#[derive(Default)]
struct Local {
    /// Absent where nothing is kept. Its `top` is what has been delivered.
    place: Option<Place>,
    /// What was delivered last, for who takes deltas.
    last: Option<Box<RawValue>>,
    subscribers: HashMap<Uuid, Subscriber>,
}

struct Subscriber {
    session: Arc<Session>,
    spelled: Arc<str>,
    is_told_of_others: bool,
    /// Whether it has what was delivered last; nothing for who takes no deltas.
    deltas: Option<bool>,
    /// The last publication that it knows or is being told of.
    after: i64,
    /// What came while it is not subscribed yet.
    waiting: Option<Vec<Frame>>,
}

#[derive(Default)]
struct Channels {
    by_name: HashMap<Arc<str>, Local>,
    by_id: HashMap<i64, Arc<str>>,
}

#[derive(Default)]
struct Sessions {
    by_client: HashMap<Uuid, Arc<Session>>,
    /// Connections of each user.
    by_user: HashMap<String, u32>,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Hub {
    channels: Mutex<Channels>,
    sessions: Mutex<Sessions>,
    /// Rung when there may be something to read in the log.
    pub bell: Wake,
}

/// What is told beside publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Join,
    Leave,
}

/// One publication as each subscriber knows its channel; nearly all know it by the same name.
struct Frames<'a, F> {
    made: Vec<(&'a Arc<str>, Frame)>,
    make: F,
}

impl<'a, F: Fn(&str) -> Box<str>> Frames<'a, F> {
    fn new(make: F) -> Self {
        Self {
            made: Vec::with_capacity(1),
            make,
        }
    }

    fn of(&mut self, spelled: &'a Arc<str>) -> &Frame {
        let known = self.made.iter().position(|(name, _)| *name == spelled);
        let at = known.unwrap_or_else(|| {
            self.made.push((spelled, (self.make)(spelled).into()));
            self.made.len() - 1
        });
        &self.made[at].1
    }
}

impl Hub {
    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has been opened.
    pub(crate) fn add(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions();
        sessions
            .by_client
            .insert(session.client, Arc::clone(session));
    }

    /// A connection belongs to a user, if that one may have another.
    pub(crate) fn claim(&self, user: &str, connections_max: u32) -> bool {
        let mut sessions = self.sessions();
        let connections = sessions.by_user.entry(user.to_owned()).or_default();
        let is_free = *connections < connections_max;
        *connections += u32::from(is_free);
        is_free
    }

    /// A connection has ended; the channels that it was in.
    pub(crate) fn remove(&self, session: &Session) -> Vec<Channel> {
        let (user, channels) = session.end();
        let mut sessions = self.sessions();
        sessions.by_client.remove(&session.client);
        if let Some(Entry::Occupied(mut entry)) = user.map(|user| sessions.by_user.entry(user)) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        drop(sessions);
        for channel in &channels {
            self.leave(&channel.name, session.client);
        }
        channels
    }

    /// All connections.
    pub(crate) fn all_sessions(&self) -> Vec<Arc<Session>> {
        self.sessions().by_client.values().cloned().collect()
    }

    /// Lets a session into a channel, where `place` is what the log says of it now. What comes from here on waits until
    /// [`admit`](Self::admit). Returns the last offset that will not be delivered by itself.
    pub(crate) fn enter(
        &self,
        channel: &Channel,
        place: Option<&Place>,
        session: &Arc<Session>,
    ) -> i64 {
        let mut channels = self.channels();
        let known = channels.by_name.get(&channel.name);
        let known = known.and_then(|local| local.place.as_ref());
        if known.is_some_and(|known| place.is_some_and(|place| place.id != known.id)) {
            // The row was dropped and made anew since; who came before has a position that means nothing now.
            channels.lose(&channel.name);
        }
        let local = channels
            .by_name
            .entry(Arc::clone(&channel.name))
            .or_default();
        if local.place.is_none() {
            local.place = place.cloned();
        }
        let delivered = local.place.as_ref().map_or(0, |place| place.top);
        // What the log had a moment ago may not have been delivered yet; then it will be, to others.
        let after = place.map_or(0, |place| place.top.max(delivered));
        let subscriber = Subscriber {
            session: Arc::clone(session),
            spelled: Arc::clone(&channel.spelled),
            is_told_of_others: channel.rules.join_leave,
            deltas: channel.takes_deltas.then_some(false),
            after,
            waiting: Some(Vec::new()),
        };
        local.subscribers.insert(session.client, subscriber);
        if let Some(place) = place {
            channels.by_id.insert(place.id, Arc::clone(&channel.name));
        }
        after
    }

    /// Answers a subscriber that is not answered yet, and lets follow what came meanwhile.
    pub(crate) fn admit(&self, name: &str, client: Uuid, answer: Option<&Frame>) {
        let mut channels = self.channels();
        let local = channels.by_name.get_mut(name);
        let subscriber = local.and_then(|local| local.subscribers.get_mut(&client));
        if let Some(subscriber) = subscriber {
            if let Some(answer) = answer {
                subscriber.session.outlet.send(answer);
            }
            for frame in subscriber.waiting.take().unwrap_or_default() {
                subscriber.session.outlet.send(&frame);
            }
        }
    }

    /// Takes a client out of a channel; whether it was in it.
    pub(crate) fn leave(&self, name: &str, client: Uuid) -> bool {
        let mut channels = self.channels();
        let Some(local) = channels.by_name.get_mut(name) else {
            return false;
        };
        let was_there = local.subscribers.remove(&client).is_some();
        if local.subscribers.is_empty() {
            channels.forget(name);
        }
        was_there
    }

    /// The channels of the log that are read here, and how far they were delivered.
    pub(crate) fn positions(&self) -> (Vec<i64>, Vec<i64>) {
        let channels = self.channels();
        let places = channels
            .by_name
            .values()
            .filter_map(|local| local.place.as_ref());
        places.map(|place| (place.id, place.top)).unzip()
    }

    /// The channels that somebody here is subscribed to, and how many are.
    pub(crate) fn subscribers(&self) -> BTreeMap<String, usize> {
        let channels = self.channels();
        let all = channels.by_name.iter();
        all.map(|(name, local)| (name.to_string(), local.subscribers.len()))
            .collect()
    }

    /// Delivers the next publication of a channel of the log. A gap is no delivery: its subscribers are told to come again.
    pub(crate) fn deliver(&self, id: i64, publication: &Publication) {
        let mut channels = self.channels();
        let Some(name) = channels.by_id.get(&id).cloned() else {
            return;
        };
        let Some(local) = channels.by_name.get_mut(&name) else {
            return;
        };
        let Some(place) = local.place.as_mut().filter(|place| place.id == id) else {
            return;
        };
        if publication.offset <= place.top {
            return;
        }
        if publication.offset != place.top + 1 {
            channels.lose(&name);
            return;
        }
        place.top = publication.offset;
        local.tell(publication);
    }

    /// Nothing is known any more of what a channel was to deliver next.
    pub(crate) fn lose(&self, id: i64) {
        let mut channels = self.channels();
        if let Some(name) = channels.by_id.get(&id).cloned() {
            channels.lose(&name);
        }
    }

    /// Delivers what nobody keeps.
    pub(crate) fn flash(&self, name: &str, publication: &Publication) {
        if let Some(local) = self.channels().by_name.get_mut(name) {
            local.tell(publication);
        }
    }

    /// Tells who came or went.
    pub(crate) fn tell_presence(&self, name: &str, what: Presence, info: &ClientInfo) {
        let mut channels = self.channels();
        let Some(local) = channels.by_name.get_mut(name) else {
            return;
        };
        local.send_all(
            |subscriber| subscriber.is_told_of_others,
            |channel| {
                push(Push {
                    channel,
                    join: (what == Presence::Join).then_some(Join { info }),
                    leave: (what == Presence::Leave).then_some(Leave { info }),
                    ..Push::default()
                })
            },
        );
    }

    /// Ends subscriptions, as their session is told.
    pub(crate) fn unsubscribe(&self, session: &Session, channels: &[Channel], why: Unsubscribe) {
        for channel in channels {
            if self.leave(&channel.name, session.client) {
                session.outlet.send(&unsubscribed(&channel.spelled, why));
            }
        }
    }
}

/// The push that ends a subscription.
fn unsubscribed(channel: &str, why: Unsubscribe) -> Frame {
    push(Push {
        channel,
        unsubscribe: Some(why),
        ..Push::default()
    })
    .into()
}

impl Channels {
    fn forget(&mut self, name: &str) -> Option<Local> {
        let local = self.by_name.remove(name)?;
        if let Some(place) = &local.place {
            self.by_id.remove(&place.id);
        }
        Some(local)
    }

    fn lose(&mut self, name: &str) {
        let Some(local) = self.forget(name) else {
            return;
        };
        for subscriber in local.subscribers.into_values() {
            let Subscriber {
                session, spelled, ..
            } = subscriber;
            let channel = session.forget(name);
            // What the server has subscribed it to, the client does not subscribe to again: it has to connect again.
            if channel.is_some_and(|channel| channel.is_by_server) {
                session.outlet.close(Disconnect::INSUFFICIENT_STATE);
                continue;
            }
            let frame = unsubscribed(&spelled, Unsubscribe::INSUFFICIENT_STATE);
            session.outlet.send(&frame);
        }
    }
}

impl Subscriber {
    /// Whether a publication is one that it does not know. What is not kept has no offset, and goes to everybody.
    fn is_meant(&self, offset: i64) -> bool {
        offset == 0 || offset > self.after
    }
}

impl Local {
    fn tell(&mut self, publication: &Publication) {
        self.send(publication, None);
        if !self.subscribers.values().any(|one| one.deltas.is_some()) {
            self.last = None;
            return;
        }
        let worded = Worded::new(publication, self.last.as_deref());
        self.send(&worded.whole, Some(false));
        self.send(worded.delta.as_ref().unwrap_or(&worded.whole), Some(true));
        for subscriber in self.subscribers.values_mut() {
            if subscriber.deltas.is_some() && subscriber.is_meant(publication.offset) {
                subscriber.deltas = Some(true);
            }
        }
        self.last = Some(publication.data.clone());
    }

    /// To those who take it in that wording.
    fn send(&mut self, publication: &Publication, deltas: Option<bool>) {
        let offset = publication.offset;
        self.send_all(
            |subscriber| subscriber.deltas == deltas && subscriber.is_meant(offset),
            |channel| {
                push(Push {
                    channel,
                    publication: Some(publication),
                    ..Push::default()
                })
            },
        );
    }

    fn send_all(
        &mut self,
        is_meant: impl Fn(&Subscriber) -> bool,
        make: impl Fn(&str) -> Box<str>,
    ) {
        let mut frames = Frames::new(make);
        for subscriber in self.subscribers.values_mut().filter(|one| is_meant(one)) {
            let Subscriber {
                session,
                spelled,
                waiting,
                ..
            } = subscriber;
            let frame = frames.of(spelled);
            match waiting {
                Some(waiting) => waiting.push(Arc::clone(frame)),
                None => session.outlet.send(frame),
            }
        }
    }
}
