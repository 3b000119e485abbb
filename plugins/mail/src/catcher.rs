//! The catcher: keeps mails instead of sending them, for development. It shows what nobody but the recipient may see, so it
//! exists only where mails are caught, and answers only those whom the configuration names.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod gate;
pub(crate) mod mime;
mod server;
mod session;

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use nself_plugin_api::{
    prelude::*,
    tracing::{info, warn},
    uuid::Uuid,
};

use self::mime::Mime;
use crate::{
    Mail,
    config::{CATCHER_PORT, Delivery},
    store::caught::{self, NewCaught},
};

/// Longest text that searches look at, characters.
const SEARCHED_CHARS_MAX: usize = 200_000;

/// What the rest of the plugin knows of the catcher's SMTP server.
#[derive(Default)]
pub(crate) struct Catcher {
    /// 0 while it does not listen.
    port: AtomicU16,
    is_reported: AtomicBool,
    sessions: AtomicUsize,
}

impl Catcher {
    /// The port of the SMTP server, while it listens.
    pub(crate) fn port(&self) -> Option<u16> {
        Some(self.port.load(Ordering::SeqCst)).filter(|port| *port != 0)
    }
}

/// Who sent a mail to whom, as the SMTP dialogue says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub helo: String,
    pub from: String,
    pub to: Vec<String>,
}

/// Whether mails are caught here.
pub(crate) fn is_there(cx: &Cx<Mail>) -> bool {
    cx.plugin().settings.delivery == Delivery::Catch
}

/// Opens the SMTP port, if mails are caught and it is not open. A port that is taken, by MailHog for example, is told once
/// and tried again by the sweep: mails of other plugins do not come that way.
///
/// # Errors
///
/// When the plugin lacks a capability.
pub(crate) async fn listen(cx: &Cx<Mail>) -> Result<()> {
    let catcher = &cx.plugin().catcher;
    if !is_there(cx) || catcher.port().is_some() {
        return Ok(());
    }
    match cx.listen().bind(CATCHER_PORT).await {
        Ok(listener) => {
            let port = listener.port();
            catcher.port.store(port, Ordering::SeqCst);
            catcher.is_reported.store(false, Ordering::SeqCst);
            info!(port, "the catcher takes mails by SMTP");
            server::start(cx, listener)
        }
        Err(error) if error.code() == "CAPABILITY_NOT_GRANTED" => Err(error),
        Err(error) => {
            if !catcher.is_reported.swap(true, Ordering::SeqCst) {
                warn!(error = %error, cause = error.cause(), "the catcher takes no mails by SMTP until its port is free");
            }
            Ok(())
        }
    }
}

/// Keeps a mail.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn keep(cx: &Cx<Mail>, envelope: &Envelope, data: &[u8]) -> Result<Uuid> {
    let plugin = cx.plugin();
    let mime = Mime::parse(data);
    let from_text = format!("{}\n{}", envelope.from, mime.header("From"));
    let to_text = format!("{}\n{}", envelope.to.join("\n"), mime.header("To"));
    let mail = NewCaught {
        helo: &storable(&envelope.helo),
        from: &storable(&envelope.from),
        to: &envelope
            .to
            .iter()
            .map(|to| storable(to))
            .collect::<Vec<_>>(),
        subject: &storable(&mime.header("Subject")),
        from_text: &storable(&from_text),
        to_text: &storable(&to_text),
        content_text: &storable(&mime.searched()),
        data,
        at: cx.clock().now()?,
    };
    let keep = plugin.settings.config.catcher_messages_max;
    let id = caught::insert(&cx.db(), &mail, keep).await?;
    plugin.metrics.caught.record(1.0);
    Ok(id)
}

/// Text as Postgres takes it.
fn storable(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\0')
        .take(SEARCHED_CHARS_MAX)
        .collect()
}
