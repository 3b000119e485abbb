//! Fuzz targets: files in the plugin directory, before anybody vouches for them.

use std::path::Path;

use super::{Host, Refusal, System, Trust, declared, elf, refusal::ElfFault};

/// The manifest is a part of the file, and the same one for whoever looks on another machine.
pub(crate) fn elf(data: &[u8]) {
    let anywhere = elf::manifest(data);
    match elf::inspect(data) {
        Ok(library) => {
            assert_eq!(anywhere.ok(), Some(library.manifest));
            let (file, found) = (data.as_ptr_range(), library.manifest.as_bytes());
            let found = found.as_ptr_range();
            assert!(file.start <= found.start && found.end <= file.end);
        }
        Err(fault) => refused(fault),
    }
}

fn refused(fault: ElfFault) {
    let file = Path::new("notes.so").to_owned();
    check_line(&Refusal::Elf { file, fault });
}

/// Names go into paths and into SQL, and a refusal is one line, whatever the file says.
pub(crate) fn manifest(data: &[u8]) {
    let Ok(json) = str::from_utf8(data) else {
        return;
    };
    let (system, trust) = (System::default(), Trust::default());
    match declared::read(json, Path::new("notes.so"), &Host::this(&system, &trust)) {
        Ok(manifest) => {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let is_name = |byte: u8| is_plain(byte) || matches!(byte, b'-' | b'_');
            assert!((1..=40).contains(&manifest.id.len()));
            assert!(manifest.id.bytes().all(is_name), "{:?}", manifest.id);
        }
        Err(refusal) => check_line(&refusal),
    }
}

fn check_line(refusal: &Refusal) {
    let line = refusal.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
}
