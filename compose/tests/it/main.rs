//! The stack of `compose/`: what its files promise, what the tools of others say about them, and the same services started.

mod bootstrap;
mod build;
mod checklist;
mod files;
mod hostile;
mod household;
mod monitoring;
mod native;
mod runbooks;
mod secrets;
