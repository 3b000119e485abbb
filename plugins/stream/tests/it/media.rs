//! Media sessions: who is admitted, who gives way, and what an address is good for.

mod admission;
pub(crate) mod belongings;
mod binding;
mod content;
mod eviction;
mod heartbeat;
mod home;
mod idle;
mod keys;
mod nginx;
mod outage;
mod quotas;
mod revocation;
mod verify;
