//! Files that are not what a plugin must be, each with its own reason.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::fixture::{Source, assert_refused, check, compile, good_bytes, manifest, put, refusal};

/// A plugin that differs from the good one in what `change` does to its bytes.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = good_bytes().to_vec();
    change(&mut bytes);
    let path = put(directory.path(), "changed.so", &bytes);
    (directory, path)
}

#[track_caller]
fn assert_change_refused(change: impl FnOnce(&mut Vec<u8>), expected: &[&str]) {
    let (_directory, path) = changed(change);
    assert_refused(&path, expected);
}

#[track_caller]
fn assert_build_refused(source: Source, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    assert_refused(&source.build(directory.path(), "built.so"), expected);
}

fn replace_all(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..bytes.len())
        .filter(|&start| bytes[start..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "nothing to replace");
    for start in places {
        bytes[start..start + to.len()].copy_from_slice(to);
    }
}

#[test]
fn what_is_no_elf_file() {
    assert_change_refused(
        |bytes| *bytes = b"#!/bin/sh\necho hello\n".to_vec(),
        &["is not an ELF library", "cdylib"],
    );
    assert_change_refused(
        |bytes| *bytes = b"\x7fEL".to_vec(),
        &["is not an ELF library"],
    );
    assert_change_refused(|bytes| *bytes = vec![0; 64], &["is not an ELF library"]);
}

#[test]
fn what_is_cut_short() {
    let cut = |length: usize| move |bytes: &mut Vec<u8>| bytes.truncate(length);
    let length = good_bytes().len();
    assert_change_refused(cut(20), &["is truncated", "copy it again"]);
    assert_change_refused(cut(64), &["is truncated"]);
    assert_change_refused(cut(length / 2), &["is truncated"]);
    assert_change_refused(cut(length - 1), &["is truncated"]);
}

#[test]
fn what_is_for_another_machine() {
    let host = std::env::consts::ARCH;
    let other: (u16, &str) = if host == "aarch64" {
        (62, "x86_64")
    } else {
        (183, "aarch64")
    };
    let build = format!("build it for {host}");
    assert_change_refused(
        |bytes| bytes[18..20].copy_from_slice(&other.0.to_le_bytes()),
        &["changed.so: is built for", other.1, &build],
    );
    assert_change_refused(|bytes| bytes[18] = 0xEE, &["ELF machine"]);
    assert_change_refused(|bytes| bytes[4] = 1, &["is not a 64-bit library", &build]);
    assert_change_refused(
        |bytes| bytes[5] = 2,
        &["is not a little-endian library", &build],
    );
}

#[test]
fn what_is_no_library() {
    let directory = tempfile::tempdir().unwrap();
    let build = |kind: &[&str], code: &str| {
        Source::good()
            .code(code)
            .build_as(directory.path(), "p.so", kind)
    };
    let main = "int main(void) { return 0; }";
    assert_refused(
        &build(&["-fPIC", "-pie"], main),
        &["is a program, not a shared library"],
    );
    assert_refused(&build(&["-no-pie"], main), &["is a program"]);
    assert_refused(&build(&["-fPIC", "-c"], ""), &["is an object file"]);
}

#[test]
fn what_would_weaken_the_process() {
    assert_build_refused(
        Source::good().flags(&["-Wl,-z,execstack"]),
        &["executable stack", "noexecstack"],
    );
    assert_build_refused(
        Source::good()
            .code("int code(void) { return 1; }")
            .flags(&["-Wl,-N", "-nostdlib"]),
        &["writable and executable"],
    );
    if cfg!(target_arch = "x86_64") {
        let patched = "__asm__(\".text\\n.quad nself_plugin_entry\");";
        assert_build_refused(
            Source::good()
                .code(patched)
                .flags(&["-Wl,-z,notext", "-Wl,-Bsymbolic"]),
            &["relocations in its code", "position-independent"],
        );
    }
}

#[test]
fn what_lost_its_section_table() {
    let drop = |bytes: &mut Vec<u8>| {
        bytes[40..48].fill(0);
        bytes[60..64].fill(0);
    };
    assert_change_refused(drop, &["no table of sections"]);
}

