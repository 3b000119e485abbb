//! Calls of capabilities that another plugin provides.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::granted;
use crate::{
    cx::Handles,
    error::{Error, Result},
};

/// Calls other plugins by capability id, such as `mail.send/1`, which the manifest must require, or name as
/// [`optional`](crate::manifest::Requires::optional).
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

    /// Whether an enabled plugin provides the capability, which may change from one call to the next. One that is enabled
    /// and does not run counts: calling it is an error then, so a rule that it stands for is not passed by.
    ///
    /// # Errors
    ///
    /// When the manifest does not name the capability.
    pub fn is_provided(&self, capability: &str) -> Result<bool> {
        let calls = granted!(self, call, capability)?;
        Ok(calls.is_provided(capability.into()).into_result()? == 1)
    }

    /// Calls with JSON both ways where an enabled plugin provides the capability; `None` where none does.
    ///
    /// # Errors
    ///
    /// Those of the provider; 503 while it is enabled and does not run; when the answer does not read as `R`.
    pub async fn json_if_provided<R: DeserializeOwned>(
        &self,
        capability: &str,
        method: &str,
        payload: &impl Serialize,
    ) -> Result<Option<R>> {
        if !self.is_provided(capability)? {
            return Ok(None);
        }
        self.json(capability, method, payload).await.map(Some)
    }
}
