//! All SQL of the plugin, a file per subject.

pub(crate) mod accounts;
pub(crate) mod admin;
pub(crate) mod api_tokens;
pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod children;
pub(crate) mod device_codes;
pub(crate) mod devices;
pub(crate) mod erasure;
pub(crate) mod export;
pub(crate) mod factors;
pub(crate) mod failed_proofs;
pub(crate) mod families;
pub(crate) mod family_end;
pub(crate) mod identities;
pub(crate) mod import;
pub(crate) mod invitations;
pub(crate) mod keys;
pub(crate) mod mails;
pub(crate) mod one_time;
pub(crate) mod passkeys;
pub(crate) mod sessions;
