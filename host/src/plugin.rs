//! Plugins at run time: manifest, registry, states, supervision.

pub mod manifest;
