//! Who is in a channel. There are thousands of them, and nearly all are in a topic of the host's hub, so of those nothing is kept here but
//! that they are.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::Arc,
};

use uuid::Uuid;

use crate::{outlet::Frame, session::Session};

/// A session, to be found by its client.
pub(super) struct ByClient(pub Arc<Session>);

impl Borrow<Uuid> for ByClient {
    fn borrow(&self) -> &Uuid {
        &self.0.client
    }
}

impl Hash for ByClient {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.client.hash(state);
    }
}

impl PartialEq for ByClient {
    fn eq(&self, other: &Self) -> bool {
        self.0.client == other.0.client
    }
}

impl Eq for ByClient {}

/// One that is told by itself.
pub(super) struct Subscriber {
    pub session: Arc<Session>,
    /// The name that it knows the channel by.
    pub spelled: Arc<str>,
    /// Whether it has what was delivered last; nothing for who takes no deltas.
    pub deltas: Option<bool>,
    /// The last publication that it knows or is being told of.
    pub after: i64,
    /// What came while it is not subscribed yet.
    pub waiting: Option<Vec<Frame>>,
}

impl Subscriber {
    /// Whether a publication is one that it does not know. What is not kept has no offset, and goes to everybody.
    pub(super) fn is_meant(&self, offset: i64) -> bool {
        offset == 0 || offset > self.after
    }

    /// Whether all is meant for it that comes behind what was delivered up to there.
    pub(super) fn is_ready(&self, delivered: i64) -> bool {
        self.waiting.is_none() && self.deltas.is_none() && self.after <= delivered
    }
}
