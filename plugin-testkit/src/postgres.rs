//! The programs of the Postgres that tests run on.

use std::path::PathBuf;

use nself::postgres::scratch::Scratch;

/// Where a program of the tests' Postgres is, such as `pg_restore`.
pub fn postgres_program(name: &str) -> PathBuf {
    Scratch::shared().binaries().program(name)
}
