//! Subscribers that come and go: each listens to the channel of its family for a while, goes, comes back to where it was, and has to be
//! given what was published meanwhile. Offsets have no gaps, so a message that is missed is seen.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::callers::{CHANNEL, Callers, PEOPLE};
use crate::{Failure, Result, websocket::Socket};

/// How many there are, those of a moment that are away among them.
pub(super) const SOCKETS: usize = 200;

/// How long one stays at least, and how much longer at most.
const STAYS: Duration = Duration::from_secs(20);
const LONGER: Duration = Duration::from_secs(20);

/// How long it is away. Those whose connections are ended by the host come back as soon as clients do.
const AWAY: Duration = Duration::from_secs(1);

/// Time for a last message to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// What all of them have seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) messages: Cell<u64>,
    /// Offsets that were passed over, and publications that were gone when somebody came back.
    pub(super) missed: Cell<u64>,
    pub(super) connections: Cell<u64>,
    /// Connections that the host has ended with a close frame, as it does when the plugin is exchanged.
    pub(super) sent_away: Cell<u64>,
    pub(super) failed: Cell<u64>,
    done: Cell<bool>,
}

fn add(cell: &Cell<u64>, amount: u64) {
    cell.set(cell.get() + amount);
}

/// All of them.
pub(super) struct Sockets {
    callers: Rc<Callers>,
    address: SocketAddr,
    pub(super) seen: Seen,
    places: Vec<RefCell<Place>>,
}

/// Where a subscriber is in its channel.
#[derive(Debug, Clone, Default)]
struct Place {
    /// None before it has been there.
    epoch: Option<String>,
    offset: u64,
}

/// Why a subscriber does not listen any more.
enum End {
    /// It has stayed as long as it wanted.
    Gone,
    /// The host has said that it shall go.
    SentAway,
}

impl Sockets {
    pub(super) fn new(callers: Rc<Callers>, address: SocketAddr) -> Self {
        Self {
            callers,
            address,
            seen: Seen::default(),
            places: (0..SOCKETS).map(|_| RefCell::default()).collect(),
        }
    }

    /// One of them, until there are to be none.
    pub(super) async fn come_and_go(self: Rc<Self>, number: usize) {
        // They do not come all at once.
        sleep(AWAY * u32::try_from(number).unwrap_or_default() / 20).await;
        for visit in 0.. {
            if self.seen.done.get() {
                return;
            }
            let longer = LONGER * u32::try_from((number + visit) % 8).unwrap_or_default() / 8;
            let stay = STAYS + longer;
            let pause = match self.visit(number, Instant::now() + stay).await {
                Ok(End::Gone) => AWAY,
                Ok(End::SentAway) => {
                    add(&self.seen.sent_away, 1);
                    AWAY / 10
                }
                Err(failure) => {
                    eprintln!("  a socket failed: {failure}");
                    add(&self.seen.failed, 1);
                    AWAY
                }
            };
            sleep(pause).await;
        }
    }

    async fn visit(&self, number: usize, until: Instant) -> Result<End> {
        let mut socket = Socket::open(self.address, "/connection/websocket").await?;
        add(&self.seen.connections, 1);
        let (token, channel) = {
            let person = self.callers.people[number % PEOPLE].borrow();
            (person.access.clone(), person.channel())
        };
        let connect = json!({"id": 1, "connect": {"token": token}});
        socket.send(connect.to_string()).await?;
        let place = self.places[number].borrow().clone();
        let mut subscribe = json!({"channel": channel});
        if let Some(epoch) = place.epoch {
            subscribe = json!({"channel": channel, "recover": true, "offset": place.offset, "epoch": epoch});
        }
        let subscribe = json!({"id": 2, "subscribe": subscribe});
        socket.send(subscribe.to_string()).await?;
        loop {
            let Ok(received) = timeout_at(until.into(), socket.receive()).await else {
                return Ok(End::Gone);
            };
            match received? {
                Some(Message::Text(text)) => {
                    for line in text.lines() {
                        self.hear(number, &mut socket, line).await?;
                    }
                }
                Some(Message::Close(Some(_))) => return Ok(End::SentAway),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => return Err(format!("instead of messages: {other:?}").into()),
            }
        }
    }

    /// A line of the protocol: an answer, a publication, or a question whether somebody is there.
    async fn hear(&self, number: usize, socket: &mut Socket, line: &str) -> Result<()> {
        if line == "{}" {
            return socket.send(line.to_owned()).await;
        }
        let line: Value = serde_json::from_str(line)?;
        if !line["error"].is_null() || !line["push"]["disconnect"].is_null() {
            return Err(Failure::from(line.to_string()));
        }
        if line["id"] == 2 {
            self.subscribed(number, &line["subscribe"]);
        }
        let push = &line["push"];
        // The host subscribes everybody to other channels, too.
        let is_ours = push["channel"]
            .as_str()
            .is_some_and(|name| name.ends_with(CHANNEL));
        if let Some(offset) = push["pub"]["offset"].as_u64().filter(|_| is_ours) {
            self.move_to(number, offset);
        }
        Ok(())
    }

    fn subscribed(&self, number: usize, answer: &Value) {
        let offset = answer["offset"].as_u64().unwrap_or_default();
        let publications = answer["publications"].as_array().map(Vec::as_slice);
        let offsets = publications.unwrap_or_default().iter();
        for offset in offsets.filter_map(|publication| publication["offset"].as_u64()) {
            self.move_to(number, offset);
        }
        let mut place = self.places[number].borrow_mut();
        if place.epoch.is_some() {
            add(&self.seen.missed, offset.saturating_sub(place.offset));
        }
        place.epoch = answer["epoch"].as_str().map(str::to_owned);
        place.offset = place.offset.max(offset);
    }

    fn move_to(&self, number: usize, offset: u64) {
        let mut place = self.places[number].borrow_mut();
        let between = offset.saturating_sub(place.offset + 1);
        add(&self.seen.missed, between);
        add(&self.seen.messages, 1);
        place.offset = place.offset.max(offset);
    }

    /// Waits until everybody has what was published, and lets nobody come again.
    pub(super) async fn end(&self) {
        let begun = Instant::now();
        while self.behind() > 0 && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(100)).await;
        }
        self.seen.done.set(true);
    }

    /// Messages that have not come to everybody.
    pub(super) fn behind(&self) -> u64 {
        let places = self.places.iter().enumerate();
        places
            .map(|(number, place)| {
                let published = self.callers.publications[number % PEOPLE].get();
                published.saturating_sub(place.borrow().offset)
            })
            .sum()
    }
}
