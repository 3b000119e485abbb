//! Whatever happens to a file on its way, the host survives it and does not run it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nself::loader::{Sha256, keep};
use nself::plugin::lock::Lock;

use super::fixture::{Source, check, good, good_bytes, manifest, memory_directory, put};

/// A small generator with a fixed seed: a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// A lock that has accepted the good plugin.
fn lock_of_good() -> Lock {
    let (_directory, path) = good();
    let plugin = check(&path).unwrap();
    let mut lock = Lock::default();
    lock.accept(&plugin.manifest, plugin.sha256, None);
    lock
}

#[test]
fn one_flipped_bit_anywhere_is_always_refused() {
    let (directory, lock) = (memory_directory(), lock_of_good());
    let mut random = Random(0x6e73_656c_6621);
    let (mut by_check, mut by_lock) = (0, 0);
    for _ in 0..1000 {
        let mut bytes = good_bytes().to_vec();
        let place = random.below(bytes.len());
        bytes[place] ^= 1 << random.below(8);
        match check(&put(directory.path(), "flipped.so", &bytes)) {
            Err(_) => by_check += 1,
            // A flip in the id makes another plugin of it, which nobody accepted.
            Ok(plugin) if plugin.manifest.id != "notes" => by_lock += 1,
            Ok(plugin) => {
                let refusal = lock
                    .admit(&plugin.manifest, &plugin.sha256)
                    .unwrap_err()
                    .to_string();
                assert!(refusal.contains(&plugin.sha256.to_string()), "{refusal}");
                by_lock += 1;
            }
        }
    }
    assert_eq!(by_check + by_lock, 1000);
}

#[test]
fn flipped_bits_in_headers_and_tables_never_panic() {
    let directory = memory_directory();
    let mut random = Random(42);
    let length = good_bytes().len();
    // Headers, dynamic tables and the note lie at both ends of the file; the middle is padding.
    for round in 0..4000 {
        let mut bytes = good_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let near = random.below(4096.min(length));
            let place = if round % 2 == 0 {
                near
            } else {
                length - 1 - near
            };
            bytes[place] = u8::try_from(random.below(256)).unwrap();
        }
        let _ = check(&put(directory.path(), "flipped.so", &bytes));
    }
}

#[test]
fn a_file_cut_anywhere_is_always_refused() {
    let directory = memory_directory();
    let length = good_bytes().len();
    let pages = (0..length).step_by(4096);
    let odd = (1..length).step_by(997);
    let ends = (length - 300)..length;
    for cut in pages.chain(odd).chain(ends).chain(0..300) {
        let path = put(directory.path(), "cut.so", &good_bytes()[..cut]);
        assert!(check(&path).is_err(), "cut at {cut} of {length}");
    }
}

#[test]
fn a_manifest_with_any_damage_never_panics() {
    let directory = memory_directory();
    let text = manifest().to_string();
    let start = memchr::memmem::find(good_bytes(), text.as_bytes()).unwrap();
    for offset in 0..text.len() {
        for byte in [0, b'"', b'{', b'9', 0xff] {
            let mut bytes = good_bytes().to_vec();
            bytes[start + offset] = byte;
            let _ = check(&put(directory.path(), "notes.so", &bytes));
        }
    }
}

#[test]
fn swapping_files_while_they_are_loaded_never_mixes_them() {
    let directory = memory_directory();
    let path = put(directory.path(), "notes.so", good_bytes());
    let other = Source::good()
        .code("const int other = 7;")
        .build(directory.path(), "other.so");
    let contents = [good_bytes().to_vec(), fs::read(other).unwrap()];
    let known = contents.each_ref().map(|bytes| Sha256::of(bytes));
    let done = AtomicBool::new(false);
    let mut admitted = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            // The worst of both ways: overwrite in place, and rename over.
            for round in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                fs::write(&path, &contents[round % 2]).unwrap();
                let new = put(directory.path(), ".new", &contents[(round + 1) % 2]);
                fs::rename(new, &path).unwrap();
            }
        });
        for _ in 0..2000 {
            // A file that is half one and half the other may pass the shape checks; its hash then is a third one,
            // which no lock has accepted.
            let Ok(plugin) = check(&path) else { continue };
            assert_eq!(Sha256::of(&plugin.bytes), plugin.sha256);
            if !known.contains(&plugin.sha256) {
                continue;
            }
            let kept = keep(&directory.path().join("store"), &plugin).unwrap();
            assert_eq!(Sha256::of(&fs::read(kept.path()).unwrap()), plugin.sha256);
            admitted += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(admitted > 0, "no attempt met a whole file");
}
