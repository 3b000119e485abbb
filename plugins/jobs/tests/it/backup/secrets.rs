//! Nothing that the programs are told shows the database's password.

use std::fs;

use nself_plugin_testkit::eventually;
use serde_json::json;

use super::{Programs, builder, config, count, folder};
use crate::stage::{submit, until_count};

const PASSWORD: &str = "Only-For-Those-Who-Dump-7f3a";

/// Arguments of everything that runs on this machine.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("the list of processes");
    let lines = entries.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .collect()
}

#[tokio::test]
async fn no_password_is_in_the_list_of_processes_or_in_the_log_or_in_the_job() {
    let (archives, programs) = (folder(), Programs::real());
    // It stands still until the test lets it go.
    let go = archives.path().join(".go");
    programs.pg_dump(&format!(
        "while [ ! -e '{}' ]; do sleep 0.1; done\nexec \"$REAL_PG_DUMP\" \"$@\"",
        go.display()
    ));
    let host = builder().start().await;
    let disabled = host
        .registry()
        .disable("jobs", nself_plugin_testkit::LIMIT / 4, true);
    disabled.await.unwrap_or_else(|refusal| panic!("{refusal}"));
    let sql = host.sql().await;
    let login = format!("{}_dumper", host.database().name());
    sql.batch_execute(&format!(
        "create role {login} superuser login password '{PASSWORD}'"
    ))
    .await
    .expect("a login");
    let url = host.database().url();
    let (_, place) = url.split_once('@').expect("a URL with a login");
    let process = host
        .process_beside()
        .config(&config(&programs, archives.path()))
        .database_url(&format!("postgres://{login}:{PASSWORD}@{place}"))
        .start()
        .await;
    let id = submit(&sql, "jobs.db_backup", json!({}), json!({})).await;
    let mine = programs.directory().to_str().expect("a path of ours");
    let seen = eventually("the dump runs", async || {
        let seen = processes();
        let is_dump = |line: &String| line.contains(mine) && line.contains("--format=custom");
        seen.iter().any(is_dump).then_some(seen)
    })
    .await;
    assert!(seen.iter().all(|line| !line.contains(PASSWORD)));
    fs::write(&go, "").expect("it may go");
    let done = format!("select count(*) from jobs.finished where id = {id}");
    until_count(&sql, &done, 1).await;
    let told = format!(
        "select count(*) from jobs.finished f where id = {id} and f::text like '%{PASSWORD}%'"
    );
    assert_eq!(count(&sql, &told).await, 0);
    let log = process.log_text();
    assert!(log.contains("the database was dumped"), "{log}");
    assert!(!log.contains(PASSWORD));

    // What cannot be dumped is told without it as well.
    programs.pg_dump("echo \"pg_dump: error: no\" >&2; exit 1");
    submit(
        &sql,
        "jobs.db_backup",
        json!({}),
        json!({"attempts_max": 1}),
    )
    .await;
    let failed = "select count(*) from jobs.dead where error ->> 'code' = 'DUMP_FAILED'";
    until_count(&sql, failed, 1).await;
    eventually("the log says why", async || {
        process
            .log_text()
            .contains("pg_dump: error: no")
            .then_some(())
    })
    .await;
    assert!(!process.log_text().contains(PASSWORD));
    process.kill().await;
    host.stop().await;
}
