//! Plugins of others: whose file it is, and how it gets here. The binary and the plugin files are the real ones, the catalogues are
//! served over HTTP, and Debian's minisign is the judge of what we sign.

mod archives;
mod catalogues;
mod interop;
mod running;
mod signatures;
mod web;

use std::fs;
use std::path::PathBuf;

use super::lifecycle::project::Project;

/// A project without a database: nothing runs in it.
fn project(settings: &str) -> Project {
    Project::embedded(settings)
}

/// Makes a key without a password; its public half.
fn keygen(project: &Project, name: &str) -> String {
    let made = project.nself(&["plugin", "keygen", name, "--no-password", "--json"]);
    made.done().data()["key"].as_str().unwrap().to_owned()
}

/// `[plugins]` with this policy and these keys.
fn settings(policy: &str, keys: &[&str]) -> String {
    format!("[plugins]\nsignatures = {policy:?}\ntrust = {keys:?}\n")
}

/// Signs a file of the project's directory with `name`'s key.
fn sign(project: &Project, file: &str, name: &str) {
    let key = format!("{name}.key");
    project
        .nself(&["plugin", "sign", file, "--key", &key])
        .done();
}

/// Writes a file into the project's directory.
fn write(project: &Project, name: &str, bytes: &[u8]) -> PathBuf {
    let path = project.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Packs a plugin file, signed with `name`'s key if it is named; the archive.
fn pack(project: &Project, bytes: &[u8], name: Option<&str>) -> PathBuf {
    write(project, "packed/built.so", bytes);
    let key = name.map(|name| format!("{name}.key"));
    let mut arguments = vec!["plugin", "pack", "packed/built.so", "--json"];
    arguments.extend(key.iter().flat_map(|key| ["--key", key]));
    let packed = project.nself(&arguments).done().data();
    project.path().join(packed["file"].as_str().unwrap())
}
