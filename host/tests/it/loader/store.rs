//! The private copies: complete, unchanged, and nobody else's to write.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nself::loader::{CheckedPlugin, Sha256, keep};

use super::fixture::{check, good, is_root, set_mode};

fn checked() -> CheckedPlugin {
    let (_directory, path) = good();
    check(&path).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_copy_is_named_by_its_content_and_private() {
    let (home, plugin) = (tempfile::tempdir().unwrap(), checked());
    let store = home.path().join("a/store");
    let kept = keep(&store, &plugin).unwrap();
    let name = format!("notes-1.2.3-{}.so", plugin.sha256.short());
    assert_eq!(kept.path(), store.join(&name));
    assert_eq!(fs::read(kept.path()).unwrap(), plugin.bytes);
    assert_eq!(fs::metadata(&store).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(kept.path()).unwrap().mode() & 0o7777, 0o500);
    assert_eq!(names(&store), [name]);
    assert!(!kept.repaired());
}

#[test]
fn a_copy_that_is_there_is_used_again() {
    let (home, plugin) = (tempfile::tempdir().unwrap(), checked());
    set_mode(home.path(), 0o700);
    let first = keep(home.path(), &plugin).unwrap();
    let inode = fs::metadata(first.path()).unwrap().ino();
    let second = keep(home.path(), &plugin).unwrap();
    assert_eq!(first, second);
    assert_eq!(fs::metadata(second.path()).unwrap().ino(), inode);
}

#[test]
fn a_copy_that_somebody_changed_is_replaced() {
    let (home, plugin) = (tempfile::tempdir().unwrap(), checked());
    set_mode(home.path(), 0o700);
    let path = keep(home.path(), &plugin).unwrap().path().to_owned();
    let elsewhere = home.path().join("elsewhere");
    let tamper: [&dyn Fn(); 4] = [
        &|| {
            set_mode(&path, 0o700);
            fs::write(&path, b"other").unwrap();
        },
        &|| {
            let mut bytes = plugin.bytes.clone();
            *bytes.last_mut().unwrap() ^= 1;
            set_mode(&path, 0o700);
            fs::write(&path, bytes).unwrap();
        },
        &|| set_mode(&path, 0o777),
        &|| {
            fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
        },
    ];
    for change in tamper {
        change();
        let kept = keep(home.path(), &plugin).unwrap();
        assert!(kept.repaired());
        assert_eq!(Sha256::of(&fs::read(&path).unwrap()), plugin.sha256);
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o500);
    }
}

#[test]
fn a_store_that_others_can_enter_is_refused() {
    let (home, plugin) = (tempfile::tempdir().unwrap(), checked());
    set_mode(home.path(), 0o755);
    let refusal = keep(home.path(), &plugin).unwrap_err().to_string();
    assert!(
        refusal.contains("notes 1.2.3 cannot be kept in"),
        "{refusal}"
    );
    assert!(
        refusal.contains("mode 0755") && refusal.contains("chmod 700"),
        "{refusal}"
    );
    assert!(names(home.path()).is_empty());
}

#[test]
fn what_a_killed_host_left_behind_is_removed_once_it_is_old() {
    let (home, plugin) = (tempfile::tempdir().unwrap(), checked());
    set_mode(home.path(), 0o700);
    let hours_ago = SystemTime::now() - Duration::from_secs(2 * 3600);
    fs::File::create(home.path().join(".incoming-old"))
        .unwrap()
        .set_modified(hours_ago)
        .unwrap();
    fs::File::create(home.path().join(".incoming-new")).unwrap();
    keep(home.path(), &plugin).unwrap();
    let names = names(home.path());
    assert!(
        names.contains(&".incoming-new".to_owned()),
        "another host may be at it: {names:?}"
    );
    assert!(!names.contains(&".incoming-old".to_owned()), "{names:?}");
}

/// A file system of a given size, gone with this value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path());
        let mounted = is_root() && mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left_behind() {
    let Some(disk) = SmallDisk::mount("32k") else {
        eprintln!("skipped: mounting a small file system needs root and the right to mount");
        return;
    };
    let plugin = checked();
    let refusal = keep(disk.0.path(), &plugin).unwrap_err().to_string();
    let bytes = format!("no space is left for its {} bytes", plugin.bytes.len());
    assert!(
        refusal.contains(&bytes) && refusal.contains("free some"),
        "{refusal}"
    );
    assert_eq!(names(disk.0.path()), Vec::<String>::new());
}
