//! A connection of the plugin's WebSocket: what comes in goes to the session, what the session sends waits in the host's hub, which
//! writes it. Everything that knows of sockets is here.

use std::{pin::pin, sync::Arc};

use nself_plugin_api::{
    capability::hub::{Close, Connection, Limits},
    futures_util::{
        FutureExt,
        future::{Either, ready, select},
    },
    prelude::*,
    tracing::warn,
    wake::Wake,
};

use crate::{
    Stream, leaving,
    outlet::{Frame, Outlet},
    protocol::{Disconnect, End, commands},
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

/// The way to the client.
struct Line {
    context: Context,
    connection: Connection,
    end: Wake,
}

impl Outlet for Line {
    fn send(&self, frame: &Frame) {
        match self.context.hub().text(&**frame) {
            Ok(frame) => _ = self.connection.send(&frame),
            Err(error) => {
                warn!(%error, "a connection cannot be written to");
                self.connection.cut();
            }
        }
    }

    fn end(&self, End { code, reason }: End) {
        let reason = &*reason;
        self.connection.close(Close { code, reason });
        self.end.wake();
    }

    fn is_closing(&self) -> bool {
        self.connection.is_closing()
    }

    fn cut(&self) {
        self.connection.cut();
    }

    fn connection(&self) -> Option<&Connection> {
        Some(&self.connection)
    }
}

/// As the hub has it.
fn close(Disconnect { code, reason }: Disconnect) -> Close<'static> {
    Close { code, reason }
}

/// Sends somebody away who has just come.
///
/// # Errors
///
/// When the client has gone.
pub(crate) async fn refuse(socket: Socket, why: Disconnect) -> Result<()> {
    let Disconnect { code, reason } = why;
    socket.send(Message::Close(code, reason.to_owned())).await
}

/// Serves a connection until it ends. The future is there for as long as that, so it has room for nothing that is needed only before.
///
/// # Errors
///
/// When the client has gone without a word.
pub(crate) fn serve(cx: Cx<Stream>, socket: Socket) -> impl Future<Output = Result<()>> + Send {
    match open(cx, &socket) {
        Ok((open, line)) => converse(open, line, socket).left_future(),
        Err(error) => ready(Err(error)).right_future(),
    }
}

fn open(cx: Cx<Stream>, socket: &Socket) -> Result<(Open, Arc<Line>)> {
    let limits = Limits {
        queue_bytes_max: cx.plugin().config.queue_bytes_max.into(),
        slow: close(Disconnect::SLOW),
        restart: close(Disconnect::SHUTDOWN),
    };
    let line = Arc::new(Line {
        context: (*cx).clone(),
        connection: cx.hub().connection(socket, &limits)?,
        end: Wake::default(),
    });
    let outlet = Arc::clone(&line) as Arc<dyn Outlet>;
    let session = Arc::new(Session::new(outlet, cx.clock().monotonic()?));
    cx.plugin().hub.add(&session);
    Ok((Open { cx, session }, line))
}

#[expect(
    clippy::manual_async_fn,
    reason = "what is captured stays where it is; as arguments of an async function it would be there twice"
)]
fn converse(
    open: Open,
    line: Arc<Line>,
    socket: Socket,
) -> impl Future<Output = Result<()>> + Send {
    async move {
        match select(pin!(read(&open, &socket)), pin!(line.end.wait())).await {
            Either::Left((ended, _)) => ended,
            // The host sees to it that the client takes its end.
            Either::Right(((), _)) => Ok(()),
        }
    }
}

/// Takes commands until the client closes. Who is sent away is not listened to any more.
async fn read(open: &Open, socket: &Socket) -> Result<()> {
    let outlet = &open.session.outlet;
    loop {
        let frame = match socket.receive().await? {
            Message::Close(..) => return Ok(()),
            _ if outlet.is_closing() => continue,
            Message::Text(text) => text,
            // JSON all the same, from clients that know no text frames.
            Message::Binary(bytes) => {
                let Ok(text) = String::from_utf8(bytes.to_vec()) else {
                    outlet.close(Disconnect::BAD_REQUEST);
                    continue;
                };
                text
            }
        };
        // In a box of its own: while nothing comes, a connection has no room for the largest of all commands.
        if let Err(why) = Box::pin(carry_out(open, &frame)).await {
            outlet.close(why);
        }
    }
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
