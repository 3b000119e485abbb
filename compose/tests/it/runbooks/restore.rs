//! There is no backup; then there is one, and data is lost.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nself_compose::shell::{answer, command, eventually};
use serde_json::json;

use super::page::{Page, cell, when};
use crate::household::Household;

const ELSEWHERE: &str = "[backup]\ndirectory = \"/dev/null/backups\"\n";

pub(super) fn drill(page: &mut Page) {
    let household = Household::start(&["jobs"], ELSEWHERE);
    household.sql("create table notes as select n as id from generate_series(1, 100) n");
    there_is_no_backup(page, &household);
    household.forget("[backup]");
    household.run(&["stop"]).good("it stops");
    household.run(&["up", "--detach"]).good("it starts");
    household.run(&["backup", "create"]).good("a backup");
    let verified = page
        .types(&household, "nself backup verify", &[])
        .good("the drill");
    assert!(verified.contains("rows"), "{verified}");
    the_mistake_is_undone(page, &household);
    another_machine_has_it_all(page, &household);
}

fn there_is_no_backup(page: &mut Page, household: &Household) {
    let job = json!({"kind": "jobs.base_backup", "options": {"attempts_max": 1}});
    let made = household.posts("/v1/jobs", &household.operator(), &job);
    let id = made.data()["id"].to_string();
    eventually("it fails", || {
        let job = household.data(&["jobs", "show", &id]);
        when(job["state"] == "discarded", job.to_string())
    });
    let by_hand = page.types(household, "nself backup create", &[]);
    assert!(
        !by_hand.success && by_hand.err.contains("/dev/null/backups"),
        "{by_hand:?}"
    );
    let list = "nself jobs list --kind jobs.base_backup";
    let listed = page.types(household, list, &[]).good("the jobs");
    let id = cell(&listed, &["discarded"], "ID");
    let shown = page
        .types(household, "nself jobs show ID", &[("ID", &id)])
        .good("the job");
    assert!(shown.contains("BACKUP_FILE"), "{shown}");
}

fn the_mistake_is_undone(page: &mut Page, household: &Household) {
    household
        .run(&["jobs", "pause", "default"])
        .good("somebody did that");
    let moment = household.sql(
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    );
    household.sql("delete from notes");
    let done = page
        .types(household, "nself audit list", &[])
        .good("who did what");
    assert!(done.contains("jobs.queue_paused"), "{done}");
    page.types(household, "nself stop", &[]).good("it stops");
    let restore = "nself backup restore --to 2030-03-31T02:29:00Z";
    let told = page.confirms(household, restore, &[("2030-03-31T02:29:00Z", &moment)]);
    let told = told.good("the data is put back");
    assert!(
        told.contains(".before-"),
        "it says where the data from before is: {told}"
    );
    page.types(household, "nself up --detach", &[])
        .good("it starts");
    page.types(household, "nself doctor", &[])
        .good("nothing is wrong");
    page.types(household, "nself audit verify", &[])
        .good("the log is whole");
    assert_eq!(household.sql("select count(*) from notes"), "100");
}

fn another_machine_has_it_all(page: &mut Page, lost: &Household) {
    lost.run(&["backup", "create"]).good("a backup");
    lost.sql("insert into notes values (101)");
    let segment = lost.sql("select pg_walfile_name(pg_switch_wal())");
    let shelf = lost.data(&["backup", "list"])["directory"].clone();
    let shelf = shelf.as_str().expect("a folder").to_owned();
    eventually("its last writes are kept", || {
        fs::metadata(format!("{shelf}/wal/{segment}.gz")).map_err(|error| error.to_string())
    });
    let place = tempfile::tempdir().expect("there is room");
    // PostgreSQL's account passes through.
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).expect("permissions");
    let brought = place.path().join("brought");
    answer(command("cp").arg("-R").arg(&shelf).arg(&brought)).good("cp");

    let new = Household::make(&[], "");
    page.types(&new, "nself init", &[]).good("a project");
    new.configure(&format!(
        "[backup]\ndirectory = \"{}\"\n",
        brought.display()
    ));
    new.run(&["backup", "restore", "--yes"])
        .good("the data is put back");
    new.run(&["up", "--detach"]).good("it starts");
    assert_eq!(new.sql("select count(*) from notes"), "101");
}
