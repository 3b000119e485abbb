//! Identity of people, families and machines: accounts, sessions, tokens.
//!
//! One engine with two thin surfaces: the house's own routes under `/auth`, and those of Nhost's hasura-auth, so that apps
//! written for it sign in unchanged. The host verifies the tokens for all plugins; this plugin only gives it the keys and
//! tells it what ended.
#![forbid(unsafe_code)]

mod access;
mod account;
mod address;
mod api_token;
mod breach;
mod caller;
mod changes;
mod commands;
mod config;
mod credentials;
mod device;
mod erasure;
mod failed_proof;
mod family;
mod family_end;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hooks;
mod import;
mod introspection;
mod invitation;
mod keys;
mod landing;
mod linking;
mod lockout;
mod mac;
mod mailbox;
mod new_password;
mod newcomer;
mod notify;
mod oauth;
mod one_time;
mod pages;
mod passkey;
mod password;
mod policy;
mod problem;
mod proof;
mod provider;
mod recovery;
mod redirect;
mod refresh;
mod registration;
mod replay;
mod routes;
mod second_factor;
mod secret;
mod session;
mod session_code;
mod store;
mod strength;
mod sweep;
mod throttle;
mod totp;
mod webauthn;

use std::time::Duration;

use nself_plugin_api::prelude::*;

pub use crate::config::{Algorithm, Config, Endpoints, Preset, Provider, SignUp};
use crate::{
    keys::Keys,
    pages::Pages,
    policy::Powers,
    provider::Providers,
    routes::{
        account as own_account, admin, anonymous, children, devices, discovery, email, families,
        family_end as ends, grants, hasura, identities, invitations, me, members, mfa, nhost,
        operator, pairing, passkeys, password as passwords, passwordless, providers, revocation,
        sessions, sign_in, sign_up, tokens,
    },
    webauthn::RelyingParty,
};

