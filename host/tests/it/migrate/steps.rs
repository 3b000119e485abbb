//! Up, down, redo, plan, status.

use nself::migrate::{Direction, Migrator, Options, Owner, State, files};

use super::{database, migrator, notes, recorded, step, tables};

#[tokio::test]
async fn up_applies_what_is_pending_and_then_nothing() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    let report = migrator.up(&[Owner::host(), notes(2)]).await.unwrap();
    assert_eq!(report.steps.len(), Owner::host().steps.len() + 2);
    assert_eq!(
        migrator.up(&[Owner::host(), notes(2)]).await.unwrap().steps,
        []
    );
    let client = database.client().await;
    assert_eq!(tables(&client, "notes").await, ["t1", "t2"]);
    let report = migrator.up(&[notes(3)]).await.unwrap();
    assert_eq!(
        (report.steps[0].owner.as_str(), report.steps[0].number),
        ("notes", 3)
    );
}

#[tokio::test]
async fn the_plan_is_what_up_would_do_and_writes_nothing() {
    let database = database().await;
    let plan = migrator(&database).await.plan(&[notes(2)]).await.unwrap();
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| (step.number, step.direction, step.transactional))
        .collect();
    assert_eq!(steps, [(1, Direction::Up, true), (2, Direction::Up, true)]);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["steps"][1]["name"], "step2");
    let exists = database
        .client()
        .await
        .query_one("SELECT to_regnamespace('nself') IS NOT NULL", &[])
        .await
        .unwrap();
    assert!(!exists.get::<_, bool>(0));
}

#[tokio::test]
async fn up_can_stop_at_a_number() {
    let database = database().await;
    let options = Options {
        to: Some(2),
        ..Options::default()
    };
    Migrator::new(database.client().await, options)
        .up(&[notes(3)])
        .await
        .unwrap();
    assert_eq!(recorded(&database.client().await, "notes").await, [1, 2]);
}

#[tokio::test]
async fn down_takes_back_the_newest_first_and_redo_repeats_the_last() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[notes(3)]).await.unwrap();
    let report = migrator.down(&notes(3), 2).await.unwrap();
    assert_eq!(
        report
            .steps
            .iter()
            .map(|step| step.number)
            .collect::<Vec<_>>(),
        [3, 2]
    );
    let report = migrator.redo(&notes(3)).await.unwrap();
    let steps: Vec<_> = report
        .steps
        .iter()
        .map(|step| (step.number, step.direction))
        .collect();
    assert_eq!(steps, [(1, Direction::Down), (1, Direction::Up)]);
    assert_eq!(tables(&database.client().await, "notes").await, ["t1"]);
    let error = migrator.down(&notes(3), 2).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot take back 2 steps of notes: 1 applied"
    );
    assert_eq!(recorded(&database.client().await, "notes").await, [1]);
}

#[tokio::test]
async fn the_hosts_schema_goes_up_down_and_up_again() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    let host = Owner::host();
    migrator.up(std::slice::from_ref(&host)).await.unwrap();
    migrator.down(&host, host.steps.len()).await.unwrap();
    let client = database.client().await;
    assert_eq!(tables(&client, "nself").await, ["migrations"]);
    let functions = client
        .query_one(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'nself'::regnamespace",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(functions.get::<_, i64>(0), 0);
    migrator.up(&[host]).await.unwrap();
}

#[tokio::test]
async fn status_tells_where_each_step_stands() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[notes(3)]).await.unwrap();
    let mut now = notes(4);
    now.steps[1].up.push_str("-- edited");
    now.steps.remove(2);
    let status = migrator.status(&[now]).await.unwrap();
    let states: Vec<_> = status
        .iter()
        .map(|line| (line.number, line.state))
        .collect();
    assert_eq!(
        states,
        [
            (1, State::Applied),
            (2, State::Edited),
            (3, State::Unknown),
            (4, State::Pending)
        ]
    );
    assert!(status[0].applied_at.is_some());
    assert_eq!(
        status[0].host_version.as_deref(),
        Some(env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn settings_that_a_step_leaves_do_not_reach_the_next() {
    let database = database().await;
    let leak = step(
        1,
        "SET ROLE pg_monitor; SET search_path = public; SET check_function_bodies = off;",
        "SELECT 1",
    );
    let owner = Owner::plugin(
        "no-tes",
        vec![
            leak,
            step(
                2,
                "CREATE TABLE here (id int); DO $$ BEGIN ASSERT current_setting('check_function_bodies') = 'on'; END $$",
                "DROP TABLE here",
            ),
        ],
    );
    migrator(&database).await.up(&[owner]).await.unwrap();
    assert_eq!(
        tables(&database.client().await, "\"no-tes\"").await,
        ["here"]
    );
}

#[tokio::test]
async fn steps_come_from_files_and_new_makes_the_next_pair() {
    let directory = tempfile::tempdir().unwrap();
    let [up, down] = files::create(directory.path(), "members").unwrap();
    std::fs::write(&up, "CREATE TABLE members (id int);").unwrap();
    std::fs::write(&down, "DROP TABLE members;").unwrap();
    let [next, _] = files::create(directory.path(), "apps").unwrap();
    assert_eq!(next.file_name().unwrap(), "0002_apps.up.sql");
    let steps = files::read(directory.path()).unwrap();
    assert_eq!(
        steps
            .iter()
            .map(|step| step.name.as_str())
            .collect::<Vec<_>>(),
        ["members", "apps"]
    );
    let error = Owner {
        name: "db".into(),
        schema: "public".into(),
        steps,
    }
    .validate()
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("db/0002_apps.up.sql: it has no statement"),
        "{error}"
    );

    std::fs::remove_file(&down).unwrap();
    let error = files::read(directory.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("0001_members.down.sql is missing: every step can be taken back"),
        "{error}"
    );
    std::fs::write(directory.path().join("three.sql"), "").unwrap();
    assert!(
        files::read(directory.path())
            .unwrap_err()
            .to_string()
            .contains("three.sql: a step's file is called")
    );
    assert!(files::create(directory.path(), "A b").is_err());
}
