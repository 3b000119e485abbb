//! `nself audit`, with the real binary and a private cluster.

use std::fs;

use super::db::Stage;

#[test]
fn the_log_is_listed_proved_exported_and_kept_an_eye_on() {
    let stage = Stage::set();
    stage.run("db migrate up").check(0, &[]);
    says(&stage, "audit list", &["db.migrated", "cli"]);
    stage.sql("select nself.audit('key.made', 'key/' || n) from generate_series(1, 3) n");
    says(&stage, "audit verify --witness seen.json", &["whole: "]);
    says(&stage, "audit export log.jsonl", &["entries in log.jsonl"]);
    stage
        .run("audit export log.jsonl")
        .check(2, &["error[AUDIT_FILE]", "is there already"]);
    says(
        &stage,
        "audit verify --file log.jsonl",
        &["whole: ", "no whole sealed month"],
    );
    stage
        .run("audit archive --before 2999-01")
        .check(2, &["error[AUDIT_MONTH]", "not over"]);
    stage
        .run("audit archive --before 2026-1x")
        .check(2, &["a month is written as 2026-01"]);
    says(
        &stage,
        "audit archive --before 2026-01 --yes",
        &["nothing to put away"],
    );

    let log = stage.path("log.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("key/2", "key/7", 1)).unwrap();
    stage
        .run("audit verify --file log.jsonl")
        .check(65, &["error[AUDIT_BROKEN]", "the row was changed"]);

    stage.sql(
        "alter table nself.audit_log disable trigger all; update nself.audit_log set actor = 'x' where target = 'key/2'",
    );
    stage.run("audit verify").check(
        65,
        &[
            "error[AUDIT_BROKEN]",
            "stream system-0 at 2: the row was changed",
        ],
    );
    // What was broken when it was looked at is not taken as the new truth.
    let seen = fs::read_to_string(stage.path("seen.json")).unwrap();
    stage
        .run("audit verify --witness seen.json")
        .check(65, &["AUDIT_BROKEN"]);
    assert_eq!(fs::read_to_string(stage.path("seen.json")).unwrap(), seen);
}

#[track_caller]
fn says(stage: &Stage, line: &str, words: &[&str]) {
    let ran = stage.run(line);
    ran.check(0, &[]);
    for word in words {
        assert!(
            ran.stdout.contains(word),
            "{line}: no {word:?} in {}",
            ran.stdout
        );
    }
}
