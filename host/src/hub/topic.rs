//! Topics: connections that are sent the same.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nself_plugin_api::abi::capability::hub::Frame;

use super::{Counts, Policy, connection::Connection, deflate::Versions};

/// A topic of one plugin.
pub(crate) struct Topic {
    number: u64,
    policy: Policy,
    /// In the order in which they came: what belongs to them lies in memory in that order, more or less, and is gone through in it.
    members: Mutex<BTreeMap<u64, Arc<Connection>>>,
    counts: Arc<Counts>,
}

impl Topic {
    pub(super) fn new(number: u64, policy: Policy, counts: Arc<Counts>) -> Arc<Self> {
        counts.topics.inc();
        Arc::new(Self {
            number,
            policy,
            members: Mutex::default(),
            counts,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in; whether it is in now, which it is not when its socket has ended.
    pub(crate) fn add(self: &Arc<Self>, connection: &Arc<Connection>) -> bool {
        let replaced = self
            .lock()
            .insert(connection.number(), Arc::clone(connection));
        // It knows the topic already if it was in it. If it ended in between, nobody else will take it out.
        let is_in = replaced.is_some() || connection.enter(self);
        if !is_in {
            self.forget(connection.number());
        }
        is_in
    }

    /// Takes a connection out; whether it was in.
    pub(crate) fn remove(self: &Arc<Self>, number: u64) -> bool {
        let removed = self.lock().remove(&number);
        if let Some(connection) = &removed {
            connection.leave(self);
        }
        removed.is_some()
    }

    /// Takes a connection out that knows of it.
    pub(super) fn forget(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Sends to all members but one; how many there are.
    pub(crate) fn publish(&self, frame: &Frame, except: u64) -> usize {
        let members = self.lock();
        let mut versions = Versions::new(frame);
        for (number, connection) in &*members {
            if *number != except {
                let frame = versions.of(connection);
                connection.push(frame, Some((self.number, self.policy)));
            }
        }
        members.len()
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> usize {
        self.lock().len()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.counts.topics.dec();
    }
}
