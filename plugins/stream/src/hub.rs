//! Who listens on this host: sessions, the channels that they are subscribed to, and how far each channel was delivered.
//!
//! A channel of the log has one position here. The reader moves it on, publication by publication, and a subscriber is given
//! what comes behind the position at which it came in. While it is being told what it missed, newer publications wait for it.
//!
//! Subscribers that are told all that comes are in a topic of the host's hub, one for each name that they know the channel by: a
//! publication goes there once, however many they are. The others are told one by one: those that are not answered yet, those that know of
//! more than was delivered, those who take deltas, and those whose outlet is no socket.
//!
//! Nothing here waits. Channels are held apart by a hash of their names: who fans out in one keeps those in most others from nothing. A
//! session's own lock is taken within that of a channel, and that of what all channels share within both; never the other way round.

mod batch;
mod subscribers;

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use nself_plugin_api::{
    capability::hub::{self, Policy, Topic},
    prelude::Context,
    tracing::warn,
    wake::Wake,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use self::subscribers::{ByClient, Subscriber};
use crate::{
    channel::Channel,
    config::SlowConsumer,
    deltas::Worded,
    outlet::Frame,
    protocol::{
        ClientInfo, Disconnect, Join, Leave, Publication, Push, SubscribeRequest, Unsubscribe, push,
    },
    ring::Ring,
    session::Session,
};

/// Where a channel is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub id: i64,
    pub epoch: String,
    pub top: i64,
}

/// Bytes of all rings together.
const RINGS_BYTES_MAX: usize = 64 << 20;
/// Locks that channels are spread over: many more than threads that could wait for one.
const SHARDS: usize = 32;

/// A channel that somebody on this host is subscribed to.
#[derive(Default)]
struct Local {
    /// Absent where nothing is kept. Its `top` is what has been delivered.
    place: Option<Place>,
    /// What was delivered last, of channels that are kept.
    ring: Ring,
    history_size: usize,
    /// What was delivered last, for who takes deltas.
    last: Option<Box<RawValue>>,
    /// By the name that its members know the channel by.
    topics: HashMap<Arc<str>, Topic>,
    /// Subscribers that are in one of them.
    united: HashSet<ByClient>,
    /// Those that are in none.
    apart: HashMap<Uuid, Subscriber>,
    is_told_of_others: bool,
    policy: Option<Policy>,
}

/// The channels of one shard.
struct Channels {
    by_name: HashMap<Arc<str>, Local>,
    shared: Arc<Shared>,
}

/// What the channels of all shards have together.
#[derive(Default)]
struct Shared {
    names: Mutex<HashMap<i64, Arc<str>>>,
    /// Bytes of all rings.
    ring_bytes: AtomicUsize,
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, HashMap<i64, Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where somebody was who comes back, and what may be given to it.
pub(crate) struct Returning<'a> {
    pub request: &'a SubscribeRequest,
    /// Publications, and their bytes.
    pub amount_max: i64,
    pub bytes_max: usize,
    /// What is older is kept no more, in milliseconds since 1970.
    pub oldest_ms: i64,
}

#[derive(Default)]
struct Sessions {
    by_client: HashSet<ByClient>,
    /// Those of clients that have a name for themselves, by what others call them.
    known: HashMap<Uuid, Arc<Session>>,
    /// Connections of each user.
    by_user: HashMap<Box<str>, u32>,
}

/// All of it.
pub(crate) struct Hub {
    context: Context,
    shards: Vec<Mutex<Channels>>,
    hasher: RandomState,
    shared: Arc<Shared>,
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
struct Frames<F> {
    made: Vec<Made>,
    make: F,
}

struct Made {
    spelled: Arc<str>,
    frame: Frame,
    /// As the sockets of all who know it by this name are sent it, once one of them is.
    encoded: Option<hub::Frame>,
}

impl<F: Fn(&str) -> Box<str>> Frames<F> {
    fn new(make: F) -> Self {
        Self {
            made: Vec::with_capacity(1),
            make,
        }
    }

