//! `nself auth ..`: the operator's routes on the command line.

use nself_plugin_api::prelude::*;

const LIMIT: Argument = Argument::integer("limit", "Rows, at most 1000");
const BEFORE: Argument = Argument::text("before", "The last id of the page before");
const ACCOUNT: &[Argument] = &[Argument::text("id", "The account's id, see `users`")];

const FAMILY: &[Argument] = &[Argument::text("id", "The family's id, see `families`")];

/// All of them.
pub(crate) const ALL: &[Command] = &[
    Command::get("users", "/auth/admin/users")
        .summary("List accounts, the newest first")
        .arguments(&[
            Argument::text("query", "Part of an address or a name"),
            Argument::text("status", "active, suspended or deleted"),
            LIMIT,
            BEFORE,
        ])
        .columns(&[
            ("ID", "id"),
            ("ADDRESS", "email"),
            ("VERIFIED", "is_email_verified"),
            ("NAME", "display_name"),
            ("STATUS", "status"),
            ("SIGNED IN", "signed_in_at"),
        ]),
    Command::get("users show", "/auth/admin/users/{id}")
        .summary("Show an account and how it can be used")
        .arguments(ACCOUNT),
    Command::post("users add", "/auth/admin/users")
        .summary("Make an account; its owner is mailed a link that sets a password")
        .arguments(&[
            Argument::text("email", "The address").required(),
            Argument::text("display_name", "The name that others see"),
            Argument::text("locale", "The language, such as de-AT"),
            Argument::flag("is_email_verified", "The address is known to be theirs"),
        ]),
    Command::patch("users suspend", "/auth/admin/users/{id}")
        .summary("Keep somebody out, and sign them out everywhere")
        .arguments(ACCOUNT)
        .body(r#"{"status":"suspended"}"#),
    Command::patch("users activate", "/auth/admin/users/{id}")
        .summary("Let somebody in again")
        .arguments(ACCOUNT)
        .body(r#"{"status":"active"}"#),
    Command::patch("users verify", "/auth/admin/users/{id}")
        .summary("Vouch for the address of an account")
        .arguments(ACCOUNT)
        .body(r#"{"is_email_verified":true}"#),
    Command::post("users sign-out", "/auth/admin/users/{id}/sign-out")
        .summary("End all sessions of an account")
        .arguments(ACCOUNT),
    Command::delete("users delete", "/auth/admin/users/{id}")
        .summary("Delete an account for good")
        .arguments(ACCOUNT)
        .confirm("Delete the account {id} and everything that says who it was?"),
    Command::get("sessions", "/auth/admin/sessions")
        .summary("List living sessions, the newest first")
        .arguments(&[Argument::text("user", "Of this account"), LIMIT, BEFORE])
        .columns(&[
            ("ID", "id"),
            ("ADDRESS", "email"),
            ("DEVICE", "device_id"),
            ("IP", "ip"),
            ("CLIENT", "client"),
            ("SIGNED IN", "created_at"),
            ("LAST USED", "last_used_at"),
        ]),
    Command::delete("sessions end", "/auth/admin/sessions/{id}")
        .summary("End a session")
        .arguments(&[Argument::text("id", "The session's id, see `sessions`")]),
    Command::get("devices", "/auth/admin/devices")
        .summary("List paired machines, the newest first")
        .arguments(&[Argument::text("family", "Of this family"), LIMIT, BEFORE])
        .columns(&[
            ("ID", "id"),
            ("NAME", "name"),
            ("KIND", "kind"),
            ("FAMILY", "family_id"),
            ("LAST SEEN", "last_seen_at"),
            ("TAKEN OFF", "revoked_at"),
        ]),
    Command::delete("devices remove", "/auth/admin/devices/{id}")
        .summary("Take a machine off")
        .arguments(&[Argument::text("id", "The machine's id, see `devices`")])
        .confirm("Take the machine {id} off? It has to be paired again."),
    Command::get("families", "/auth/admin/families")
        .summary("List families, the newest first")
        .arguments(&[
            Argument::text("query", "Part of a name"),
            Argument::flag("deleted", "Those that are deleted and not gone yet"),
            LIMIT,
            BEFORE,
        ])
        .columns(&[
            ("ID", "id"),
            ("NAME", "name"),
            ("MEMBERS", "members"),
            ("MADE", "created_at"),
            ("DELETED", "deleted_at"),
            ("EXPORTED", "exported_at"),
        ]),
    Command::post("families export", "/auth/admin/families/{id}/export")
        .summary("Print everything that a family has, a line of JSON each")
        .arguments(FAMILY),
    Command::delete("families delete", "/auth/admin/families/{id}")
        .summary("Delete a family; for 30 days it can be taken back")
        .arguments(FAMILY)
        .confirm("Delete the family {id} for all its members?"),
    Command::post("families take-back", "/auth/admin/families/{id}/take-back")
        .summary("Take a deleted family back")
        .arguments(FAMILY),
    Command::post("families purge", "/auth/admin/families/{id}/purge")
        .summary("Take away for good what a deleted and exported family has")
        .arguments(&[
            Argument::text("id", "The family's id, see `families`"),
            Argument::flag("now", "Without the 30 days; never without an export"),
        ])
        .confirm("Purge the family {id}? Nothing of it is left but its audit log."),
    Command::get("keys", "/auth/admin/keys")
        .summary("List the keys that sign access tokens")
        .columns(&[
            ("KEY", "kid"),
            ("ALGORITHM", "algorithm"),
            ("STATE", "state"),
            ("PUBLISHED", "published_at"),
            ("SIGNS SINCE", "active_at"),
            ("RETIRED", "retired_at"),
        ]),
    Command::post("keys rotate", "/auth/admin/keys/rotate")
        .summary("Let a new key take over: in a day, when all verifiers know it")
        .arguments(&[Argument::flag(
            "now",
            "At once: verifiers with an older key set refuse new tokens for up to five minutes",
        )])
        .columns(&[
            ("KEY", "kid"),
            ("STATE", "state"),
            ("PUBLISHED", "published_at"),
        ]),
    Command::get("lockouts", "/auth/admin/lockouts")
        .summary("List who was turned away in the last quarter of an hour")
        .columns(&[
            ("ACCOUNT", "user_id"),
            ("ADDRESS", "email"),
            ("WAY", "way"),
            ("FROM", "network"),
            ("SINCE", "since"),
        ]),
    Command::delete("lockouts lift", "/auth/admin/lockouts/{id}")
        .summary("Let an account be tried again at once")
        .arguments(ACCOUNT),
    Command::get("providers", "/auth/admin/providers")
        .summary("List other places that people may sign in with")
        .columns(&[
            ("NAME", "id"),
            ("LABEL", "label"),
            ("PROTOCOL", "protocol"),
            ("ISSUER", "issuer"),
            ("PEOPLE", "people"),
        ]),
    Command::get("audit", "/auth/admin/audit")
        .summary("List what happened to accounts, the newest first")
        .arguments(&[
            Argument::text("action", "Such as auth.signed_in, or auth.account_*"),
            Argument::text("user", "Who did it, or whom it was done to"),
            Argument::text("family", "In this family's chain"),
            LIMIT,
            Argument::text("before", "`next` of the page before (see --json)"),
        ])
        .rows("entries")
        .columns(&[
            ("AT", "at"),
            ("ACTION", "action"),
            ("ACTOR", "actor"),
            ("TARGET", "target"),
            ("DETAILS", "details"),
        ]),
    Command::get("apps", "/auth/admin/apps")
        .summary("List the apps of the house")
        .columns(&[("APP", "slug"), ("NAME", "name"), ("ROLES", "roles")]),
    Command::put("apps set", "/auth/admin/apps/{slug}")
        .summary("Add an app, or rename it")
        .arguments(&[
            Argument::text("slug", "Lower-case words joined by -"),
            Argument::text("name", "As people see it").required(),
        ]),
    Command::get("apps roles", "/auth/admin/apps/{slug}/roles")
        .summary("List who may do what in an app")
        .arguments(&[Argument::text("slug", "The app"), LIMIT, BEFORE])
        .columns(&[
            ("ACCOUNT", "user_id"),
            ("ADDRESS", "email"),
            ("ROLE", "role"),
        ]),
    Command::put("apps give", "/auth/admin/apps/{slug}/roles/{user}/{role}")
        .summary("Give somebody a role in an app")
        .arguments(ROLE),
    Command::delete("apps take", "/auth/admin/apps/{slug}/roles/{user}/{role}")
        .summary("Take a role in an app away")
        .arguments(ROLE),
    Command::post("import", "/auth/admin/import")
        .summary("Take accounts from an export of Supabase, Nhost, Firebase or one's own")
        .arguments(&[Argument::file(
            "file",
            "A .json, .ndjson or .csv file, at most 100,000 rows",
        )]),
    Command::post("tune", "/auth/admin/tune").summary("Measure what a password costs here"),
];

const ROLE: &[Argument] = &[
    Argument::text("slug", "The app"),
    Argument::text("user", "The account's id"),
    Argument::text("role", "The role"),
];
