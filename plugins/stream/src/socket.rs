//! A connection of the plugin's WebSocket: what comes in goes to the session, what the session sends goes out. Everything that
//! knows of sockets is here.

use std::{pin::pin, sync::Arc};

use nself_plugin_api::{
    futures_util::future::{self, Either, select},
    prelude::*,
};

use crate::{
    Stream, leaving,
    outlet::{Outgoing, Outlet, Queue},
    protocol::{Disconnect, commands},
    session::{self, Session},
};

/// Takes the session out of everything, however the connection ends.
struct Open {
    cx: Cx<Stream>,
    session: Arc<Session>,
}

impl Drop for Open {
    fn drop(&mut self) {
        leaving::end(&self.cx, &self.session);
    }
}

/// Serves a connection until it ends.
///
/// # Errors
///
/// When the client has gone without a word.
pub(crate) async fn serve(cx: Cx<Stream>, socket: Socket) -> Result<()> {
    let bytes_max = usize::try_from(cx.plugin().config.queue_bytes_max).unwrap_or(usize::MAX);
    let queue = Arc::new(Queue::new(bytes_max));
    let outlet = Arc::clone(&queue) as Arc<dyn Outlet>;
    let session = Arc::new(Session::new(outlet, cx.clock().monotonic()?));
    cx.plugin().hub.add(&session);
    let open = Open { cx, session };
    let reading = pin!(read(&open, &socket, &queue));
    let writing = pin!(write(&socket, &queue));
    let given_up = pin!(queue.given_up());
    match select(select(reading, writing), given_up).await {
        Either::Left((Either::Left((ended, _)) | Either::Right((ended, _)), _)) => ended,
        Either::Right(((), _)) => Ok(()),
    }
}

/// Takes commands until the client closes. Who is sent away is not listened to any more.
async fn read(open: &Open, socket: &Socket, queue: &Queue) -> Result<()> {
    loop {
        let frame = match socket.receive().await? {
            Message::Text(text) => text,
            // JSON all the same, from clients that know no text frames.
            Message::Binary(bytes) => match String::from_utf8(bytes.to_vec()) {
                Ok(text) => text,
                Err(_) => break queue.close(Disconnect::BAD_REQUEST),
            },
            Message::Close(..) => return Ok(()),
        };
        if let Err(why) = carry_out(open, &frame).await {
            break queue.close(why);
        }
    }
    future::pending().await
}

async fn carry_out(open: &Open, frame: &str) -> std::result::Result<(), Disconnect> {
    for command in commands(frame)? {
        if open.session.outlet.is_closing() {
            break;
        }
        session::handle(&open.cx, &open.session, command).await?;
    }
    Ok(())
}

/// Writes what waits until the end is among it.
async fn write(socket: &Socket, queue: &Queue) -> Result<()> {
    loop {
        match queue.next().await {
            Outgoing::Frames(text) => socket.send(Message::Text(text)).await?,
            Outgoing::Close(why) => {
                let close = Message::Close(why.code, why.reason.to_owned());
                return socket.send(close).await;
            }
        }
    }
}
