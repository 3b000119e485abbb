//! Identity, tried on a real host with a real database and the mail catcher.

mod children;
mod devices;
mod families;
mod household;
mod invitations;
mod keys;
mod oauth4webapi;
mod refresh;
mod rows;
mod sign_in;
mod sign_up;
mod stage;
mod tenants;
