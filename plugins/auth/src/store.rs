//! All SQL of the plugin, a file per subject.

pub(crate) mod accounts;
pub(crate) mod api_tokens;
pub(crate) mod device_codes;
pub(crate) mod devices;
pub(crate) mod families;
pub(crate) mod identities;
pub(crate) mod invitations;
pub(crate) mod keys;
pub(crate) mod one_time;
pub(crate) mod sessions;
