//! The catcher's SMTP server: accepts connections and drives their sessions.

use std::{pin::pin, sync::atomic::Ordering};

use nself_plugin_api::{
    bytes::Bytes,
    capability::listen::{Connection, Listener},
    futures_util::future::{self, Either},
    prelude::*,
    tracing::{debug, warn},
};

use super::{
    gate, keep,
    session::{Session, Step},
};
use crate::Mail;

/// Sessions at a time; the next client is asked to come back.
const SESSIONS_MAX: usize = 50;
/// Bytes of one read.
const READ_BYTES_MAX: u32 = 64 * 1024;

/// Accepts connections until the plugin is asked to end.
pub(super) fn start(cx: &Cx<Mail>, listener: Listener) -> Result<()> {
    let server = cx.clone();
    cx.tasks().spawn("smtp catcher", async move {
        let outcome = accept(&server, &listener).await;
        server.plugin().catcher.port.store(0, Ordering::SeqCst);
        outcome
    })?;
    Ok(())
}

async fn accept(cx: &Cx<Mail>, listener: &Listener) -> Result<()> {
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    loop {
        let next = pin!(listener.accept());
        let connection = match future::select(&mut draining, next).await {
            Either::Left(_) => return Ok(()),
            Either::Right((connection, _)) => connection?,
        };
        let session = cx.clone();
        cx.tasks().spawn("smtp session", async move {
            if let Err(error) = serve(&session, &connection).await {
                debug!(error = %error, "an SMTP session was broken off");
            }
            Ok(())
        })?;
    }
}

/// Counts a session for as long as it lives.
struct Place(Cx<Mail>);

impl Place {
    fn take(cx: &Cx<Mail>) -> Option<Self> {
        let sessions = &cx.plugin().catcher.sessions;
        if sessions.fetch_add(1, Ordering::SeqCst) < SESSIONS_MAX {
            return Some(Self(cx.clone()));
        }
        sessions.fetch_sub(1, Ordering::SeqCst);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let sessions = &self.0.plugin().catcher.sessions;
        sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(cx: &Cx<Mail>, connection: &Connection) -> Result<()> {
    let config = &cx.plugin().settings.config;
    if !gate::is_near(config.catcher_open_to, &connection.peer()) {
        warn!("the catcher refused a client that is not on this machine: see catcher_open_to");
        connection.write("554 5.7.1 not for you\r\n").await?;
        return connection.shutdown().await;
    }
    let Some(_place) = Place::take(cx) else {
        connection.write("421 4.3.2 too busy\r\n").await?;
        return connection.shutdown().await;
    };
    let bytes_max = usize::try_from(config.catcher_message_bytes_max).unwrap_or(usize::MAX);
    let mut session = Session::new(bytes_max);
    connection.write(Session::greeting()).await?;
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    loop {
        let read = pin!(connection.read(READ_BYTES_MAX));
        let bytes = match future::select(&mut draining, read).await {
            Either::Left(_) => {
                connection.write("421 4.3.2 shutting down\r\n").await?;
                return connection.shutdown().await;
            }
            Either::Right((bytes, _)) => bytes?,
        };
        if bytes.is_empty() || answer(cx, connection, &mut session, &bytes).await? {
            return connection.shutdown().await;
        }
    }
}

/// Answers what has come in; whether that was the last. Replies to commands that came together go out together.
async fn answer(
    cx: &Cx<Mail>,
    connection: &Connection,
    session: &mut Session,
    bytes: &Bytes,
) -> Result<bool> {
    session.feed(bytes);
    let mut replies = String::new();
    let mut is_last = false;
    while let Some(step) = session.step() {
        match step {
            Step::Reply(text) => replies.push_str(&text),
            Step::Mail(envelope, data) => {
                let kept = keep(cx, &envelope, &data).await;
                if let Err(error) = &kept {
                    warn!(error = %error, cause = error.cause(), "a mail could not be kept");
                }
                let kept = kept.map(|id| id.to_string()).map_err(drop);
                replies.push_str(&session.kept(kept));
            }
            Step::Close(text) => {
                replies.push_str(&text);
                is_last = true;
            }
        }
    }
    if !replies.is_empty() {
        connection.write(replies).await?;
    }
    Ok(is_last)
}