    fn of(&mut self, spelled: &Arc<str>) -> &mut Made {
        let known = self.made.iter().position(|made| made.spelled == *spelled);
        let at = known.unwrap_or_else(|| {
            self.made.push(Made {
                spelled: Arc::clone(spelled),
                frame: (self.make)(spelled).into(),
                encoded: None,
            });
            self.made.len() - 1
        });
        &mut self.made[at]
    }
}

impl Made {
    /// Nothing when it cannot be had, which the log knows then.
    fn encoded(&mut self, context: &Context) -> Option<&hub::Frame> {
        if self.encoded.is_none() {
            match context.hub().text(&*self.frame) {
                Ok(frame) => self.encoded = Some(frame),
                Err(error) => warn!(%error, "nothing can be published"),
            }
        }
        self.encoded.as_ref()
    }
}

impl Hub {
    /// Nobody listens yet.
    pub(crate) fn new(context: Context) -> Self {
        let shared = Arc::<Shared>::default();
        let shard = || {
            Mutex::new(Channels {
                by_name: HashMap::new(),
                shared: Arc::clone(&shared),
            })
        };
        Self {
            context,
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
            shared: Arc::clone(&shared),
            sessions: Mutex::default(),
            bell: Wake::default(),
        }
    }

    /// The shard that a channel is in.
    fn channels(&self, name: &str) -> MutexGuard<'_, Channels> {
        let shards = self.shards.len() as u64;
        let shard = usize::try_from(self.hasher.hash_one(name) % shards).unwrap_or_default();
        locked(&self.shards[shard])
    }

