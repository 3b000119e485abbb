//! Which zone data is used.

use std::{fs, path::Path};

use nself_plugin_scheduler::Zones;

/// A directory with a zone that the bundled data knows under another offset.
fn directory(version: Option<&str>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let europe = directory.path().join("Europe");
    fs::create_dir(&europe).expect("a folder");
    // Version 1 of TZif with no transition and one local time type: UTC+5:00, "XXX".
    let mut file = b"TZif\0".to_vec();
    file.extend([0; 15]);
    for count in [0_u32, 0, 0, 0, 1, 4] {
        file.extend(count.to_be_bytes());
    }
    file.extend(18_000_i32.to_be_bytes());
    file.extend([0, 0]);
    file.extend(b"XXX\0");
    fs::write(europe.join("Berlin"), file).expect("a zone");
    if let Some(version) = version {
        let text = format!("# version {version}\n# a comment\n");
        fs::write(directory.path().join("tzdata.zi"), text).expect("a version");
    }
    directory
}

#[track_caller]
fn check(version: Option<&str>, from_system: bool) {
    let directory = directory(version);
    let zones = Zones::of_system(directory.path());
    let berlin = zones.get("Europe/Berlin").expect("both have it");
    let offset = berlin
        .tz()
        .to_offset(nself_plugin_api::jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(offset.seconds() == 18_000, from_system, "{version:?}");
    assert!(
        zones.get("America/New_York").is_ok(),
        "what the one lacks the other has"
    );
    let expected = if from_system { version } else { None };
    let bundled = Zones::bundled();
    assert_eq!(zones.version(), expected.unwrap_or(bundled.version()));
}

#[test]
fn files_of_the_system_are_used_where_they_are_newer() {
    check(Some("2999a"), true);
    check(Some("2001a"), false);
    check(None, false);
}

#[test]
fn without_files_the_bundled_data_is_used() {
    let zones = Zones::of_system(Path::new("/nowhere/at/all"));
    assert_eq!(zones.version(), Zones::bundled().version());
    assert!(zones.get("Europe/Berlin").is_ok());
}
