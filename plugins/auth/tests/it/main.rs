//! Identity, tried on a real host with a real database and the mail catcher.

mod anonymous;
mod clients;
mod forgery;
mod keys;
mod nhost;
mod refresh;
mod sign_in;
mod sign_up;
mod stage;
mod tokens;
