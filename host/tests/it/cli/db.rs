//! `nself db`, with the real binary and a private cluster, while a host runs and while none does.

use std::{fs, path::PathBuf};

use super::{Project, Ran};

/// A project whose cluster goes with it.
pub(super) struct Stage(Project);

impl Stage {
    pub(super) fn set() -> Self {
        let project = Project::passable();
        project.run(&["init", "--template", "blank"]).check(0, &[]);
        Self(project)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(super) fn run(&self, line: &str) -> Ran {
        self.run_with(line, &[])
    }

    pub(super) fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Ran {
        let words: Vec<&str> = line.split(' ').collect();
        let own = [("PATH", "/usr/bin:/bin"), ("HOME", "/nowhere")];
        self.0.run_with(&words, &[&own, variables].concat())
    }

    /// What psql answers to one statement.
    pub(super) fn sql(&self, statement: &str) -> String {
        let arguments = ["db", "shell", "--", "-Atc", statement];
        let ran = self.0.run_with(&arguments, &[("PATH", "/usr/bin:/bin")]);
        ran.check(0, &[]);
        ran.stdout.trim().to_owned()
    }

    fn states(&self) -> Vec<String> {
        let ran = self.run("db migrate status --json");
        let steps = ran.json()["data"].clone();
        let state = |step: &serde_json::Value| format!("{} {}", step["owner"], step["state"]);
        let own = steps.as_array().unwrap().iter();
        let own = own.filter(|step| step["owner"] == "project");
        own.map(state).map(|line| line.replace('"', "")).collect()
    }

    fn members(&self) {
        self.write(
            "db/migrations/0001_members.up.sql",
            "create table members (id int primary key);\n",
        );
        self.write(
            "db/migrations/0001_members.down.sql",
            "drop table members;\n",
        );
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.0.run(&["stop"]));
        // As root the cluster of a directory that nobody else may enter stands elsewhere.
        if let Ok(data) = fs::canonicalize(self.0.path().join(".nself/pg"))
            && let Some(parent) = data.parent()
            && parent.starts_with("/var/lib/nself")
        {
            drop(fs::remove_dir_all(parent));
        }
    }
}

#[test]
fn steps_of_the_project_go_up_and_down_without_a_host() {
    let stage = Stage::set();
    stage.run("db new Add members").check(0, &[]);
    let up = stage.0.path().join("db/migrations/0001_add_members.up.sql");
    fs::rename(&up, up.with_file_name("x")).unwrap();
    stage.run("db migrate status").check(
        65,
        &[
            "error[MIGRATION_FILES]",
            "0001_add_members.up.sql is missing",
        ],
    );
    fs::remove_dir_all(stage.0.path().join("db")).unwrap();

    stage.members();
    let status = stage.run("db migrate status");
    status.check(3, &["error[MIGRATIONS_PENDING]", "nself db migrate up"]);
    let plan = stage.run("db migrate up --dry-run");
    assert!(plan.stdout.contains("project/0001_members"), "{plan:?}");
    assert_eq!(
        stage.states(),
        ["project pending"],
        "a dry run changes nothing"
    );

    stage.run("db migrate up").check(0, &[]);
    stage.run("db migrate status").check(0, &[]);
    assert_eq!(stage.run("db migrate up").stdout, "nothing to do\n");
    stage
        .run("db migrate down")
        .check(2, &["error[CONFIRMATION_NEEDED]", "0001_members", "--yes"]);
    stage.run("db migrate redo --yes").check(0, &[]);
    stage.run("db migrate down --yes").check(0, &[]);
    assert_eq!(stage.states(), ["project pending"]);
    stage.run("db migrate down --yes").check(
        1,
        &["error[MIGRATION]", "cannot take back 1 steps of project"],
    );
    stage
        .run("db migrate up --owner nobody")
        .check(2, &["error[MIGRATION_OWNER]", "one of: nself, db, project"]);

    stage.run("db migrate up").check(0, &[]);
    stage.write(
        "db/migrations/0001_members.up.sql",
        "create table members ();\n",
    );
    let drifted = stage.run("db migrate status");
    drifted.check(
        3,
        &["1 are not as they were applied", "restore the edited files"],
    );
    stage
        .run("db migrate up")
        .check(1, &["error[MIGRATION]", "was edited after it was applied"]);
}

/// What operators did with the database, by its audit log.
const DONE: &str = "select string_agg(distinct action, ', ' order by action) from nself.audit_log where action like 'db.%'";

#[test]
fn everything_works_beside_a_running_host_and_reset_waits_for_its_end() {
    let stage = Stage::set();
    stage.members();
    stage.run("up --detach --port 0").check(0, &[]);
    assert_eq!(stage.states(), ["project applied"], "the host applied them");
    stage.run("db migrate redo --yes").check(0, &[]);

    stage.write(
        "db/seed/20_more.sql",
        "insert into members values (2) on conflict do nothing;\n",
    );
    stage.write(
        "db/seed/10_first.sql",
        "insert into members values (1) on conflict do nothing;\nselect 1;\n",
    );
    let plan = stage.run("db seed --dry-run");
    assert!(plan.stdout.contains("10_first.sql"), "{plan:?}");
    assert_eq!(stage.sql("select count(*) from members"), "0");
    stage.run("db seed").check(0, &[]);
    stage.run("db seed").check(0, &[]);
    assert_eq!(stage.sql("select sum(id) from members"), "3");
    stage.write(
        "db/seed/30_bad.sql",
        "insert into members values (3);\ninsert into nowhere values (1);\n",
    );
    stage
        .run("db seed")
        .check(1, &["error[MIGRATION]", "seed/30_bad.sql:2", "nowhere"]);
    assert_eq!(
        stage.sql("select count(*) from members"),
        "2",
        "whole or not at all"
    );
    stage.write("db/seed/30_bad.sql", "commit;\n");
    stage.run("db seed").check(1, &["`commit` is not allowed"]);

    stage
        .run("db shell -- -c nonsense")
        .check(1, &["error[PSQL]", "syntax error"]);
    stage
        .run("db reset --yes")
        .check(69, &["error[HOST_ALREADY_RUNNING]", "nself stop"]);
    stage.run("stop").check(0, &[]);
    stage
        .run("db reset")
        .check(2, &["error[CONFIRMATION_NEEDED]", "Drop everything"]);
    assert_eq!(stage.sql("select count(*) from members"), "2");
    assert_eq!(stage.sql(DONE), "db.migrated_again, db.seeded");
    stage.run("db reset --yes").check(0, &[]);
    assert_eq!(stage.sql("select count(*) from members"), "0");
    // The log went with everything else, and begins with what became of it. The refused one is no deed.
    assert_eq!(stage.sql(DONE), "db.reset");
}

#[test]
fn commands_at_the_same_time_do_not_take_the_cluster_from_each_other() {
    let stage = Stage::set();
    stage.run("db migrate up").check(0, &[]);
    let spawn = |_| {
        let arguments = ["db", "shell", "--", "-Atc", "select pg_sleep(0.2)"];
        let mut command = stage.0.command(&arguments, &[("PATH", "/usr/bin:/bin")]);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(spawn).collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_directory_that_is_no_project_gets_no_cluster_by_the_way() {
    let project = Project::empty();
    project
        .run(&["db", "migrate", "status"])
        .check(2, &["error[PROJECT_NOT_FOUND]", "nself init"]);
    assert!(!project.path().join(".nself").exists());
}
