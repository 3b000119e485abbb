//! Identity, tried on a real host with a real database and the mail catcher.

mod account;
mod admin;
mod anonymous;
mod app;
mod authenticator;
mod breach;
mod browser;
mod change_mails;
mod children;
mod clients;
mod devices;
mod families;
mod forgery;
mod hardening;
mod hasura;
mod hooks;
mod household;
mod import;
mod invitations;
mod keys;
mod nhost;
mod oauth4webapi;
mod passkeys;
mod provider;
mod refresh;
mod rows;
mod second_factor;
mod sign_in;
mod sign_up;
mod stage;
mod step_up;
mod tenants;
mod tokens;

nself_plugin_testkit::conformance!(|plugin| plugin
    .with("nself-plugin-mail")
    .config("[plugins.mail.listen]\n1025 = 0"));
