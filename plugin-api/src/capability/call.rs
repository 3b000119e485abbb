//! Calls of capabilities that another plugin provides.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::granted;
use crate::{
    cx::Handles,
    error::{Error, Result},
};

/// Calls other plugins by capability id, such as `mail.send/1`, which the manifest must require.
pub struct Calls<'a>(pub(crate) &'a Arc<Handles>);

impl Calls<'_> {
    /// Calls with bytes.
    ///
    /// # Errors
    ///
    /// Those of the provider; 503 while it is not running.
    pub async fn call(
        &self,
        capability: &str,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes> {
        let calls = granted!(self, call, capability)?;
        Ok(calls
            .call(capability.into(), method.into(), payload.into().into())
            .await?
            .into())
    }

    /// Calls with JSON both ways.
    ///
    /// # Errors
    ///
    /// Those of the provider, and when the answer does not read as `R`.
    pub async fn json<R: DeserializeOwned>(
        &self,
        capability: &str,
        method: &str,
        payload: &impl Serialize,
    ) -> Result<R> {
        let payload = serde_json::to_vec(payload).map_err(Error::internal)?;
        let answer = self.call(capability, method, payload).await?;
        serde_json::from_slice(&answer).map_err(Error::internal)
    }
}
