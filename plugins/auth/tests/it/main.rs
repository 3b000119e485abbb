//! Identity, tried on a real host with a real database and the mail catcher.

mod app;
mod authenticator;
mod browser;
mod keys;
mod passkeys;
mod refresh;
mod second_factor;
mod sign_in;
mod sign_up;
mod stage;
mod step_up;
