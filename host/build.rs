//! Packs the program's relocations (`DT_RELR`): 1.3 MB of it become some twenty kilobytes, which need neither be loaded nor read when
//! it starts. Programs with them are started by glibc from 2.36 on, so an older one gets the usual form.

use std::{env, process::Command};

/// The first glibc that reads packed relocations.
const GLIBC_MIN: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_native = env::var("HOST").ok() == env::var("TARGET").ok();
    let is_known = env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu");
    if is_native && is_known && glibc().is_some_and(|version| version >= GLIBC_MIN) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc, as `getconf` tells it: "glibc 2.36".
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = String::from_utf8(told.ok()?.stdout).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
