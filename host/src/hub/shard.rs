//! A shard writes what waits for its connections. While it writes to one, more comes for the others, and goes out with what is there.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::Notify, task::yield_now};

use super::connection::Connection;

/// Connections that are written to before others on this thread have their turn: well below a millisecond.
const TURN: usize = 32;

/// Connections for which something waits.
#[derive(Default)]
pub(super) struct Shard {
    due: Mutex<Vec<Arc<Connection>>>,
    bell: Notify,
    has_ended: AtomicBool,
}

impl Shard {
    /// There is something to write for `connection`, which is not among the due ones.
    pub(super) fn push(&self, connection: Arc<Connection>) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.push(connection);
        let is_first = due.len() == 1;
        drop(due);
        if is_first {
            self.bell.notify_one();
        }
    }

    /// Lets [`run`](Self::run) end.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Writes until the hub is gone.
    pub(super) async fn run(self: Arc<Self>) {
        let mut turn = Vec::new();
        loop {
            {
                let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
                mem::swap(&mut turn, &mut *due);
            }
            if turn.is_empty() {
                if self.has_ended.load(Ordering::Acquire) {
                    return;
                }
                self.bell.notified().await;
                continue;
            }
            for (at, connection) in turn.drain(..).enumerate() {
                if at % TURN == TURN - 1 {
                    yield_now().await;
                }
                connection.write();
            }
        }
    }
}
