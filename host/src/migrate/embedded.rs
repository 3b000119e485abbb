//! The steps of `db/`, embedded: the binary brings its schema along. A test compares this table with the directory.

use crate::plugin::manifest::Migration;

/// The functions of schema `nself` that every plugin's login may execute, as signatures for `GRANT EXECUTE ON FUNCTION`.
/// The rest of the schema is the host's alone; the login needs `USAGE` on the schema besides.
pub const PLUGIN_FUNCTIONS: &[&str] = &[
    "nself.uuid_v7()",
    "nself.current_family_id()",
    "nself.current_user_id()",
    "nself.current_role()",
    "nself.crosses_families()",
    "nself.emit_event(text, text, jsonb, uuid, text, text)",
    "nself.emit_events(text[], text[], jsonb[], uuid[])",
    "nself.audit(text, text, jsonb, uuid, text)",
    "nself.read_audit(text, text, uuid, timestamptz, uuid, integer)",
    "nself.sees_content(text, text, uuid, timestamptz, uuid)",
    "nself.may(text, text)",
];

/// One pair of files below `db/`.
macro_rules! step {
    ($number:literal, $name:literal, $path:literal) => {
        Embedded {
            number: $number,
            name: $name,
            up: include_str!(concat!("../../../db/", $path, ".up.sql")),
            down: include_str!(concat!("../../../db/", $path, ".down.sql")),
        }
    };
}

struct Embedded {
    number: u32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

const HOST: &[Embedded] = &[
    step!(1, "session", "nself/0001_session"),
    step!(2, "plugins", "nself/0002_plugins"),
    step!(3, "events", "nself/0003_events"),
    step!(4, "audit", "nself/0004_audit"),
    step!(5, "kv", "nself/0005_kv"),
    step!(6, "audit_reading", "nself/0006_audit_reading"),
    step!(7, "tenancy", "nself/0007_tenancy"),
    step!(8, "audit_months", "nself/0008_audit_months"),
    step!(9, "seeing", "nself/0009_seeing"),
    step!(10, "emitting", "nself/0010_emitting"),
    step!(11, "may", "nself/0011_may"),
];

const SHARED: &[Embedded] = &[
    step!(1, "people", "migrations/0001_people"),
    step!(2, "family", "migrations/0002_family"),
    step!(3, "media", "migrations/0003_media"),
    step!(4, "posts", "migrations/0004_posts"),
    step!(5, "recipes", "migrations/0005_recipes"),
    step!(6, "calendar", "migrations/0006_calendar"),
    step!(7, "social", "migrations/0007_social"),
    step!(8, "chat", "migrations/0008_chat"),
    step!(9, "notifications", "migrations/0009_notifications"),
    step!(10, "legacy", "migrations/0010_legacy"),
    step!(11, "devices", "migrations/0011_devices"),
    step!(12, "search", "migrations/0012_search"),
    step!(13, "family_life", "migrations/0013_family_life"),
    step!(14, "isolation", "migrations/0014_isolation"),
    step!(15, "functions", "migrations/0015_functions"),
    step!(16, "watching", "migrations/0016_watching"),
    step!(17, "settings_audit", "migrations/0017_settings_audit"),
];

/// The host's own schema: `db/nself`.
pub fn host() -> Vec<Migration> {
    owned(HOST)
}

/// The product's shared model: `db/migrations`.
pub fn shared() -> Vec<Migration> {
    owned(SHARED)
}

fn owned(steps: &[Embedded]) -> Vec<Migration> {
    let step = |step: &Embedded| Migration {
        number: step.number,
        name: step.name.to_owned(),
        up: step.up.to_owned(),
        down: step.down.to_owned(),
    };
    steps.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::migrate::{Owner, files};

    #[track_caller]
    fn check(directory: &str, embedded: &[Migration]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../db")
            .join(directory);
        let facts = |steps: &[Migration]| -> Vec<_> {
            steps
                .iter()
                .map(|step| {
                    (
                        step.number,
                        step.name.clone(),
                        step.up.clone(),
                        step.down.clone(),
                    )
                })
                .collect()
        };
        let read = files::read(&path).expect("the directory is in order");
        assert_eq!(
            facts(&read),
            facts(embedded),
            "add the new files of db/{directory} to the table above"
        );
    }

    #[test]
    fn every_file_of_db_is_embedded() {
        check("nself", &host());
        check("migrations", &shared());
    }

    #[test]
    fn the_embedded_steps_are_fit_to_run() {
        Owner::host().validate().expect("db/nself");
        Owner::shared().validate().expect("db/migrations");
    }
}
