//! The plugin directory: whom it may belong to, and what is taken from it.

use std::fs;
use std::path::Path;

use nself::loader::{PLUGIN_FILES_MAX, discover};
use rustix::fs::{CWD, Uid, chownat};

use super::fixture::{is_root, put, set_mode};

#[track_caller]
fn assert_closed(directory: &Path, expected: &[&str]) {
    let fault = discover(directory)
        .expect_err("the directory should be refused")
        .to_string();
    for part in expected {
        assert!(fault.contains(part), "{fault:?} should contain {part:?}");
    }
}

#[test]
fn plugins_are_listed_by_name_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["b.so", "a.so", "notes.txt", ".incoming.so", "c.so.1", "so"] {
        put(directory.path(), name, b"x");
    }
    fs::create_dir(directory.path().join("d.so")).unwrap();
    let found = discover(directory.path()).unwrap();
    let names: Vec<_> = found
        .files
        .iter()
        .map(|file| file.file_name().unwrap())
        .collect();
    // The directory d.so is listed: `check` refuses it with its reason, silence would leave the operator guessing.
    assert_eq!(names, ["a.so", "b.so", "d.so"]);
    assert!(found.refused.is_empty());
}

#[test]
fn a_directory_that_others_may_write_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o775, 0o707, 0o777, 0o1777] {
        set_mode(directory.path(), mode);
        assert_closed(
            directory.path(),
            &[
                "may be written by others",
                &format!("{mode:04o}"),
                "chmod go-w",
            ],
        );
    }
}

#[test]
fn a_directory_of_another_user_is_not_read() {
    if !is_root() {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    chownat(
        CWD,
        directory.path(),
        Some(Uid::from_raw(65534)),
        None,
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    assert_closed(
        directory.path(),
        &["belongs to user 65534", "chown it to root"],
    );
}

#[test]
fn a_directory_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    assert_closed(
        &directory.path().join("plugins"),
        &["plugins cannot be read", "create it"],
    );
    let file = put(directory.path(), "file", b"x");
    assert_closed(&file, &["cannot be read"]);
}

#[test]
fn a_directory_with_far_too_many_files_is_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..=PLUGIN_FILES_MAX {
        put(directory.path(), &format!("{number}.so"), b"");
    }
    assert_closed(directory.path(), &["more than 512 .so files"]);
}
