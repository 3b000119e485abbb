//! Kinds, owners and modes of files: the matrix before anybody looks inside.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nself::loader::PLUGIN_BYTES_MAX;
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, chownat, mknodat};

use super::fixture::{assert_refused, check, good, good_bytes, is_root, put, set_mode};

#[test]
fn a_good_plugin_passes_without_warnings() {
    let (_directory, path) = good();
    let plugin = check(&path).unwrap();
    assert_eq!(plugin.manifest.id, "notes");
    assert_eq!(plugin.manifest.version.to_string(), "1.2.3");
    assert_eq!(plugin.bytes, good_bytes());
    assert_eq!(plugin.warnings, Vec::<String>::new());
}

#[test]
fn a_hard_link_is_as_good_as_the_file() {
    let (directory, path) = good();
    let link = directory.path().join("again.so");
    fs::hard_link(path, &link).unwrap();
    assert!(check(&link).is_ok());
}

#[test]
fn a_fifo_is_refused_without_waiting_for_its_writer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe.so");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let start = Instant::now();
    assert_refused(&path, &["pipe.so", "is a FIFO, not a regular file"]);
    // A limit for "does not hang", not a measurement.
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn other_kinds_of_files_are_refused() {
    let (directory, path) = good();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("folder.so")).unwrap();
    assert_refused(&at("folder.so"), &["folder.so", "is a directory"]);
    symlink(path, at("link.so")).unwrap();
    assert_refused(
        &at("link.so"),
        &["link.so", "is a symbolic link", "put the file itself"],
    );
    symlink("nowhere", at("dangling.so")).unwrap();
    assert_refused(&at("dangling.so"), &["is a symbolic link"]);
    let _listener = UnixListener::bind(at("socket.so")).unwrap();
    assert_refused(&at("socket.so"), &["is a socket"]);
    assert_refused(&at("absent.so"), &["absent.so", "cannot be opened"]);
}

#[test]
fn files_that_others_may_write_are_refused() {
    let (_directory, path) = good();
    for mode in [0o664, 0o646, 0o666, 0o777] {
        set_mode(&path, mode);
        assert_refused(
            &path,
            &[
                "may be written by others",
                &format!("{mode:04o}"),
                "chmod go-w",
            ],
        );
    }
    set_mode(&path, 0o444);
    assert!(check(&path).is_ok());
}

#[test]
fn files_of_other_users_are_refused() {
    if !is_root() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let (_directory, path) = good();
    chownat(
        CWD,
        &path,
        Some(Uid::from_raw(65534)),
        Some(Gid::ROOT),
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    assert_refused(&path, &["belongs to user 65534", "chown it to root"]);
}

#[test]
fn sizes_have_limits() {
    let directory = tempfile::tempdir().unwrap();
    let path = put(directory.path(), "empty.so", b"");
    assert_refused(&path, &["empty.so", "is empty"]);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(PLUGIN_BYTES_MAX + 1)
        .unwrap();
    assert_refused(&path, &["67108865 bytes", "67108864"]);
}

#[test]
fn a_file_name_cannot_break_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = put(directory.path(), "a\nplugin ok\u{1b}[2J.so", b"");
    assert_refused(&path, &["a\\nplugin ok\\u{1b}[2J.so"]);
}
