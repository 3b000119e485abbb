//! Identity, tried on a real host with a real database and the mail catcher.

mod account;
mod admin;
mod breach;
mod hasura;
mod import;
mod keys;
mod refresh;
mod sign_in;
mod sign_up;
mod stage;
