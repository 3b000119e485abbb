//! The steps of `db/`, embedded: the binary brings its schema along. A test compares this table with the directory.

use crate::plugin::manifest::Migration;

/// The functions of schema `nself` that every plugin's login may execute, as signatures for `GRANT EXECUTE ON FUNCTION`.
/// The rest of the schema is the host's alone; the login needs `USAGE` on the schema besides.
pub const PLUGIN_FUNCTIONS: &[&str] = &[
    "nself.uuid_v7()",
    "nself.current_family_id()",
    "nself.current_user_id()",
    "nself.current_role()",
    "nself.emit_event(text, text, jsonb, uuid, text, text)",
    "nself.audit(text, text, jsonb, uuid, text)",
    "nself.read_audit(text, text, uuid, timestamptz, uuid, integer)",
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
    step!(7, "audit_months", "nself/0007_audit_months"),
];

const SHARED: &[Embedded] = &[step!(1, "people", "migrations/0001_people")];

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
