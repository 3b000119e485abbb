//! The log of writes cannot be put away, and fills the disk.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nself_compose::shell::eventually;

use super::page::{Page, when};
use crate::household::Household;

const LARGEST: &str = "nself db shell -- -c \"select oid::regclass, pg_size_pretty(pg_total_relation_size(oid)) from pg_class where \
    relkind in ('r', 'm') order by pg_total_relation_size(oid) desc limit 20\"";

pub(super) fn drill(page: &mut Page) {
    let place = tempfile::tempdir().expect("there is room");
    // PostgreSQL's account passes through.
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).expect("permissions");
    let shelf = place.path().join("backups");
    let settings = format!("[backup]\ndirectory = \"{}\"\n", shelf.display());
    let household = Household::start(&[], &settings);
    household.run(&["backup", "create"]).good("a backup");
    household.sql(
        "create table large as select repeat('x', 1000) as text from generate_series(1, 30000)",
    );
    let away = place.path().join("unmounted");
    fs::rename(&shelf, &away).expect("a folder of the test");
    let waiting = writes(&household);
    eventually("the server cannot put it away", || {
        let failed = household.sql("select failed_count from pg_stat_archiver");
        when(failed != "0", failed)
    });

    let used = page
        .types(&household, "du -xhd1 .nself", &[])
        .good("what is used");
    assert!(used.contains(".nself/secrets"), "{used}");
    let cluster = page
        .types(&household, "readlink -f .nself/pg", &[])
        .good("where it is");
    assert!(
        household
            .cluster()
            .canonicalize()
            .is_ok_and(|data| data.starts_with(cluster.trim()))
    );
    let said = page
        .types(&household, "nself doctor", &[])
        .good("no failure yet");
    assert!(said.contains("backups: none that was tried"), "{said}");
    let log = page
        .types(&household, "tail .nself/pg/postgres.log", &[])
        .good("its log");
    assert!(log.contains("archive command failed"), "{log}");
    fs::rename(&away, &shelf).expect("a folder of the test");
    let last = writes(&household);
    for segment in [&waiting, &last] {
        let kept = shelf.join(format!("wal/{segment}.gz"));
        eventually("it is put away", || when(kept.exists(), segment.as_str()));
    }

    let largest = page
        .types(&household, LARGEST, &[])
        .good("the largest tables");
    let first = largest.lines().nth(2).unwrap_or_default();
    assert!(first.contains("large"), "{largest}");
    the_audit_log_stays(page, &household);
}

/// Fills a segment of the log of writes; its name.
fn writes(household: &Household) -> String {
    household.sql("create table written (); drop table written");
    household.sql("select pg_walfile_name(pg_switch_wal())")
}

/// Of a log that began this month nothing may leave.
fn the_audit_log_stays(page: &mut Page, household: &Household) {
    let command = "nself audit archive --before MONTH";
    let month = household.sql("select to_char(now() at time zone 'UTC', 'YYYY-MM')");
    let archived = page.confirms(household, command, &[("MONTH", &month)]);
    let archived = archived.good("old months leave");
    assert!(archived.contains("nothing to put away"), "{archived}");
    household.run(&["audit", "verify"]).good("the log is whole");
}
