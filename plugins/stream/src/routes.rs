//! Routes, one file per resource: decode, call, answer.

pub(crate) mod api;
pub(crate) mod connection;
pub(crate) mod events;
pub(crate) mod graphql;
pub(crate) mod keys;
pub(crate) mod mercure;
pub(crate) mod sessions;
pub(crate) mod verify;

use nself_plugin_api::{
    http::{HeaderValue, header::CACHE_CONTROL},
    prelude::*,
    schema::Shape,
};

/// An answer that nobody on the way may keep: it has a secret in it, or is true for a moment.
pub(crate) struct Private<R>(pub(crate) R);

impl<R: Respond> Respond for Private<R> {
    const SHAPE: Option<&'static Shape> = R::SHAPE;
    const KIND: &'static str = R::KIND;

    fn respond(self) -> Result<Response> {
        Ok(self
            .0
            .respond()?
            .header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }
}
