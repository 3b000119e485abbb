//! Plugins at run time: manifest, registry, states, supervision.

pub mod lock;
pub mod manifest;
pub mod order;
