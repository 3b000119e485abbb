//! Identity of people, families and machines: accounts, sessions, tokens.
//!
//! One engine with two thin surfaces: the house's own routes under `/auth`, and those of Nhost's hasura-auth, so that apps
//! written for it sign in unchanged. The host verifies the tokens for all plugins; this plugin only gives it the keys and
//! tells it what ended.
#![forbid(unsafe_code)]

mod access;
mod account;
mod breach;
mod caller;
mod changes;
mod commands;
mod config;
mod erasure;
mod import;
mod keys;
mod mac;
mod notify;
mod one_time;
mod password;
mod problem;
mod proof;
mod refresh;
mod routes;
mod session;
mod store;
mod sweep;
mod throttle;

use std::time::Duration;

use nself_plugin_api::prelude::*;

pub use crate::config::{Algorithm, Config, SignUp};
use crate::{
    keys::Keys,
    routes::{
        account as own_account, admin, discovery, email, hasura, me, operator,
        password as passwords, passwordless, sessions, sign_in, sign_up,
    },
};

/// The plugin: its configuration and its keys.
pub struct Auth {
    config: Config,
    keys: Keys,
    /// What the password of an unknown account is compared with, so that it takes as long as a known one's.
    dummy_hash: String,
}

/// Rights on the shared tables.
const ALL: &[&str] = &["select", "insert", "update", "delete"];

impl Plugin for Auth {
    const ABOUT: About = about!("auth");

