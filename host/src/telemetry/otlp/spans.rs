//! Spans on their way out: in batches, as many as there are after a moment.

use std::{sync::Arc, time::Duration};

use tokio::{select, sync::mpsc, time::timeout};

use super::{Signal, client::Client, enveloped};

/// Spans of one message; the specification's default.
const BATCH_MAX: usize = 512;
/// How long the first of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// Sends what comes, and then what is left.
pub(super) async fn send(client: Arc<Client>, mut queue: mpsc::Receiver<Vec<u8>>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        select! {
            () = client.stopping() => break,
            () = collect(&mut queue, &mut batch) => {}
        }
        if batch.is_empty() {
            return;
        }
        export(&client, &mut batch).await;
    }
    queue.close();
    loop {
        let room = BATCH_MAX - batch.len();
        queue.recv_many(&mut batch, room).await;
        if batch.is_empty() {
            return;
        }
        export(&client, &mut batch).await;
    }
}

/// Nothing is lost when this is dropped: what has come is in the batch.
async fn collect(queue: &mut mpsc::Receiver<Vec<u8>>, batch: &mut Vec<Vec<u8>>) {
    if queue.recv_many(batch, BATCH_MAX).await == 0 {
        return;
    }
    let more = async {
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            if queue.recv_many(batch, room).await == 0 {
                break;
            }
        }
    };
    let _ = timeout(LINGER, more).await;
}

async fn export(client: &Client, batch: &mut Vec<Vec<u8>>) {
    let count = batch.len() as u64;
    let message = enveloped(client.resource(), 2, batch.drain(..));
    client.send(Signal::Traces, message, count).await;
}
