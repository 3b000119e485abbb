//! Steps and databases that are refused, and what the operator reads then.

use nself::migrate::{MigrateError, Migrator, Options, Owner, State};

use super::{database, migrator, notes, recorded, step, tables};

#[track_caller]
fn check_invalid(owner: &Owner, expected: &str) {
    let error = owner.validate().unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn numbers_names_and_texts_are_checked_before_anything_runs() {
    let with = |number, up: &str, down: &str| Owner::plugin("notes", vec![step(number, up, down)]);
    check_invalid(
        &with(2, "SELECT 1", "SELECT 1"),
        "notes/0002_step2.up.sql: its number must be 0001",
    );
    check_invalid(
        &with(1, "", "SELECT 1"),
        "notes/0001_step1.up.sql: it has no statement",
    );
    check_invalid(
        &with(1, "SELECT 1", "-- nothing"),
        "notes/0001_step1.down.sql: it has no statement",
    );
    check_invalid(
        &with(1, "SELECT 1;\nCOMMIT", "SELECT 1"),
        "notes/0001_step1.up.sql: line 2: `COMMIT` is not allowed",
    );
    let mut twice = notes(2);
    twice.steps[1].number = 1;
    check_invalid(&twice, "notes/0001_step2.up.sql: its number must be 0002");
    twice.steps[0].name = "Step One".into();
    check_invalid(&twice, "notes/0001_Step One.up.sql: its name must be");
}

#[tokio::test]
async fn an_edited_applied_step_is_refused_with_both_checksums() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[notes(2)]).await.unwrap();
    let mut edited = notes(3);
    edited.steps[1].up.push('\n');
    let MigrateError::Edited {
        owner,
        file,
        recorded: before,
        found,
    } = migrator.up(&[edited.clone()]).await.unwrap_err()
    else {
        panic!("it must be refused as edited");
    };
    assert_eq!(
        (owner.as_str(), file.as_str()),
        ("notes", "0002_step2.up.sql")
    );
    assert!(before != found && before.len() == 64 && found.len() == 64);
    assert_eq!(recorded(&database.client().await, "notes").await, [1, 2]);

    let options = Options {
        accept_edited: true,
        ..Options::default()
    };
    let mut accepting = Migrator::new(database.client().await, options);
    accepting.up(&[edited.clone()]).await.unwrap();
    assert!(
        accepting
            .status(&[edited])
            .await
            .unwrap()
            .iter()
            .all(|line| line.state == State::Applied)
    );
    let error = accepting.up(&[notes(1)]).await.unwrap_err();
    assert!(matches!(error, MigrateError::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn an_applied_step_that_is_unknown_here_is_refused() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[notes(2)]).await.unwrap();
    for error in [
        migrator.up(&[notes(1)]).await.unwrap_err(),
        migrator.plan(&[notes(1)]).await.unwrap_err(),
        migrator.down(&notes(1), 1).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("step2"), "{error}");
        assert!(matches!(error, MigrateError::Unknown { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_refused_owner_keeps_all_owners_from_starting() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[notes(2)]).await.unwrap();
    let other = Owner::plugin(
        "other",
        vec![step(1, "CREATE TABLE a (id int)", "DROP TABLE a")],
    );
    migrator.up(&[other, notes(1)]).await.unwrap_err();
    assert_eq!(tables(&database.client().await, "other").await, [""; 0]);
}

#[tokio::test]
async fn a_step_that_fails_half_way_leaves_nothing_and_says_where() {
    let database = database().await;
    let up = "CREATE TABLE a (id int);\n\n-- why\nALTER TABLE a\n    ADD COLUMN b text,\n    DROP COLUMN zzz;\nCREATE TABLE c (id int);";
    let owner = Owner::plugin("notes", vec![step(1, up, "SELECT 1")]);
    let error = migrator(&database).await.up(&[owner]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "notes/0001_step1.up.sql:4: column \"zzz\" of relation \"a\" does not exist (SQLSTATE 42703) at `ALTER TABLE a`: \
         nothing of this step was kept: correct it and run again"
    );
    let client = database.client().await;
    assert_eq!(tables(&client, "notes").await, [""; 0]);
    assert_eq!(recorded(&client, "notes").await, [0; 0]);
}

#[tokio::test]
async fn a_position_in_the_statement_becomes_a_line_of_the_file() {
    let database = database().await;
    let up = "SELECT 'ü';\nSELECT 1,\n  'ü',\n  nowhere;";
    let owner = Owner::plugin("notes", vec![step(1, up, "SELECT 1")]);
    let error = migrator(&database)
        .await
        .up(&[owner])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("notes/0001_step1.up.sql:4: column \"nowhere\" does not exist (SQLSTATE 42703) at `nowhere`"), "{error}");
}

#[tokio::test]
async fn a_deferred_constraint_fails_the_step_as_a_whole() {
    let database = database().await;
    let up = "CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES a DEFERRABLE INITIALLY DEFERRED); INSERT INTO a VALUES (1, 2);";
    let owner = Owner::plugin("notes", vec![step(1, up, "DROP TABLE a")]);
    let error = migrator(&database)
        .await
        .up(&[owner])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("SQLSTATE 23503"), "{error}");
    assert_eq!(recorded(&database.client().await, "notes").await, [0; 0]);
}

#[tokio::test]
async fn a_statement_over_its_time_limit_is_ended() {
    let database = database().await;
    let options = Options {
        statement_timeout: Some(std::time::Duration::from_millis(50)),
        ..Options::default()
    };
    let owner = Owner::plugin("notes", vec![step(1, "SELECT pg_sleep(30)", "SELECT 1")]);
    let error = Migrator::new(database.client().await, options)
        .up(&[owner])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("SQLSTATE 57014") && error.contains("raise the statement timeout"),
        "{error}"
    );
}
