//! All SQL of the plugin, a file per subject.

pub(crate) mod accounts;
pub(crate) mod factors;
pub(crate) mod keys;
pub(crate) mod one_time;
pub(crate) mod passkeys;
pub(crate) mod sessions;
