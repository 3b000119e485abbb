//! From a file to code: what the loader takes, what it refuses, and how it says so.
//!
//! The files are real: `cc` builds small libraries with a manifest note; the bad ones are those with one thing wrong.

mod damage;
mod directory;
mod file;
pub(crate) mod fixture;
mod library;
mod manifest;
mod open;
mod store;
