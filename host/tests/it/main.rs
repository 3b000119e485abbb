//! The host's behaviour, told from outside: real Postgres, real `.so` files, real sockets.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod certificates;
mod cli;
mod crypto;
mod egress;
mod events;
mod faults;
mod hasura;
mod http;
mod identity;
mod kv;
mod lifecycle;
mod loader;
mod migrate;
mod model;
mod postgres;
mod schema;
mod signing;
mod tenancy;
