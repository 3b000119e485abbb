//! Archives that are taken, and all those that are not.

use super::*;

fn parts() -> Parts {
    let manifest = br#"{"id":"hello","version":"0.1.0"}"#;
    let files = [
        (MANIFEST, manifest.to_vec()),
        ("README.md", b"# hello\n".to_vec()),
        ("x86_64-linux/hello.so", vec![7; 1000]),
        ("x86_64-linux/hello.so.minisig", b"signature".to_vec()),
        ("riscv64-linux/hello.so", vec![8; 512]),
    ];
    Parts {
        id: "hello".to_owned(),
        version: Version::new(0, 1, 0),
        files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
    }
}

fn gzip(tape: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::fast());
    gzip.write_all(tape).expect("memory takes all");
    gzip.finish().expect("memory takes all")
}

/// A tape of these files, and of whatever else stands in `more`.
fn tape(files: &[(&str, &[u8])], more: &[u8]) -> Vec<u8> {
    let mut tape = Vec::new();
    for (name, bytes) in files {
        tape.extend(tar::head(name, bytes.len()).expect("a name"));
        tape.extend(*bytes);
        tape.extend(tar::padding(bytes.len()));
    }
    tape.extend(more);
    tape.extend(tar::END);
    tape
}

/// A head of another kind or name than this writes.
fn odd(name: &str, kind: u8) -> Vec<u8> {
    let mut head = tar::head("odd", 0).expect("a name").to_vec();
    head[..100].fill(0);
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[156] = kind;
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

#[track_caller]
fn check_refused(archive: &[u8], expected: &str) {
    let error = unpack(archive).err().expect("it is refused").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_is_packed_comes_out_and_the_same_parts_make_the_same_bytes() {
    let archive = parts()
        .archive(Some("of all".to_owned()))
        .expect("an archive");
    assert_eq!(
        archive,
        parts().archive(Some("of all".to_owned())).expect("again")
    );
    let package = unpack(&archive).expect("a package");
    assert_eq!(
        (package.id.as_str(), package.version.to_string().as_str()),
        ("hello", "0.1.0")
    );
    assert_eq!(package.files, parts().files);
    assert_eq!(package.signature.as_deref(), Some("of all"));
    assert_eq!(package.sums, parts().sums().into_bytes());
    assert_eq!(package.targets(), ["riscv64-linux", "x86_64-linux"]);
    let (library, signature) = package.library("x86_64-linux").expect("it is there");
    assert_eq!((library.len(), signature), (1000, Some(&b"signature"[..])));
    assert_eq!(
        package.library("riscv64-linux").expect("it is there").1,
        None
    );
    assert!(package.library("s390x-linux").is_none());
}

#[test]
fn links_devices_and_names_that_lead_elsewhere_are_refused() {
    for (name, kind, expected) in [
        ("hello-0.1.0/link.so", b'2', "a symbolic link"),
        ("hello-0.1.0/link.so", b'1', "a hard link"),
        ("hello-0.1.0/null", b'3', "a device"),
        ("hello-0.1.0/pipe", b'6', "a FIFO"),
        ("././@LongLink", b'L', "an extended name"),
        ("PaxHeaders/x", b'x', "an extended name"),
        ("../../etc/passwd", b'0', "leads elsewhere"),
        ("hello-0.1.0/../../x", b'0', "leads elsewhere"),
        ("/etc/passwd", b'0', "leads elsewhere"),
        ("hello-0.1.0//x", b'0', "leads elsewhere"),
        ("hello-0.1.0/a b", b'0', "leads elsewhere"),
        ("hello-0.1.0/.hidden", b'0', "leads elsewhere"),
        ("..", b'5', "a directory"),
        ("alone", b'0', "leads elsewhere"),
    ] {
        check_refused(&gzip(&tape(&[], &odd(name, kind))), expected);
    }
    assert!(tar::head("../x", 0).is_err() && tar::head(&"x".repeat(101), 0).is_err());
}

#[test]
fn what_is_cut_off_or_damaged_anywhere_is_refused() {
    let archive = parts().archive(None).expect("an archive");
    for cut in 0..archive.len() {
        assert!(unpack(&archive[..cut]).is_err(), "cut at {cut}");
    }
    for at in 10..archive.len() {
        let mut damaged = archive.clone();
        damaged[at] ^= 0x10;
        // Bits that fill up the last byte of a stream mean nothing.
        if let Ok(package) = unpack(&damaged) {
            assert_eq!(package.files, parts().files, "damaged at {at}");
        }
    }
    check_refused(&[&archive[..], b"more"].concat(), "follows its end");
    check_refused(b"no archive", "does not unpack");
}

#[test]
fn the_list_of_sums_is_of_all_that_is_there_and_of_nothing_else() {
    let root = |name: &str| format!("hello-0.1.0/{name}");
    let manifest: &[u8] = br#"{"id":"hello","version":"0.1.0"}"#;
    let files: BTreeMap<String, Vec<u8>> = [(MANIFEST.to_owned(), manifest.to_vec())].into();
    let list = sums::of(&files);
    let of = |list: &str, more: &[(&str, &[u8])]| {
        let (sums, json) = (root(SUMS), root(MANIFEST));
        let mut all = vec![(sums.as_str(), list.as_bytes()), (json.as_str(), manifest)];
        all.extend(more);
        gzip(&tape(&all, &[]))
    };
    assert!(unpack(&of(&list, &[])).is_ok());
    check_refused(
        &of(&list, &[("hello-0.1.0/x", b"x")]),
        "\"x\" is not in SHA256SUMS",
    );
    let absent = format!("{list}{}  gone\n", "0".repeat(64));
    check_refused(&of(&absent, &[]), "\"gone\" of SHA256SUMS is not there");
    let wrong = format!("{}  {MANIFEST}\n", "0".repeat(64));
    check_refused(&of(&wrong, &[]), "is not what SHA256SUMS says");
    check_refused(&of("no sum", &[]), "line 1 of its SHA256SUMS");
    check_refused(&of(&format!("{list}{list}"), &[]), "twice");
    check_refused(
        &of(&list, &[("hello-0.1.0/manifest.json", manifest)]),
        "twice",
    );
    check_refused(
        &of(&list, &[("other-0.1.0/y", b"y")]),
        "is not in SHA256SUMS",
    );
    check_refused(&gzip(&tape(&[], &[])), "has no SHA256SUMS");
}

#[test]
fn an_archive_is_of_one_plugin_in_one_directory() {
    let mut parts = parts();
    parts.id = "other".to_owned();
    let archive = parts.archive(None).expect("an archive");
    check_refused(
        &archive,
        "\"other-0.1.0\", and its manifest says \"hello-0.1.0\"",
    );
    parts.files.insert(MANIFEST.to_owned(), b"{}".to_vec());
    check_refused(
        &parts.archive(None).expect("an archive"),
        "manifest.json does not read",
    );
    parts.files.remove(MANIFEST);
    check_refused(
        &parts.archive(None).expect("an archive"),
        "has no manifest.json",
    );
}

#[test]
fn a_bomb_is_told_before_it_is_whole() {
    let mut bomb = GzBuilder::new().write(Vec::new(), Compression::fast());
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..=UNPACKED_BYTES_MAX / (1024 * 1024) {
        bomb.write_all(&zeros).expect("memory takes all");
    }
    let bomb = bomb.finish().expect("memory takes all");
    assert!(bomb.len() < 4 * 1024 * 1024);
    check_refused(&bomb, "unpacks to more than 268435456 bytes");
    let files: Vec<String> = (0..65).map(|number| format!("a/{number}")).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|name| (name.as_str(), &b""[..])).collect();
    check_refused(&gzip(&tape(&files, &[])), "more than 64 files");
}
