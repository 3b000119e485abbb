//! `nself backup`, with the real binary, a private cluster and PostgreSQL's own programs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::db::Stage;

const PATIENCE: Duration = Duration::from_secs(60);

/// The `data` of a command that went well.
fn data(stage: &Stage, line: &str) -> Value {
    let ran = stage.run(&format!("{line} --json"));
    ran.check(0, &[]);
    ran.json()["data"].clone()
}

fn start(stage: &Stage) {
    stage.run("up --detach --port 0").check(0, &[]);
}

/// Where its backups lie.
fn shelf(stage: &Stage) -> PathBuf {
    let data = data(stage, "backup list");
    PathBuf::from(data["directory"].as_str().unwrap())
}

/// The moment of the server's clock, after everything that was committed.
fn now(stage: &Stage) -> String {
    stage.sql(
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    )
}

/// Waits until a segment of the log of writes is kept.
fn archived(shelf: &Path, segment: &str) {
    let path = shelf.join("wal").join(format!("{segment}.gz"));
    let until = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < until, "{} is not there", path.display());
        std::thread::yield_now();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Data directories that a restore left beside the one in use.
fn from_before(stage: &Stage) -> usize {
    let pg = fs::read_dir(stage.path(".nself/pg")).unwrap();
    let names = pg.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    assert!(
        names.iter().all(|name| !name.starts_with(".restoring-")),
        "nothing half-done: {names:?}"
    );
    names
        .iter()
        .filter(|name| name.starts_with(".before-"))
        .count()
}

#[test]
fn the_data_is_put_back_as_it_was_at_any_moment_since_a_backup() {
    let stage = Stage::set();
    start(&stage);
    stage
        .run("backup verify")
        .check(2, &["error[BACKUP_NONE]", "nself backup create"]);
    stage.sql("create table notes (id int primary key, text text)");
    stage.sql("insert into notes select n, repeat('x', 3000) from generate_series(1, 100) n");

    let made = data(&stage, "backup create");
    assert!(made["tried"]["rows"].as_i64().unwrap() >= 100, "{made}");
    assert_eq!(made["tried"]["holds"]["tables"], made["holds"]["tables"]);
    let id = made["id"].as_str().unwrap();
    let directory = shelf(&stage).join(id);
    assert_eq!(mode(&directory), 0o700, "it holds everything");
    assert_eq!(mode(&directory.join("project/secrets/master-key")), 0o600);

    stage.sql("insert into notes select n, 'later' from generate_series(101, 150) n");
    let good = now(&stage);
    stage.sql("delete from notes");
    stage
        .run("backup restore --yes")
        .check(69, &["already runs", "stop it first"]);
    stage.run("stop").check(0, &[]);
    stage
        .run(&format!("backup restore --to {good}"))
        .check(2, &["error[CONFIRMATION_NEEDED]", id]);
    stage
        .run("backup restore --yes --to 2001-01-01T00:00:00Z")
        .check(65, &["error[BACKUP_TOO_EARLY]", "2001"]);
    stage
        .run("backup restore --yes --to 2100-01-01T00:00:00Z")
        .check(1, &["error[BACKUP_RECOVERY]", "recovery target"]);
    assert_eq!(from_before(&stage), 0, "what fails changes nothing");

    let restored = data(&stage, &format!("backup restore --yes --to {good}"));
    assert_eq!(restored["backup"], id);
    assert_eq!(from_before(&stage), 1, "the data from before stays");
    // Later restores follow the history that this one has begun as soon as a host runs on it, and not when something had failed.
    let history = "00000002.history";
    let shelf = shelf(&stage);
    assert!(!shelf.join(format!("wal/{history}.gz")).exists());
    start(&stage);
    archived(&shelf, history);
    assert_eq!(
        stage.sql("select count(*), sum(length(text)) from notes"),
        "150|300250"
    );
    assert_eq!(
        stage.sql("select string_agg(action, ' ' order by at) from nself.audit_log where action like 'backup.%'"),
        "backup.created backup.restored"
    );

    // What came after the restore is another history, which later restores follow, up to the last write: the newest of it is not
    // in the archive yet.
    stage.sql("insert into notes values (1000, 'after')");
    let verified = data(&stage, &format!("backup verify {id}"));
    assert_eq!(verified["id"], id);
    stage.run("stop").check(0, &[]);
    data(&stage, "backup restore --yes");
    start(&stage);
    assert_eq!(stage.sql("select count(*), max(id) from notes"), "151|1000");
    stage.run("audit verify").check(0, &[]);
}

