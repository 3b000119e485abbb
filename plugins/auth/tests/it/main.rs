//! Identity, tried on a real host with a real database and the mail catcher.

mod account;
mod admin;
mod anonymous;
mod breach;
mod children;
mod clients;
mod devices;
mod families;
mod forgery;
mod hasura;
mod household;
mod import;
mod invitations;
mod keys;
mod nhost;
mod oauth4webapi;
mod provider;
mod refresh;
mod rows;
mod sign_in;
mod sign_up;
mod stage;
mod tenants;
mod tokens;
