//! Identity of people, families and machines: accounts, sessions, tokens.
//!
//! One engine with two thin surfaces: the house's own routes under `/auth`, and those of Nhost's hasura-auth, so that apps
//! written for it sign in unchanged. The host verifies the tokens for all plugins; this plugin only gives it the keys and
//! tells it what ended.
#![forbid(unsafe_code)]

mod access;
mod account;
mod caller;
mod changes;
mod config;
mod keys;
mod mac;
mod notify;
mod one_time;
mod pages;
mod passkey;
mod password;
mod problem;
mod proof;
mod recovery;
mod refresh;
mod routes;
mod second_factor;
mod session;
mod store;
mod sweep;
mod throttle;
mod totp;
mod webauthn;

use std::time::Duration;

use nself_plugin_api::prelude::*;

pub use crate::config::{Algorithm, Config, SignUp};
use crate::{
    keys::Keys,
    pages::Pages,
    routes::{
        discovery, email, me, mfa, operator, passkeys, password as passwords, passwordless,
        sessions, sign_in, sign_up,
    },
    webauthn::RelyingParty,
};

/// The plugin: its configuration and its keys.
pub struct Auth {
    config: Config,
    keys: Keys,
    /// What the password of an unknown account is compared with, so that it takes as long as a known one's.
    dummy_hash: String,
    pages: Pages,
    /// As passkeys know this installation.
    relying_party: RelyingParty,
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
        Route::get("/auth/mfa", mfa::show)
            .authenticated()
            .summary("Which second factors there are"),
        Route::post("/auth/mfa/totp/enroll", mfa::enroll)
            .authenticated()
            .summary("A new secret for an authenticator app"),
        Route::post("/auth/mfa/totp/confirm", mfa::confirm)
            .authenticated()
            .summary("Ask for a second factor from now on; gives recovery codes"),
        Route::delete("/auth/mfa/totp", mfa::remove)
            .authenticated()
            .summary("Ask for a second factor no more"),
        Route::post("/auth/mfa/recovery-codes", mfa::recovery_codes)
            .authenticated()
            .summary("New recovery codes in the place of the old ones"),
        Route::post("/auth/mfa/verify", mfa::verify)
            .public()
            .summary("Finish a sign-in with the second factor"),
        Route::get("/auth/passkeys", passkeys::list)
            .authenticated()
            .summary("One's passkeys"),
        Route::post(
            "/auth/passkeys/register/options",
            passkeys::begin_registration,
        )
        .authenticated()
        .summary("Begin to make a passkey (WebAuthn)"),
        Route::post(
            "/auth/passkeys/register/verify",
            passkeys::finish_registration,
        )
        .authenticated()
        .summary("Keep a passkey that was made"),
        Route::post("/auth/passkeys/login/options", passkeys::begin_login)
            .public()
            .summary("Begin to show a passkey (WebAuthn)"),
        Route::post("/auth/passkeys/login/verify", passkeys::finish_login)
            .public()
            .summary("Sign in by a passkey"),
        Route::get("/auth/passkeys/{id}", passkeys::show)
            .authenticated()
            .summary("A passkey"),
        Route::patch("/auth/passkeys/{id}", passkeys::rename)
            .authenticated()
            .summary("Rename a passkey"),
        Route::delete("/auth/passkeys/{id}", passkeys::remove)
            .authenticated()
            .summary("Remove a passkey"),
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
        Route::get("/auth/sign-in", pages::show)
            .public()
            .summary("Page: sign in"),
        Route::get("/auth/sign-up", pages::show)
            .public()
            .summary("Page: make an account"),
        Route::get("/auth/verify-email", pages::show)
            .public()
            .summary("Page: confirm an address"),
        Route::get("/auth/password/forgot", pages::show)
            .public()
            .summary("Page: ask for a new password"),
        Route::get("/auth/password/reset", pages::show)
            .public()
            .summary("Page: set a new password"),
        Route::get("/auth/magic-link/verify", pages::show)
            .public()
            .summary("Page: sign in by a link"),
        Route::get("/auth/email/confirm", pages::show)
            .public()
            .summary("Page: confirm another address"),
        Route::get("/auth/second-factor", pages::show)
            .public()
            .summary("Page: second factor of a sign-in"),
        Route::get("/auth/device", pages::show)
            .public()
            .summary("Page: connect a device"),
        Route::get("/auth/invitations/accept", pages::show)
            .public()
            .summary("Page: answer an invitation"),
        Route::get("/auth/account", pages::show)
            .public()
            .summary("Page: who is signed in, and where"),
        Route::get("/auth/assets/{name}", pages::asset)
            .public()
            .summary("Pages: script and style"),
    ];

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
        let pages = Pages::load(&config)?;
        let relying_party = RelyingParty::of(&config)?;
        let keys = Keys::open(&context, &config).await?;
        let nobodys = context.crypto().random(32)?;
        let nobodys: String = nobodys.iter().map(|byte| format!("{byte:02x}")).collect();
        let dummy_hash = context.crypto().hash_password(&nobodys).await?;
        Ok(Self {
            config,
            keys,
            dummy_hash,
            pages,
            relying_party,
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        changes::begin(&cx).await
    }
}

export_plugin!(Auth);
