//! The engine, driven in memory.

mod conformance;
mod definitions;
mod driver;
mod durable;
mod tasks;
