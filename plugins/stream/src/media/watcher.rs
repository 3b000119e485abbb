//! Who watches: a person on a machine of their family or without one, or a machine by itself.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

use crate::error::StreamError;

/// What a session is bound to. Its token is of no use to anybody else, and on no other machine or sign-in.
#[expect(clippy::struct_field_names, reason = "each is the id of another thing")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watcher {
    pub family_id: Uuid,
    pub user_id: Option<Uuid>,
    pub device_id: Option<Uuid>,
    pub sign_in_id: Option<Uuid>,
}

impl Watcher {
    /// From who calls, and the machine that they say they are on.
    ///
    /// # Errors
    ///
    /// 404 for a machine that says it is another one; 403 for who is in no family.
    pub(crate) fn new(principal: &Principal, device_id: Option<Uuid>) -> Result<Self> {
        let is_itself = device_id.is_none() || principal.device_id == device_id;
        if principal.device_id.is_some() && !is_itself {
            return Err(StreamError::Device.into());
        }
        Ok(Self {
            family_id: principal.family()?,
            user_id: principal.user_id,
            device_id: principal.device_id.or(device_id),
            sign_in_id: principal.session_id,
        })
    }

    /// How it is called in the audit log.
    pub(crate) fn actor(&self) -> String {
        let id = self.user_id.or(self.device_id).unwrap_or_default();
        id.to_string()
    }
}
