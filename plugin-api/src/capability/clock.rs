//! Time as the host tells it, steerable in tests.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{granted, millis};
use crate::{
    cx::Handles,
    error::{Error, Result},
};

/// The clock.
pub struct Clock<'a>(pub(crate) &'a Arc<Handles>);

impl Clock<'_> {
    /// Now, UTC.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn now(&self) -> Result<Timestamp> {
        Timestamp::from_microsecond(granted!(self, clock, "nself.clock/1")?.now_us())
            .map_err(Error::internal)
    }

    /// A clock that never goes back, for measuring.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn monotonic(&self) -> Result<Duration> {
        Ok(Duration::from_nanos(
            granted!(self, clock, "nself.clock/1")?.monotonic_ns(),
        ))
    }

    /// Waits.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        Ok(granted!(self, clock, "nself.clock/1")?
            .sleep(millis(duration))
            .await?)
    }
}