/// The plugin: its configuration and its keys.
pub struct Auth {
    config: Config,
    keys: Keys,
    providers: Providers,
    pages: Pages,
    /// What members of a family may do.
    powers: Powers,
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
            "nself.http/1",
            "nself.identity/1",
            "mail.send/1",
        ],
        optional: hooks::ALL,
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
                table: "public.family_exports",
                rights: &["select", "insert"],
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
        // Which places people sign in with is known to the configuration alone.
        egress: &["*"],
        secrets: &[provider::SECRET, provider::APPLE_KEY, hasura::SECRET],
        emits: &["auth.*", "family.*"],
        // People sign in before they are in a family, and change from one to another.
        families: Families::All,
        ..Requires::NOTHING
    };

    #[expect(
        clippy::large_stack_arrays,
        reason = "a constant's table is in the file, not on the stack"
    )]
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
            .graphql("me")
            .summary("Who is signed in"),
        Route::patch("/auth/me", me::change)
            .authenticated()
            .graphql("change_me")
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
        Route::post("/auth/password/check", passwords::check)
            .public()
            .summary("How good a password is, before it is set"),
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
            .graphql("sessions")
            .summary("Where one is signed in"),
        Route::delete("/auth/sessions/{id}", sessions::end)
            .authenticated()
            .graphql("end_session")
            .summary("Sign out somewhere else"),
        Route::get("/auth/families", families::list)
            .authenticated()
            .graphql("families")
            .summary("The families of who asks"),
        Route::post("/auth/families", families::create)
            .authenticated()
            .graphql("create_family")
            .summary("Make a family"),
        Route::get("/auth/families/{id}", families::show)
            .authenticated()
            .summary("A family of one's own"),
        Route::patch("/auth/families/{id}", families::rename)
            .authenticated()
            .summary("Give a family another name"),
        Route::delete("/auth/families/{id}", families::delete)
            .authenticated()
            .summary("Delete a family; for 30 days it can be taken back"),
        Route::get("/auth/families/deleted", ends::deleted)
            .authenticated()
            .summary("Families of one's own that are deleted and not gone yet"),
        Route::post("/auth/families/{id}/take-back", ends::take_back)
            .authenticated()
            .summary("Take a deleted family back"),
        Route::post("/auth/families/{id}/export", ends::export)
            .authenticated()
            .summary("Everything that a family has, as NDJSON"),
        Route::post("/auth/families/{id}/switch", families::switch)
            .authenticated()
            .summary("Act in another family from now on"),
        Route::post("/auth/families/{id}/transfer", families::transfer)
            .authenticated()
            .summary("Hand a family over to another member"),
        Route::get("/auth/families/{id}/members", members::list)
            .authenticated()
            .graphql("members")
            .summary("Who is in a family"),
        Route::patch("/auth/families/{id}/members/{member_id}", members::change)
            .authenticated()
            .graphql("change_member")
            .summary("Change a member's role, suspend a member"),
        Route::delete("/auth/families/{id}/members/{member_id}", members::remove)
            .authenticated()
            .graphql("remove_member")
            .summary("Remove a member, or leave"),
        Route::get("/auth/families/{id}/invitations", invitations::list)
            .authenticated()
            .graphql("invitations")
            .summary("Who was asked in"),
        Route::post("/auth/families/{id}/invitations", invitations::create)
            .authenticated()
            .graphql("invite")
            .summary("Ask somebody in, by mail or by a link"),
        Route::delete(
            "/auth/families/{id}/invitations/{invitation_id}",
            invitations::revoke,
        )
        .authenticated()
        .graphql("revoke_invitation")
        .summary("Take an invitation back"),
        Route::post("/auth/invitations/show", invitations::show)
            .public()
            .summary("What an invitation is about"),
        Route::post("/auth/invitations/accept", invitations::accept)
            .authenticated()
            .summary("Come in"),
        Route::post("/auth/invitations/decline", invitations::decline)
            .public()
            .summary("Say no to an invitation"),
        Route::post("/auth/families/{id}/children", children::create)
            .authenticated()
            .summary("Make an account for a child"),
        Route::get("/auth/families/{id}/children/removed", children::removed)
            .authenticated()
            .summary("Children who were removed and can be taken back"),
        Route::post(
            "/auth/families/{id}/children/{member_id}/take-back",
            children::take_back,
        )
        .authenticated()
        .summary("Take a child that was removed back into the family"),
        Route::post(
            "/auth/families/{id}/children/{member_id}/sign-in-code",
            children::make_code,
        )
        .authenticated()
        .summary("A code that a child signs in with"),
        Route::post("/auth/children/sign-in", children::sign_in)
            .public()
            .summary("Sign a child in by the code of a guardian"),
        Route::post("/oauth/device_authorization", grants::device_authorization)
            .public()
            .summary("Begin to pair a machine (RFC 8628)"),
        Route::post("/oauth/revoke", revocation::revoke)
            .public()
            .summary("End the session of a token (RFC 7009)"),
        Route::post("/oauth/token", grants::token)
            .public()
            .summary("Tokens for a paired machine, and their renewal (RFC 6749)"),
        Route::get("/auth/device/{user_code}", pairing::show)
            .action("device.manage")
            .summary("The machine that shows a code"),
        Route::post("/auth/device/{user_code}", pairing::decide)
            .action("device.manage")
            .summary("Let the machine into the family, or turn it away"),
        Route::get("/auth/devices", devices::list)
            .action("device.manage")
            .graphql("devices")
            .summary("The machines of the family"),
        Route::post("/auth/devices/heartbeat", devices::heartbeat)
            .roles(&[Role::Device])
            .summary("A machine says that it is on"),
        Route::patch("/auth/devices/{id}", devices::change)
            .action("device.manage")
            .graphql("change_device")
            .summary("Rename or trust a machine"),
        Route::delete("/auth/devices/{id}", devices::revoke)
            .action("device.manage")
            .graphql("revoke_device")
            .summary("Let a machine out of the family"),
        Route::post("/auth/anonymous", anonymous::begin)
            .public()
            .summary("Begin without an account"),
        Route::post("/auth/anonymous/upgrade", anonymous::upgrade)
            .authenticated()
            .summary("Give an anonymous account an address and a password"),
        Route::get("/auth/tokens", tokens::list)
            .authenticated()
            .summary("Tokens that one has made for scripts"),
        Route::post("/auth/tokens", tokens::make)
            .authenticated()
            .summary("Make a token for scripts; it is shown once"),
        Route::delete("/auth/tokens/{id}", tokens::revoke)
            .authenticated()
            .summary("End a token and the sessions that it began"),
        Route::post("/auth/tokens/exchange", tokens::exchange)
            .public()
            .summary("Exchange a script's token for a session"),
        Route::get("/auth/admin/services", tokens::services)
            .operator()
            .summary("Services and what they may do"),
        Route::post("/auth/admin/services", tokens::make_service)
            .operator()
            .summary("Make a service; its token is shown once"),
        Route::delete("/auth/admin/services/{id}", tokens::revoke_service)
            .operator()
            .summary("End a service and its tokens"),
        Route::post("/auth/service-token", tokens::exchange_service)
            .public()
            .summary("Exchange a service's token for an access token"),
        Route::post("/auth/token/introspect", tokens::introspect)
            .service("auth.introspect")
            .summary("Whether a token is good now (RFC 7662)"),
        Route::post("/signup/email-password", nhost::sign_up::by_password)
            .public()
            .summary("Nhost: make an account"),
        Route::post("/signup/passwordless/email", nhost::sign_in::by_link)
            .public()
            .summary("Nhost: mail a link that makes an account"),
        Route::post("/signup/otp/email", nhost::sign_in::start_code)
            .public()
            .summary("Nhost: mail a code that makes an account"),
        Route::post("/signup/idtoken", nhost::id_token::sign_in)
            .public()
            .summary("Nhost: make an account by an ID token"),
        Route::post("/signup/webauthn", nhost::webauthn::begin_sign_up)
            .public()
            .summary("Nhost: begin to make an account with a passkey"),
        Route::post("/signup/webauthn/verify", nhost::webauthn::finish_sign_up)
            .public()
            .summary("Nhost: make an account with a passkey"),
        Route::get("/signup/provider/{provider}", nhost::provider::start)
            .public()
            .summary("Nhost: send a browser to another place to make an account"),
        Route::post("/signin/anonymous", nhost::sign_up::anonymous)
            .public()
            .summary("Nhost: begin without an account"),
        Route::post("/signin/email-password", nhost::sign_in::by_password)
            .public()
            .summary("Nhost: sign in with address and password"),
        Route::post("/signin/passwordless/email", nhost::sign_in::by_link)
            .public()
            .summary("Nhost: mail a link that signs in"),
        Route::post("/signin/otp/email", nhost::sign_in::start_code)
            .public()
            .summary("Nhost: mail a code that signs in"),
        Route::post("/signin/otp/email/verify", nhost::sign_in::by_code)
            .public()
            .summary("Nhost: sign in by the code"),
        Route::post("/signin/pat", nhost::sign_in::by_token)
            .public()
            .summary("Nhost: sign in by a script's token"),
        Route::post("/signin/idtoken", nhost::id_token::sign_in)
            .public()
            .summary("Nhost: sign in by the ID token that the system gave to an app"),
        Route::post("/signin/webauthn", nhost::webauthn::begin_sign_in)
            .public()
            .summary("Nhost: begin to sign in by a passkey"),
        Route::post("/signin/webauthn/verify", nhost::webauthn::finish_sign_in)
            .public()
            .summary("Nhost: sign in by a passkey"),
        Route::get("/signin/provider/{provider}", nhost::provider::start)
            .public()
            .summary("Nhost: send a browser to another place to sign in, or to link it"),
        Route::get(
            "/signin/provider/{provider}/callback",
            nhost::provider::callback,
        )
        .public()
        .summary("Nhost: take the answer of another place, and return to the app"),
        Route::post(
            "/signin/provider/{provider}/callback",
            nhost::provider::callback_form,
        )
        .public()
        .summary("Nhost: take the answer of another place that posts it"),
        Route::post("/signin/mfa/totp", nhost::mfa::sign_in)
            .public()
            .summary("Nhost: end a sign-in by an authenticator app"),
        Route::get("/mfa/totp/generate", nhost::mfa::generate)
            .authenticated()
            .summary("Nhost: set up an authenticator app"),
        Route::post("/user/mfa", nhost::mfa::activate)
            .authenticated()
            .summary("Nhost: ask for a second factor from now on, or no more"),
        Route::post("/signout", nhost::tokens::sign_out)
            .public()
            .summary("Nhost: end a session, or all"),
        Route::post("/token", nhost::tokens::refresh)
            .public()
            .summary("Nhost: renew the tokens"),
        Route::post("/token/exchange", nhost::tokens::exchange)
            .public()
            .summary("Nhost: take a session over by the code that a browser brought"),
        Route::post("/token/verify", nhost::tokens::verify)
            .public()
            .summary("Nhost: whether an access token is good"),
        Route::post("/link/idtoken", nhost::id_token::link)
            .authenticated()
            .summary("Nhost: link another place by an ID token"),
        Route::post("/elevate/webauthn", nhost::webauthn::begin_elevation)
            .authenticated()
            .summary("Nhost: begin a fresh proof by a passkey"),
        Route::post(
            "/elevate/webauthn/verify",
            nhost::webauthn::finish_elevation,
        )
        .authenticated()
        .summary("Nhost: a fresh proof by a passkey"),
        Route::post("/user/webauthn/add", nhost::webauthn::begin_adding)
            .authenticated()
            .summary("Nhost: begin to make another passkey"),
        Route::post("/user/webauthn/verify", nhost::webauthn::finish_adding)
            .authenticated()
            .summary("Nhost: keep a passkey that was made"),
        Route::post("/pat", nhost::tokens::make)
            .authenticated()
            .summary("Nhost: make a token for scripts"),
        Route::get("/user", nhost::user::show)
            .authenticated()
            .summary("Nhost: who is signed in"),
        Route::post("/user/deanonymize", nhost::sign_up::deanonymize)
            .authenticated()
            .summary("Nhost: give an anonymous account an address"),
        Route::post("/user/password", nhost::user::change_password)
            .public()
            .summary("Nhost: set a new password, signed in or by a ticket"),
        Route::post("/user/password/reset", nhost::user::mail_reset)
            .public()
            .summary("Nhost: mail a link that sets a new password"),
        Route::post("/user/email/change", nhost::user::change_email)
            .authenticated()
            .summary("Nhost: ask for another address"),
        Route::post(
            "/user/email/send-verification-email",
            nhost::user::mail_proof,
        )
        .public()
        .summary("Nhost: mail the link that proves an address again"),
        Route::get("/verify", nhost::verify::verify)
            .public()
            .summary("Nhost: do what a link in a mail is for, and return to the app"),
        Route::get("/version", nhost::user::version)
            .public()
            .summary("Nhost: the version of this plugin"),
        Route::get("/auth/providers", providers::list)
            .public()
            .summary("Other places that people may sign in with"),
        Route::get("/auth/oauth/{provider}/start", providers::start)
            .public()
            .summary("Send a browser to another place to sign in"),
        Route::get("/auth/oauth/{provider}/callback", providers::callback)
            .public()
            .summary("Take the answer of another place"),
        Route::post("/auth/oauth/{provider}/callback", providers::callback_form)
            .public()
            .summary("Take the answer of another place that posts it"),
        Route::post("/auth/oauth/exchange", providers::exchange)
            .public()
            .summary("Sign in, or link, by the code that the browser brought"),
        Route::post("/auth/oauth/{provider}/id-token", providers::id_token)
            .public()
            .summary("Sign in by the ID token that the system gave to an app"),
        Route::get("/auth/identities", identities::list)
            .authenticated()
            .summary("Other places that one signs in with"),
        Route::delete("/auth/identities/{id}", identities::unlink)
            .authenticated()
            .summary("Unlink another place"),
        Route::post("/auth/identities/link/{provider}", identities::link)
            .authenticated()
            .summary("Begin to link another place"),
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
        Route::get("/auth/hasura/webhook", hasura::webhook)
            .public()
            .summary("Who calls, for Hasura's authentication hook"),
        Route::post("/auth/hasura/webhook", hasura::webhook_by_post)
            .public()
            .summary("Who calls, for Hasura's authentication hook by POST"),
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
        Route::get("/auth/admin/families", admin::families::list)
            .operator()
            .summary("Families, the newest first"),
        Route::delete("/auth/admin/families/{id}", admin::families::delete)
            .operator()
            .summary("Delete a family; for 30 days it can be taken back"),
        Route::post(
            "/auth/admin/families/{id}/take-back",
            admin::families::take_back,
        )
        .operator()
        .summary("Take a deleted family back"),
        Route::post("/auth/admin/families/{id}/export", admin::families::export)
            .operator()
            .summary("Everything that a family has, as NDJSON"),
        Route::post("/auth/admin/families/{id}/purge", admin::families::purge)
            .operator()
            .timeout(Duration::from_secs(1800))
            .summary("Take away for good what a deleted and exported family has"),
        Route::get("/auth/admin/lockouts", admin::lockouts::list)
            .operator()
            .summary("Who was turned away in the last quarter of an hour"),
        Route::delete("/auth/admin/lockouts/{id}", admin::lockouts::lift)
            .operator()
            .summary("Let an account be tried again at once"),
        Route::get("/auth/admin/providers", admin::providers::list)
            .operator()
            .summary("Other places that people may sign in with, as they are configured"),
        Route::get("/auth/admin/audit", admin::audit::list)
            .operator()
            .summary("What happened to accounts, the newest first"),
        Route::post("/auth/admin/import", admin::import::import)
            .operator()
            .body_bytes_max(256 << 20)
            .timeout(Duration::from_secs(600))
            .summary("Take accounts from an export: JSON, NDJSON or CSV, at most 100,000 rows"),
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
        Task::every(
            Duration::from_secs(60),
            "failed_proofs",
            sweep::write_failed_proofs,
        )
        .singleton(),
        Task::every(Duration::from_secs(600), "sweep", sweep::forget).singleton(),
        Task::every(
            Duration::from_secs(86_400),
            "families",
            sweep::purge_families,
        )
        .singleton(),
    ];

    const MIGRATIONS: &'static [Migration] = &[
        migration!("0001_keys"),
        migration!("0002_accounts"),
        migration!("0003_passkeys"),
        migration!("0004_families"),
        migration!("0005_traces"),
    ];

    type Config = Config;

    async fn create(context: Context, config: Config) -> Result<Self> {
        let powers = Powers::ask(&context)?;
        let pages = Pages::load(&config)?;
        redirect::check_list(&config)?;
        let providers = Providers::open(&context, &config)?;
        let relying_party = RelyingParty::of(&config)?;
        let keys = Keys::open(&context, &config).await?;
        Ok(Self {
            config,
            keys,
            providers,
            pages,
            powers,
            relying_party,
        })
    }

    async fn start(cx: Cx<Self>) -> Result<()> {
        changes::begin(&cx).await
    }
}

export_plugin!(Auth);
