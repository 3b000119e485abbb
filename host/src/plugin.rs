//! Plugins at run time: manifest, lock, order, start, registry, supervision.

pub mod bridge;
pub mod crashes;
pub mod handlers;
pub mod health;
pub mod instance;
pub mod isolated;
pub mod lock;
pub mod manifest;
pub mod offer;
pub mod order;
pub mod registry;
pub mod services;
pub mod start;
mod supervise;
pub mod trust;
pub mod watchdog;