    /// All shards, one after the other.
    fn all_channels(&self) -> impl Iterator<Item = MutexGuard<'_, Channels>> {
        self.shards.iter().map(locked)
    }

    fn name(&self, id: i64) -> Option<Arc<str>> {
        self.shared.names().get(&id).cloned()
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has been opened.
    pub(crate) fn add(&self, session: &Arc<Session>) {
        let session = ByClient(Arc::clone(session));
        self.sessions().by_client.insert(session);
    }

    /// A connection belongs to a user, if that one may have another.
    pub(crate) fn claim(&self, user: &str, connections_max: u32) -> bool {
        let mut sessions = self.sessions();
        let connections = sessions.by_user.entry(user.into()).or_default();
        let is_free = *connections < connections_max;
        *connections += u32::from(is_free);
        is_free
    }

    /// A client that has a name for itself is here by this connection from now on; the one before, if that has not ended.
    pub(crate) fn succeed(&self, session: &Arc<Session>) -> Option<Arc<Session>> {
        let mut sessions = self.sessions();
        let before = sessions
            .known
            .insert(session.known_as(), Arc::clone(session));
        before.filter(|before| before.client != session.client)
    }

    /// Whether a client that has a name for itself is in that channel by another connection than this one.
    pub(crate) fn is_in_by_another(&self, session: &Session, name: &str) -> bool {
        let now = self.sessions().known.get(&session.known_as()).cloned();
        now.is_some_and(|now| now.client != session.client && now.is_in(name))
    }

    /// A connection has ended; the channels that it was in.
    pub(crate) fn remove(&self, session: &Session) -> Vec<Channel> {
        let (user, channels) = session.end();
        let mut sessions = self.sessions();
        sessions.by_client.remove(&session.client);
        if let Entry::Occupied(entry) = sessions.known.entry(session.known_as())
            && entry.get().client == session.client
        {
            entry.remove();
        }
        if let Some(Entry::Occupied(mut entry)) =
            user.map(|user| sessions.by_user.entry(user.into()))
        {
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
        let sessions = self.sessions();
        let all = sessions.by_client.iter();
        all.map(|session| Arc::clone(&session.0)).collect()
    }

    /// Lets a channel have the names that others have it by here already, instead of copies of them.
    pub(crate) fn share_names(&self, channel: &mut Channel) {
        let channels = self.channels(&channel.name);
        let Some((name, local)) = channels.by_name.get_key_value(&channel.name) else {
            return;
        };
        let spelled = if channel.spelled == *name {
            Some(name)
        } else {
            let topic = local.topics.get_key_value(&channel.spelled);
            topic.map(|(spelled, _)| spelled)
        };
        channel.name = Arc::clone(name);
        if let Some(spelled) = spelled {
            channel.spelled = Arc::clone(spelled);
        }
    }

    /// Lets a session into a channel, where `place` is what the log says of it now. What comes from here on waits until
    /// [`admit`](Self::admit). Returns the last offset that will not be delivered by itself.
    pub(crate) fn enter(
        &self,
        channel: &Channel,
        place: Option<&Place>,
        session: &Arc<Session>,
    ) -> i64 {
        self.channels(&channel.name).enter(channel, place, session)
    }

    /// Lets a session come back into a channel if all that it missed was delivered here lately, as [`enter`](Self::enter) does; where
    /// the channel is, and what was missed. Otherwise the log has to be asked.
    pub(crate) fn come_back(
        &self,
        channel: &Channel,
        session: &Arc<Session>,
        returning: &Returning<'_>,
    ) -> Option<(Place, Vec<Publication>)> {
        let mut channels = self.channels(&channel.name);
        let local = channels.by_name.get(&channel.name)?;
        let place = local.place.clone()?;
        let Returning {
            request,
            amount_max,
            bytes_max,
            oldest_ms,
        } = *returning;
        let offset = request.since(&place.epoch)?;
        let amount = place.top.checked_sub(offset)?;
        if offset < 0 || !(0..=amount_max).contains(&amount) {
            return None;
        }
        let missed = if amount == 0 {
            Vec::new()
        } else {
            local.ring.behind(offset, oldest_ms, bytes_max)?
        };
        channels.enter(channel, Some(&place), session);
        Some((place, missed))
    }

    /// Answers a subscriber that is not answered yet, and lets follow what came meanwhile.
    pub(crate) fn admit(&self, name: &str, client: Uuid, answer: Option<&Frame>) {
        let mut channels = self.channels(name);
        let Some(local) = channels.by_name.get_mut(name) else {
            return;
        };
        if let Some(subscriber) = local.apart.get_mut(&client) {
            if let Some(answer) = answer {
                subscriber.session.outlet.send(answer);
            }
            for frame in subscriber.waiting.take().unwrap_or_default() {
                subscriber.session.outlet.send(&frame);
            }
            local.unite(&self.context);
        }
    }

    /// Takes a client out of a channel; whether it was in it.
    pub(crate) fn leave(&self, name: &str, client: Uuid) -> bool {
        let mut channels = self.channels(name);
        let Some(local) = channels.by_name.get_mut(name) else {
            return false;
        };
        let was_there = local.remove(client);
        if local.amount() == 0 {
            channels.forget(name);
        }
        was_there
    }

    /// The channels of the log that are read here, and how far they were delivered.
    pub(crate) fn positions(&self) -> (Vec<i64>, Vec<i64>) {
        let (mut ids, mut tops) = (Vec::new(), Vec::new());
        for channels in self.all_channels() {
            let locals = channels.by_name.values();
            for place in locals.filter_map(|local| local.place.as_ref()) {
                ids.push(place.id);
                tops.push(place.top);
            }
        }
        (ids, tops)
    }

    /// The channels that somebody here is subscribed to, and how many are.
    pub(crate) fn subscribers(&self) -> BTreeMap<String, usize> {
        let mut subscribers = BTreeMap::new();
        for channels in self.all_channels() {
            let all = channels.by_name.iter();
            subscribers.extend(all.map(|(name, local)| (name.to_string(), local.amount())));
        }
        subscribers
    }

    /// Delivers the next publications of a channel of the log, in their order. A gap is no delivery: its subscribers are told to come
    /// again.
    pub(crate) fn deliver(&self, id: i64, publications: &[Publication]) {
        let Some(name) = self.name(id) else {
            return;
        };
        let mut channels = self.channels(&name);
        let Some(local) = channels.by_name.get_mut(&name) else {
            return;
        };
        let Some(place) = local.place.as_mut().filter(|place| place.id == id) else {
            return;
        };
        let known = publications.partition_point(|one| one.offset <= place.top);
        let news = &publications[known..];
        let next = news.iter().zip(place.top + 1..);
        let whole = next.take_while(|(one, next)| one.offset == *next).count();
        let (news, behind_a_gap) = news.split_at(whole);
        if let Some(last) = news.last() {
            place.top = last.offset;
            self.keep(local, news);
            local.tell_all(&self.context, news);
            local.unite(&self.context);
        }
        if !behind_a_gap.is_empty() {
            channels.lose(&name);
        }
    }

    /// Keeps what is delivered for who comes back, as far as there is room.
    fn keep(&self, local: &mut Local, publications: &[Publication]) {
        let ring_bytes = &self.shared.ring_bytes;
        ring_bytes.fetch_sub(local.ring.bytes(), Ordering::Relaxed);
        for publication in publications {
            local.ring.push(publication, local.history_size);
        }
        if ring_bytes.load(Ordering::Relaxed) + local.ring.bytes() > RINGS_BYTES_MAX {
            local.ring.clear();
        }
        ring_bytes.fetch_add(local.ring.bytes(), Ordering::Relaxed);
    }

    /// Nothing is known any more of what a channel was to deliver next.
    pub(crate) fn lose(&self, id: i64) {
        let Some(name) = self.name(id) else {
            return;
        };
        let mut channels = self.channels(&name);
        let local = channels.by_name.get(&name);
        let place = local.and_then(|local| local.place.as_ref());
        // It may have been left and entered anew since.
        if place.is_some_and(|place| place.id == id) {
            channels.lose(&name);
        }
    }

    /// What was delivered of a channel is remembered no more.
    pub(crate) fn forget_history(&self, name: &str) {
        if let Some(local) = self.channels(name).by_name.get_mut(name) {
            let bytes = local.ring.bytes();
            self.shared.ring_bytes.fetch_sub(bytes, Ordering::Relaxed);
            local.ring.clear();
        }
    }

    /// Delivers what nobody keeps.
    pub(crate) fn flash(&self, name: &str, publication: &Publication) {
        if let Some(local) = self.channels(name).by_name.get_mut(name) {
            local.tell(&self.context, publication);
        }
    }

    /// Tells who came or went.
    pub(crate) fn tell_presence(&self, name: &str, what: Presence, info: &ClientInfo) {
        let mut channels = self.channels(name);
        let Some(local) = channels.by_name.get_mut(name) else {
            return;
        };
        if !local.is_told_of_others {
            return;
        }
        local.send_all(
            &self.context,
            |_| true,
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

fn locked(shard: &Mutex<Channels>) -> MutexGuard<'_, Channels> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn enter(&mut self, channel: &Channel, place: Option<&Place>, session: &Arc<Session>) -> i64 {
        let known = self.by_name.get(&channel.name);
        let known = known.and_then(|local| local.place.as_ref());
        let is_other =
            |known: &Place, place: &Place| place.id != known.id || place.epoch != known.epoch;
        if known.is_some_and(|known| place.is_some_and(|place| is_other(known, place))) {
            // The row was dropped and made anew since, or a backup was put back; who came before has a position that means nothing now.
            self.lose(&channel.name);
        }
        let local = self.by_name.entry(Arc::clone(&channel.name)).or_default();
        if local.place.is_none() {
            local.place = place.cloned();
        }
        let delivered = local.place.as_ref().map_or(0, |place| place.top);
        // What the log had a moment ago may not have been delivered yet; then it will be, to others.
        let after = place.map_or(0, |place| place.top.max(delivered));
        let subscriber = Subscriber {
            session: Arc::clone(session),
            spelled: Arc::clone(&channel.spelled),
            deltas: channel.takes_deltas.then_some(false),
            after,
            waiting: Some(Vec::new()),
        };
        local.is_told_of_others = channel.rules.join_leave;
        local.history_size = usize::try_from(channel.rules.history_size).unwrap_or_default();
        local.policy = Some(policy(channel.rules.slow_consumer));
        local.apart.insert(session.client, subscriber);
        if let Some(place) = place {
            let mut names = self.shared.names();
            names.insert(place.id, Arc::clone(&channel.name));
        }
        after
    }

    fn forget(&mut self, name: &str) -> Option<Local> {
        let local = self.by_name.remove(name)?;
        let bytes = local.ring.bytes();
        self.shared.ring_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(place) = &local.place {
            self.shared.names().remove(&place.id);
        }
        Some(local)
    }

    fn lose(&mut self, name: &str) {
        let Some(local) = self.forget(name) else {
            return;
        };
        let apart = local.apart.into_values().map(|one| one.session);
        let united = local.united.into_iter().map(|one| one.0);
        for session in united.chain(apart) {
            // Who has left it already is told nothing.
            let Some(channel) = session.forget(name) else {
                continue;
            };
            // What the server has subscribed it to, the client does not subscribe to again: it has to connect again.
            if channel.is_by_server {
                session.outlet.close(Disconnect::INSUFFICIENT_STATE);
                continue;
            }
            let frame = unsubscribed(&channel.spelled, Unsubscribe::INSUFFICIENT_STATE);
            session.outlet.send(&frame);
        }
    }
}

/// A publication as those hear of it who are subscribed to its channel.
fn told(publication: &Publication) -> impl Fn(&str) -> Box<str> {
    move |channel| {
        push(Push {
            channel,
            publication: Some(publication),
            ..Push::default()
        })
    }
}

impl Local {
    /// How many subscribers it has.
    fn amount(&self) -> usize {
        self.united.len() + self.apart.len()
    }

    fn tell(&mut self, context: &Context, publication: &Publication) {
        let offset = publication.offset;
        self.send_all(
            context,
            |subscriber| subscriber.deltas.is_none() && subscriber.is_meant(offset),
            told(publication),
        );
        self.tell_deltas(context, publication);
    }

    /// The same to those that are in no topic.
    fn tell_apart(&mut self, context: &Context, publication: &Publication) {
        let offset = publication.offset;
        self.send_apart(
            context,
            |subscriber| subscriber.deltas.is_none() && subscriber.is_meant(offset),
            &mut Frames::new(told(publication)),
        );
        self.tell_deltas(context, publication);
    }

    /// To those who take deltas, who are in no topic.
    fn tell_deltas(&mut self, context: &Context, publication: &Publication) {
        if !self.apart.values().any(|one| one.deltas.is_some()) {
            self.last = None;
            return;
        }
        let offset = publication.offset;
        let worded = Worded::new(publication, self.last.as_deref());
        let delta = worded.delta.as_ref().unwrap_or(&worded.whole);
        for (has_last, publication) in [(false, &worded.whole), (true, delta)] {
            self.send_apart(
                context,
                |subscriber| subscriber.deltas == Some(has_last) && subscriber.is_meant(offset),
                &mut Frames::new(told(publication)),
            );
        }
        for subscriber in self.apart.values_mut() {
            if subscriber.is_meant(offset)
                && let Some(has_last) = &mut subscriber.deltas
            {
                *has_last = true;
            }
        }
        self.last = Some(publication.data.clone());
    }

    /// To all that are in topics, for whom everything is meant, and of the others to those for whom this is.
    fn send_all(
        &mut self,
        context: &Context,
        is_meant: impl Fn(&Subscriber) -> bool,
        make: impl Fn(&str) -> Box<str>,
    ) {
        let mut frames = Frames::new(make);
        for (spelled, topic) in &self.topics {
            if let Some(frame) = frames.of(spelled).encoded(context) {
                topic.publish(frame);
            }
        }
        self.send_apart(context, is_meant, &mut frames);
    }

    /// To those that are in no topic and for whom this is.
    fn send_apart<F: Fn(&str) -> Box<str>>(
        &mut self,
        context: &Context,
        is_meant: impl Fn(&Subscriber) -> bool,
        frames: &mut Frames<F>,
    ) {
        let apart = self.apart.values_mut();
        for subscriber in apart.filter(|subscriber| is_meant(subscriber)) {
            let Subscriber {
                session,
                spelled,
                waiting,
                ..
            } = subscriber;
            let made = frames.of(spelled);
            match (waiting, session.outlet.connection()) {
                (Some(waiting), _) => waiting.push(Arc::clone(&made.frame)),
                (None, None) => session.outlet.send(&made.frame),
                (None, Some(connection)) => match made.encoded(context) {
                    Some(frame) => _ = connection.send(frame),
                    // It would have a gap and not know of it.
                    None => connection.cut(),
                },
            }
        }
    }

    /// Lets those into their topic for whom all is meant that comes from now on.
    fn unite(&mut self, context: &Context) {
        let Self {
            place,
            topics,
            united,
            apart,
            policy,
            ..
        } = self;
        let delivered = place.as_ref().map_or(0, |place| place.top);
        let ready = apart.extract_if(|_, subscriber| {
            let connection = subscriber.session.outlet.connection();
            let Some(connection) = connection.filter(|_| subscriber.is_ready(delivered)) else {
                return false;
            };
            let topic = match topics.entry(Arc::clone(&subscriber.spelled)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    match context.hub().topic(policy.unwrap_or(Policy::Recover)) {
                        Ok(topic) => entry.insert(topic),
                        Err(error) => {
                            warn!(%error, "a channel has no topic");
                            return false;
                        }
                    }
                }
            };
            topic.add(connection)
        });
        united.extend(ready.map(|(_, subscriber)| ByClient(subscriber.session)));
        if apart.is_empty() {
            // They may have been many for a moment.
            apart.shrink_to_fit();
        }
    }

    fn remove(&mut self, client: Uuid) -> bool {
        if self.apart.remove(&client).is_some() {
            return true;
        }
        let Some(ByClient(session)) = self.united.take(&client) else {
            return false;
        };
        if let Some(connection) = session.outlet.connection() {
            self.topics.retain(|_, topic| {
                topic.remove(connection);
                topic.members() > 0
            });
        }
        true
    }
}

/// As the host's hub has it.
fn policy(slow_consumer: SlowConsumer) -> Policy {
    match slow_consumer {
        SlowConsumer::Recover => Policy::Recover,
        SlowConsumer::Latest => Policy::Latest,
        SlowConsumer::DropOldest => Policy::DropOldest,
    }
}
