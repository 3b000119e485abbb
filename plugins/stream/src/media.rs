//! Media sessions: who may play what at the moment, and the signed addresses that media origins let in.
//!
//! The database decides: `stream.admit` counts places under the family's lock, and ends whom it has to. This host remembers what
//! it has decided, so that what plays on needs no database: heartbeats are noted here and written together, addresses are
//! signed and verified with a key that is read at the start, and sessions that have ended are heard of and refused.

mod address;
mod admission;
mod book;
mod heartbeat;
mod key;
mod settings;
mod sweep;
mod watcher;

use nself_plugin_api::prelude::*;

pub use self::settings::Settings;
pub(crate) use self::{
    address::{Grant, Place, Verdict},
    admission::{Admission, Content, Priority, admit},
    book::{Beat, Book, Known, State, Token},
    heartbeat::{FLUSH_EVERY, Renewed, beat, end, keep_writing, now, pause},
    key::{Keys, Turned, keep_turning, turn},
    sweep::{Looks, SWEEP_EVERY, sweep},
    watcher::Watcher,
};
use crate::{Stream, error::StreamError};

/// What the handlers of media sessions share.
pub(crate) struct Media {
    pub keys: Keys,
    pub place: Place,
    pub book: Book,
    pub looks: Looks,
}

impl Media {
    /// Reads the keys, and makes the first one.
    ///
    /// # Errors
    ///
    /// Those of the database; `STREAM_PLAYBACK_URL` when the configuration has no such address.
    pub(crate) async fn open(context: &Context, settings: &Settings) -> Result<Self> {
        let place = Place::new(&settings.playback_url).ok_or_else(|| StreamError::PlaybackUrl {
            found: settings.playback_url.clone(),
        })?;
        Ok(Self {
            keys: Keys::open(context).await?,
            place,
            book: Book::default(),
            looks: Looks::default(),
        })
    }
}

/// An address that plays a session's content until it ends, and when that is in seconds since 1970.
pub(crate) fn signed(cx: &Cx<Stream>, known: &Known) -> Result<(String, u64)> {
    let Stream { config, media, .. } = cx.plugin();
    let now = cx.clock().now()?.as_second().unsigned_abs();
    let grant = Grant {
        family_id: known.watcher.family_id,
        session_id: known.session_id,
        content_id: known.content_id,
        expires_at: now + u64::from(config.media.playback_seconds),
    };
    let signature = media.keys.sign(&grant, now);
    Ok((media.place.address(&grant, &signature), grant.expires_at))
}

/// Whether an address is one that plays now. It asks no database: a session that has ended was heard of, or its addresses end
/// within minutes.
pub(crate) fn verify(cx: &Cx<Stream>, address: &str) -> Result<Verdict> {
    let media = &cx.plugin().media;
    let now = cx.clock().now()?.as_second().unsigned_abs();
    let Some(presented) = media.place.read(address) else {
        return Ok(Verdict::Unsigned);
    };
    if !media.keys.check(&presented.grant, &presented.signature)
        || now >= presented.grant.expires_at
    {
        return Ok(Verdict::Unsigned);
    }
    let has_ended = media.book.end_of(presented.grant.session_id).is_some();
    Ok(if has_ended || !presented.is_of_its_content {
        Verdict::Refused
    } else {
        Verdict::Good(presented.grant)
    })
}

/// A session has ended by somebody else than its player: its addresses play nothing on this host from now on, and on the others
/// when they have looked.
pub(crate) fn has_ended(cx: &Cx<Stream>, session_id: uuid::Uuid, reason: &str) -> Result<()> {
    heartbeat::ended_here(cx, session_id, reason, cx.clock().monotonic()?);
    Ok(())
}
