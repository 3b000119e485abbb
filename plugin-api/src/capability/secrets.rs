//! Secret values, by name, as the manifest asks for them.

use std::sync::Arc;

use bytes::Bytes;

use super::granted;
use crate::{cx::Handles, error::Result};

/// Hands out secrets. Do not log or store what it returns.
pub struct Secrets<'a>(pub(crate) &'a Arc<Handles>);

impl Secrets<'_> {
    /// The secret of that name.
    ///
    /// # Errors
    ///
    /// When the manifest does not ask for it, or when it has no value.
    pub fn get(&self, name: &str) -> Result<Bytes> {
        Ok(granted!(self, config, "nself.config/1")?
            .secret(name.into())
            .into_result()?
            .into())
    }
}