#[test]
fn what_has_no_readable_manifest() {
    let good = manifest().to_string().into_bytes();
    let with = |notes: &[&[u8]]| Source::good().notes(notes);
    assert_build_refused(with(&[]), &["has no nself manifest", "is it a plugin?"]);
    assert_build_refused(with(&[&good, &good]), &["there are two of them"]);
    assert_build_refused(with(&[b"\xff\xfe{}"]), &["it is not UTF-8"]);
    assert_build_refused(with(&[b"{\"schema\": 1"]), &["unreadable nself manifest"]);
    assert_build_refused(with(&[b""]), &["unreadable nself manifest"]);
    assert_build_refused(
        with(&[&vec![b'['; 200_000]]),
        &["unreadable nself manifest"],
    );
    assert_build_refused(
        with(&[&vec![b' '; 8 * 1024 * 1024 + 1]]),
        &["more than 8388608 bytes"],
    );
}

#[test]
fn what_has_no_entry() {
    assert_build_refused(
        Source::good().entry(""),
        &["does not export nself_plugin_entry", "cdylib"],
    );
    assert_build_refused(
        Source::good()
            .entry("static const long nself_plugin_entry[4] __attribute__((used)) = {1};"),
        &["does not export"],
    );
    assert_build_refused(
        Source::good().entry("void nself_plugin_entry(void) {}"),
        &["exports nself_plugin_entry as a function"],
    );
}

#[test]
fn a_system_library_that_is_not_installed_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let library = Source::good()
        .flags(&["-Wl,-soname,libgone.so.7"])
        .build(directory.path(), "libgone.so");
    let at = format!("-L{}", directory.path().display());
    let build = |name| {
        Source::good()
            .flags(&["-Wl,--no-as-needed", &at, "-lgone"])
            .build(directory.path(), name)
    };
    assert_refused(
        &build("needs.so"),
        &["needs the system library libgone.so.7", "not installed"],
    );
    fs::remove_file(library).unwrap();
    let by_path = directory.path().join("nameless.so");
    compile(
        Command::new("cc")
            .args(["-shared", "-o"])
            .arg(&by_path)
            .args(["-x", "c", "/dev/null"]),
    );
    let needs = Source::good().flags(&["-Wl,--no-as-needed", by_path.to_str().unwrap()]);
    assert_refused(
        &needs.build(directory.path(), "path.so"),
        &["by its path", "link it by name"],
    );
}

#[test]
fn a_library_that_is_too_old_is_named_with_what_is_here() {
    let directory = tempfile::tempdir().unwrap();
    let code = "int puts(const char *); void hello(void) { puts(\"hello\"); }";
    let path = Source::good().code(code).build(directory.path(), "new.so");
    assert!(check(&path).is_ok());
    let mut bytes = fs::read(&path).unwrap();
    replace_all(&mut bytes, b"GLIBC_2.", b"GLIBC_9.");
    fs::write(&path, bytes).unwrap();
    let refusal = refusal(&path);
    assert!(refusal.contains("needs GLIBC_9."), "{refusal}");
    assert!(
        refusal.contains("of libc.so.6, this system has GLIBC_2."),
        "{refusal}"
    );
}

#[test]
fn tokio_and_search_paths_are_told_but_not_refused() {
    let directory = tempfile::tempdir().unwrap();
    let code = "const char t[] = \"there is no reactor running, must be called from the context of a Tokio 1.x runtime\";";
    let source = Source::good().code(code).flags(&["-Wl,-rpath,/opt/lib"]);
    let plugin = check(&source.build(directory.path(), "tokio.so")).unwrap();
    assert_eq!(plugin.warnings.len(), 2);
    assert!(
        plugin.warnings[0].contains("notes links tokio's runtime"),
        "{:?}",
        plugin.warnings
    );
    assert!(
        plugin.warnings[1].contains("search path"),
        "{:?}",
        plugin.warnings
    );
}