#[test]
fn a_lost_machine_is_made_again_from_its_backups() {
    let lost = Stage::set();
    start(&lost);
    lost.sql("create table notes as select n as id from generate_series(1, 7) n");
    data(&lost, "backup create");
    lost.sql("insert into notes values (8)");
    let segment = lost.sql("select pg_walfile_name(pg_switch_wal())");
    let kept = shelf(&lost);
    archived(&kept, &segment);
    let key = fs::read(lost.path(".nself/secrets/master-key")).unwrap();

    let new = Stage::set();
    let config = fs::read_to_string(new.path("nself.toml")).unwrap();
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let brought = place.path().join("brought");
    let copied = Command::new("cp")
        .arg("-R")
        .arg(&kept)
        .arg(&brought)
        .status();
    assert!(copied.unwrap().success());
    fs::write(
        new.path("nself.toml"),
        format!(
            "{config}\n[backup]\ndirectory = \"{}\"\n",
            brought.display()
        ),
    )
    .unwrap();
    drop(lost);
    let restored = data(&new, "backup restore --yes");
    assert!(restored["before"].is_null(), "{restored}");
    assert_eq!(
        fs::read(new.path(".nself/secrets/master-key")).unwrap(),
        key
    );
    start(&new);
    assert_eq!(new.sql("select count(*) from notes"), "8");
}

#[test]
fn a_backup_that_is_not_whole_is_told_and_restores_nothing() {
    let stage = Stage::set();
    start(&stage);
    let config = fs::read_to_string(stage.path("nself.toml")).unwrap();
    fs::write(
        stage.path("nself.toml"),
        format!("{config}\n[backup]\nkeep = 1\n"),
    )
    .unwrap();
    let first = data(&stage, "backup create")["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // What killed commands left behind.
    let shelf = shelf(&stage);
    fs::create_dir_all(shelf.join(".incoming-1")).unwrap();
    fs::create_dir_all(stage.path(".nself/pg/.restoring-1/data")).unwrap();
    let made = data(&stage, "backup create");
    let id = made["id"].as_str().unwrap().to_owned();
    let listed = data(&stage, "backup list");
    let ids: Vec<&str> = listed["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [id.as_str()], "{first} was one too many");
    assert!(!shelf.join(".incoming-1").exists());
    assert_eq!(from_before(&stage), 0);
    let before =
        |name: &str| name.len() >= 24 && name[8..24] < made["segment"].as_str().unwrap()[8..24];
    let segments = fs::read_dir(shelf.join("wal")).unwrap();
    let segments: Vec<String> = segments
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !segments.iter().any(|name| before(name)),
        "{segments:?} of {made}"
    );
    stage
        .run(&format!("backup verify {first}"))
        .check(2, &["error[BACKUP_NONE]", &first]);

    let record = shelf.join(&id).join("record.json");
    let written = fs::read_to_string(&record).unwrap();
    let tables = made["holds"]["tables"].as_i64().unwrap();
    let more = written.replacen(
        &format!("\"tables\": {tables}"),
        &format!("\"tables\": {}", tables + 1),
        1,
    );
    fs::write(&record, more).unwrap();
    stage
        .run("backup verify")
        .check(4, &["error[BACKUP_BROKEN]", "tables"]);
    fs::write(&record, "{").unwrap();
    stage
        .run("backup list")
        .check(4, &["error[BACKUP_BROKEN]", "record.json"]);
    fs::write(&record, &written).unwrap();

    // A segment in the middle that somebody has lost.
    for _ in 0..3 {
        stage.sql("create table t(); drop table t");
        archived(
            &shelf,
            &stage.sql("select pg_walfile_name(pg_switch_wal())"),
        );
    }
    stage.run("backup verify").check(0, &[]);
    let wal = fs::read_dir(shelf.join("wal")).unwrap();
    let mut wal: Vec<PathBuf> = wal.map(|entry| entry.unwrap().path()).collect();
    wal.sort();
    let lost = &wal[wal.len() - 2];
    let aside = lost.with_extension("aside");
    fs::rename(lost, &aside).unwrap();
    stage
        .run("backup verify")
        .check(4, &["error[BACKUP_BROKEN]", "is missing"]);
    fs::rename(&aside, lost).unwrap();

    let other = written.replacen("\"postgres\": \"", "\"postgres\": \"9", 1);
    fs::write(&record, other).unwrap();
    stage
        .run("backup verify")
        .check(69, &["error[BACKUP_MAJOR]"]);
    fs::write(&record, written).unwrap();

    let base = shelf.join(&id).join("base.tar.gz");
    let mut bytes = fs::read(&base).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&base, bytes).unwrap();
    stage
        .run("backup verify")
        .check(1, &["error[BACKUP_PROGRAM]"]);
    stage.run("stop").check(0, &[]);
    stage
        .run("backup restore --yes")
        .check(1, &["error[BACKUP_PROGRAM]"]);
    assert_eq!(from_before(&stage), 0, "the data is as it was");
}

