//! Certificates from an authority that is asked by a protocol (ACME, RFC 8555), for whoever wants no other program for them.
//!
//! The authority asks at port 80 of each name whether this host is the one that answers there (HTTP-01). Keys and certificates lie among the
//! project's secrets: a host that starts shows the certificate that it has, and needs nobody for it. Authorities count what is asked of them
//! and in vain, so that a failure is followed by a pause that grows, and that a restart does not end.

mod attempts;
mod client;
mod error;
mod keeper;
mod order;
mod schedule;
mod settings;

pub use self::{
    attempts::Attempts,
    error::AcmeError,
    keeper::{Keeper, KeeperSettings},
    settings::AcmeSettings,
};
