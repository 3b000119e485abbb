//! Identity, tried on a real host with a real database and the mail catcher.

mod keys;
mod provider;
mod refresh;
mod sign_in;
mod sign_up;
mod stage;