#[test]
fn what_is_in_the_way_of_a_backup_is_told() {
    let stage = Stage::set();
    let config = fs::read_to_string(stage.path("nself.toml")).unwrap();
    let write = |more: &str| {
        fs::write(stage.path("nself.toml"), format!("{config}\n{more}\n")).unwrap();
    };
    stage.run("db migrate up").check(0, &[]);
    let versions = fs::read_dir(stage.path(".nself/pg")).unwrap();
    let mut versions = versions.map(|entry| entry.unwrap().path());
    let pg = versions
        .find(|path| path.join("PG_VERSION").exists())
        .unwrap();
    fs::write(pg.join("custom.conf"), "max_wal_senders = 0\n").unwrap();
    stage
        .run("backup create")
        .check(1, &["error[BACKUP_PROGRAM]", "pg_basebackup"]);
    assert!(!pg.join("nself.archive").exists(), "nothing to go on from");
    let left = fs::read_dir(shelf(&stage)).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["wal"]);
    fs::write(pg.join("custom.conf"), "").unwrap();
    write("[database]\nkeep_running = true");
    start(&stage);
    data(&stage, "backup create");
    let lock = fs::File::open(stage.path(".nself/backup.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    stage
        .run("backup verify")
        .check(75, &["error[BACKUP_BUSY]"]);
    let listed = data(&stage, "backup list");
    let listed = listed["backups"].as_array().map(Vec::len);
    assert_eq!(listed, Some(1), "who looks need not wait");
    drop(lock);
    stage.run("stop").check(0, &[]);
    stage
        .run("backup restore --yes")
        .check(69, &["error[BACKUP_RUNNING]", "nself stop"]);
    write("[backup]\ndirectory = \"/dev/null/backups\"");
    stage
        .run("backup create")
        .check(73, &["error[BACKUP_FILE]", "/dev/null/backups"]);
    // The server that was left running is stopped by a host that adopts it.
    write("");
    start(&stage);
}

#[test]
fn what_somebody_else_runs_is_not_backed_up_by_its_files() {
    let stage = Stage::set();
    let ran = stage.run_with(
        "backup create",
        &[("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c")],
    );
    ran.check(2, &["error[BACKUP_ELSEWHERE]", "jobs.db_backup"]);
    assert!(!stage.path(".nself/pg").exists());
}
