//! Subscribers that do no more than count what they are sent.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::{
    dialect::{Entrance, Position},
    frames::{Frames, masked},
};
use crate::{Failure, Result};

/// Longest wait for messages that are on their way.
const LIMIT: Duration = Duration::from_secs(60);
/// Subscribers that come in at the same time.
const AT_A_TIME: usize = 32;

/// What all of them have heard, and are to hear.
#[derive(Default)]
struct Heard {
    messages: AtomicUsize,
    wanted: AtomicUsize,
    bell: Notify,
    /// When each of them heard, while somebody wants to know.
    arrivals: Mutex<Option<Vec<Instant>>>,
}

/// Subscribers of one server.
pub(super) struct Audience {
    size: usize,
    /// Where the last one came in.
    pub(super) position: Option<Position>,
    heard: Arc<Heard>,
    _listeners: JoinSet<()>,
}

impl Audience {
    /// Lets those of these numbers in, back to a position where there is one.
    pub(super) async fn open(
        entrance: &Entrance,
        numbers: std::ops::Range<usize>,
        back: Option<&Position>,
    ) -> Result<Self> {
        let size = numbers.len();
        let entering = numbers.map(|number| entrance.enter(number, back));
        let entered: Vec<_> = stream::iter(entering)
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        let heard = Arc::<Heard>::default();
        let mut listeners = JoinSet::new();
        let mut position = None;
        for (stream, place) in entered {
            position = place;
            listeners.spawn(listen(stream, Arc::clone(&heard)));
        }
        Ok(Self {
            size,
            position,
            heard,
            _listeners: listeners,
        })
    }

    /// There will be so many messages more.
    pub(super) fn expect(&self, messages: usize) {
        let deliveries = messages * self.size;
        self.heard.wanted.fetch_add(deliveries, Ordering::SeqCst);
    }

    /// All have heard all that was expected.
    pub(super) async fn all_heard(&self) -> Result<()> {
        let Heard {
            messages,
            wanted,
            bell,
            ..
        } = &*self.heard;
        let all = async {
            while messages.load(Ordering::SeqCst) < wanted.load(Ordering::SeqCst) {
                bell.notified().await;
            }
        };
        timeout(LIMIT, all).await.map_err(|_| {
            let (messages, wanted) = (
                messages.load(Ordering::SeqCst),
                wanted.load(Ordering::SeqCst),
            );
            Failure::from(format!("{messages} messages of {wanted} were delivered"))
        })
    }

    /// From here on it is noted when each of them hears; what was noted until now.
    pub(super) fn note(&self, whether: bool) -> Vec<Instant> {
        let arrivals = &self.heard.arrivals;
        let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = std::mem::replace(&mut *arrivals, whether.then(Vec::new));
        noted.unwrap_or_default()
    }
}

async fn listen(mut stream: TcpStream, heard: Arc<Heard>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut frames = Frames::default();
    while let Ok(amount @ 1..) = stream.read(&mut buffer).await {
        let seen = frames.see(&buffer[..amount]);
        for _ in 0..seen.pings {
            // Who cannot be written to hears nothing either, and that is noticed.
            let _ = stream.write_all(&masked(1, b"{}")).await;
        }
        if seen.messages == 0 {
            continue;
        }
        {
            let mut arrivals = heard
                .arrivals
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(arrivals) = &mut *arrivals {
                arrivals.extend(std::iter::repeat_n(Instant::now(), seen.messages));
            }
        }
        let messages = heard.messages.fetch_add(seen.messages, Ordering::SeqCst) + seen.messages;
        if messages >= heard.wanted.load(Ordering::SeqCst) {
            heard.bell.notify_one();
        }
    }
}
