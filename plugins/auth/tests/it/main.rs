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
mod command_line;
mod devices;
mod enumeration;
mod families;
mod family_end;
mod faults;
mod forgery;
mod goodbyes;
mod graphql;
mod hardening;
mod hasura;
mod hooks;
mod household;
mod import;
mod invitations;
mod keys;
mod lockouts;
mod logs;
mod nhost;
mod oauth4webapi;
mod pages;
mod passkeys;
mod passwords;
mod provider;
mod races;
mod refresh;
mod robustness;
mod rows;
mod second_factor;
mod security;
mod sign_in;
mod sign_up;
mod stage;
mod step_up;
mod tenants;
mod throttle;
mod tokens;
mod traces;

/// It signs people in before it is known in which family.
const BEFORE_FAMILIES: &str = "it is asked before a family is known, and acts in all of them; only its own login reaches the table";

nself_plugin_testkit::conformance!(|plugin| plugin
    .with("nself-plugin-mail")
    .config("[plugins.mail.listen]\n1025 = 0")
    .swept_in("tenants.rs")
    .not_held_apart(
        super::BEFORE_FAMILIES,
        &["api_tokens", "device_codes", "invitations", "sessions"]
    ));