    const REQUIRES: Requires = Requires {
        capabilities: &[
            "nself.db/1",
            "nself.kv/1",
            "nself.crypto/1",
            "nself.http/1",
            "nself.identity/1",
            "mail.send/1",
        ],
        tables: &[
            TableGrant {
                table: "public.users",
                rights: ALL,
            },
            TableGrant {
                table: "public.families",
                rights: ALL,
            },
            TableGrant {
                table: "public.family_members",
                rights: ALL,
            },
            TableGrant {
                table: "public.apps",
                rights: ALL,
            },
            TableGrant {
                table: "public.user_app_roles",
                rights: ALL,
            },
            TableGrant {
                table: "public.devices",
                rights: ALL,
            },
        ],
        egress: &["api.pwnedpasswords.com"],
        secrets: &[hasura::SECRET],
        emits: &["auth.*", "family.*"],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::post("/auth/register", sign_up::register)
            .public()
            .summary("Make an account"),
        Route::post("/auth/login", sign_in::login)
            .public()
            .summary("Sign in with address and password"),
        Route::post("/auth/refresh", sign_in::refresh)
            .public()
            .summary("Renew the tokens; switch the active family"),
        Route::post("/auth/revoke", sign_in::revoke)
            .public()
            .summary("End the session of a refresh token"),
        Route::post("/auth/logout", sign_in::logout)
            .authenticated()
            .summary("End this session, or all"),
        Route::post("/auth/reauthenticate", sign_in::reauthenticate)
            .authenticated()
            .summary("Prove again that it is you, for sensitive changes"),
        Route::get("/auth/me", me::show)
            .authenticated()
            .summary("Who is signed in"),
        Route::patch("/auth/me", me::change)
            .authenticated()
            .summary("Change name, picture, language, time zone"),
        Route::delete("/auth/me", own_account::delete)
            .authenticated()
            .summary("Delete one's account for good"),
        Route::get("/auth/me/export", own_account::export)
            .authenticated()
            .summary("Everything that is held about oneself"),
        Route::post("/auth/verify-email", email::verify)
            .public()
            .summary("Prove an address by the link that was mailed to it"),
        Route::post("/auth/verify-email/resend", email::resend)
            .public()
            .summary("Mail the link again"),
        Route::post("/auth/email/change", email::change)
            .authenticated()
            .summary("Ask for another address"),
        Route::post("/auth/email/confirm", email::confirm)
            .public()
            .summary("Prove the other address by the link that was mailed to it"),
        Route::post("/auth/password/forgot", passwords::forgot)
            .public()
            .summary("Mail a link that sets a new password"),
        Route::post("/auth/password/reset", passwords::reset)
            .public()
            .summary("Set a new password by the link"),
        Route::post("/auth/password/change", passwords::change)
            .authenticated()
            .summary("Set a new password with the old one"),
        Route::post("/auth/magic-link/start", passwordless::start_link)
            .public()
            .summary("Mail a link that signs in"),
        Route::post("/auth/magic-link/verify", passwordless::use_link)
            .public()
            .summary("Sign in by the link"),
        Route::post("/auth/otp/start", passwordless::start_code)
            .public()
            .summary("Mail a code that signs in"),
        Route::post("/auth/otp/verify", passwordless::use_code)
            .public()
            .summary("Sign in by the code"),
        Route::get("/auth/sessions", sessions::list)
            .authenticated()
            .summary("Where one is signed in"),
        Route::delete("/auth/sessions/{id}", sessions::end)
            .authenticated()
            .summary("Sign out somewhere else"),
        Route::get("/.well-known/jwks.json", discovery::jwks)
            .public()
            .summary("Public keys of access tokens (RFC 7517)"),
        Route::get("/.well-known/openid-configuration", discovery::metadata)
            .public()
            .summary("What this issuer offers (OpenID Connect Discovery)"),
        Route::get(
            "/.well-known/oauth-authorization-server",
            discovery::metadata,
        )
        .public()
        .summary("What this issuer offers (RFC 8414)"),
        Route::get("/auth/admin/keys", operator::keys)
            .operator()
            .summary("Signing keys and their states"),
        Route::post("/auth/admin/keys/rotate", operator::rotate)
            .operator()
            .summary("Let a new signing key take over"),
        Route::get("/auth/hasura/webhook", hasura::webhook)
            .public()
            .summary("Who calls, for Hasura's authentication hook"),
        Route::get("/auth/admin/users", admin::users::list)
            .operator()
            .summary("Accounts, the newest first"),
        Route::post("/auth/admin/users", admin::users::create)
            .operator()
            .summary("Make an account; without a password its owner is mailed a link"),
        Route::get("/auth/admin/users/{id}", admin::users::show)
            .operator()
            .summary("An account and how it can be used"),
        Route::patch("/auth/admin/users/{id}", admin::users::change)
            .operator()
            .summary("Suspend or activate an account, vouch for its address"),
        Route::delete("/auth/admin/users/{id}", admin::users::delete)
            .operator()
            .summary("Delete an account for good"),
        Route::post("/auth/admin/users/{id}/sign-out", admin::users::sign_out)
            .operator()
            .summary("End all sessions of an account"),
        Route::get("/auth/admin/sessions", admin::sessions::list)
            .operator()
            .summary("Living sessions, the newest first"),
        Route::delete("/auth/admin/sessions/{id}", admin::sessions::end)
            .operator()
            .summary("End a session"),
        Route::get("/auth/admin/devices", admin::devices::list)
            .operator()
            .summary("Paired machines, the newest first"),
        Route::delete("/auth/admin/devices/{id}", admin::devices::revoke)
            .operator()
            .summary("Take a machine off"),
        Route::get("/auth/admin/audit", admin::audit::list)
            .operator()
            .summary("What happened to accounts, the newest first"),
        Route::post("/auth/admin/import", admin::import::import)
            .operator()
            .body_bytes_max(256 << 20)
            .timeout(Duration::from_secs(600))
            .summary("Take accounts from an export: NDJSON or CSV, at most 100,000 rows"),
        Route::post("/auth/admin/tune", admin::tune::measure)
            .operator()
            .timeout(Duration::from_secs(60))
            .summary("Measure what a password costs here"),
        Route::get("/auth/admin/apps", admin::apps::list)
            .operator()
            .summary("The apps of the house"),
        Route::put("/auth/admin/apps/{slug}", admin::apps::put)
            .operator()
            .summary("Add an app, or rename it"),
        Route::delete("/auth/admin/apps/{slug}", admin::apps::remove)
            .operator()
            .summary("Remove an app and the roles in it"),
        Route::get("/auth/admin/apps/{slug}/roles", admin::apps::grants)
            .operator()
            .summary("Who may do what in an app"),
        Route::put(
            "/auth/admin/apps/{slug}/roles/{user}/{role}",
            admin::apps::grant,
        )
        .operator()
        .summary("Give somebody a role in an app"),
        Route::delete(
            "/auth/admin/apps/{slug}/roles/{user}/{role}",
            admin::apps::withdraw,
        )
        .operator()
        .summary("Take a role in an app away"),
    ];

    const COMMANDS: &'static [Command] = commands::ALL;

    const TASKS: &'static [Task<Self>] = &[
        Task::every(Duration::from_secs(60), "keys", sweep::turn_keys),
        Task::every(Duration::from_secs(600), "sweep", sweep::forget).singleton(),
    ];

    const MIGRATIONS: &'static [Migration] = &[
        migration!("0001_keys"),
        migration!("0002_accounts"),
        migration!("0003_passkeys"),
        migration!("0004_families"),
    ];

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        let keys = Keys::open(&context, &config).await?;
        let nobodys = context.crypto().random(32)?;
        let nobodys: String = nobodys.iter().map(|byte| format!("{byte:02x}")).collect();
        let dummy_hash = context.crypto().hash_password(&nobodys).await?;
        Ok(Self {
            config,
            keys,
            dummy_hash,
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        changes::begin(&cx).await
    }
}

export_plugin!(Auth);
