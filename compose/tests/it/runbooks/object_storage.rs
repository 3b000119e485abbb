//! The bucket is away while an archive is made, and comes back.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Child};

use nself_compose::shell::{answer, command, eventually, tools};
use serde_json::json;

use super::page::{Page, cell, when};
use crate::household::{Household, free_port};

pub(super) fn drill(page: &mut Page) {
    let port = free_port();
    let archives = tempfile::tempdir().expect("there is room");
    let settings = format!(
        "[database]\nbackup_directory = \"{}\"\n[database.backup_bucket]\nendpoint = \"http://127.0.0.1:{port}\"\n\
         name = \"archives\"\naccess_key = \"home\"\nsecret = \"backup-bucket\"\n",
        archives.path().display()
    );
    let household = Household::make(&["jobs"], &settings);
    let secret = household.path().join(".nself/secrets/backup-bucket");
    fs::write(&secret, "a-secret").expect("a file of the project");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("permissions");
    household.data(&["up", "--detach"]);
    let job = json!({"kind": "jobs.db_backup", "options": {"attempts_max": 1}});
    let enqueued = household.posts("/v1/jobs", &household.operator(), &job);
    assert_eq!(enqueued.status, 201, "{enqueued:?}");
    eventually("it is given up", || {
        let dead = household.data(&["jobs", "dead"]);
        when(dead["jobs"][0]["error_code"].is_string(), dead.to_string())
    });

    let list = "nself jobs list --kind jobs.db_backup";
    let listed = page.types(&household, list, &[]).good("the jobs");
    assert_eq!(cell(&listed, &["discarded"], "LAST ERROR"), "DUMP_UPLOAD");
    assert_eq!(
        archives_in(archives.path()),
        1,
        "the archive stays in its folder"
    );

    let _bucket = Bucket::start(port);
    let again = "nself jobs retry-dead --kind jobs.db_backup";
    page.confirms(&household, again, &[])
        .good("it is tried again");
    eventually("it is in the bucket", || {
        let list = format!("http://127.0.0.1:{port}/archives");
        let listed = answer(command("curl").args(["--silent", &list])).out;
        let done = household.data(&["jobs", "list", "--state", "completed"]);
        if listed.contains("<Key>") && done["jobs"][0]["kind"] == "jobs.db_backup" {
            return Ok(());
        }
        Err(listed)
    });
}

/// How many archives lie there.
fn archives_in(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("there is the folder");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "dump"))
        .count()
}

/// A server that speaks S3, with the bucket.
struct Bucket(Child);

impl Bucket {
    fn start(port: u16) -> Self {
        let python = tools().join("python/bin/python");
        let port = port.to_string();
        let mut moto = command(python);
        moto.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
        let bucket = Self(moto.spawn().expect("Python starts"));
        let url = format!("http://127.0.0.1:{port}/archives");
        eventually("the bucket is made", || {
            let made =
                answer(command("curl").args(["--silent", "--fail", "--request", "PUT", &url]));
            when(made.success, made.err)
        });
        bucket
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
