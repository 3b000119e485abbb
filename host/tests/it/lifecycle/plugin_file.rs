//! Plugin files for these tests: the real ones, and the bad one with another manifest inside.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The bytes that `cargo` makes of the plugin `id`, built once per process so that they are never older than their source.
fn built(id: &str) -> Vec<u8> {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let mut command = Command::new(env!("CARGO"));
        // With the features of the whole workspace: a part of it would be compiled anew.
        command.args(["build", "--quiet", "--locked", "--workspace", "--lib"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = command.status().unwrap();
        assert!(built.success(), "the plugins of the tests do not build");
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_nself"));
        binary.parent().unwrap().to_owned()
    });
    std::fs::read(directory.join(format!("libnself_plugin_{id}.so"))).unwrap()
}

/// The plugin `hello` as it is.
pub(crate) fn hello() -> Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| built("hello")).clone()
}

/// The bad plugin in the version `version`; what follows a hyphen in it is the fault of its lifecycle.
pub(crate) fn bad(version: &str) -> Vec<u8> {
    changed(|manifest| manifest["version"] = version.into())
}

/// The bad plugin under the name `id`, with routes and a capability of that name.
pub(crate) fn namesake(id: &str) -> Vec<u8> {
    changed(|manifest| rename(manifest, id))
}

/// Makes the manifest that of a plugin `id` that clashes with no other.
pub(crate) fn rename(manifest: &mut Value, id: &str) {
    manifest["id"] = id.into();
    manifest["provides"] = serde_json::json!([format!("{id}.echo/1")]);
    for route in manifest["routes"].as_array_mut().unwrap() {
        let path = route["path"].as_str().unwrap();
        route["path"] = path.replacen("/bad/", &format!("/{id}/"), 1).into();
    }
}

/// A plugin that calls `bad.echo/1` where it is provided, and needs nobody.
pub(crate) fn caller() -> Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = FILE.get_or_init(|| built("fixture_caller")).clone();
    with_manifest(bytes, |manifest| {
        manifest["requires"]["capabilities"] = serde_json::json!([]);
        manifest["requires"]["optional"] = serde_json::json!(["bad.echo/1"]);
    })
}

/// The bad plugin with another manifest: the code is the same, what the host knows of it before it runs is not.
pub(crate) fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = FILE.get_or_init(|| built("bad")).clone();
    with_manifest(bytes, |manifest| {
        // Room for what is written into it.
        manifest["description"] = "Everything that a plugin can do wrong".into();
        change(manifest);
    })
}

fn with_manifest(mut bytes: Vec<u8>, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let place = manifest_of(&bytes);
    let mut manifest: Value = serde_json::from_slice(&bytes[place.clone()]).unwrap();
    change(&mut manifest);
    let mut text = serde_json::to_vec(&manifest).unwrap();
    assert!(text.len() <= place.len(), "the manifest has no room left");
    text.resize(place.len(), b' ');
    bytes[place].copy_from_slice(&text);
    bytes
}

/// Where the manifest stands: after the header of its ELF note.
fn manifest_of(bytes: &[u8]) -> std::ops::Range<usize> {
    let header = b"\x01\0\0\0nself\0\0\0";
    let at = bytes
        .windows(header.len())
        .position(|window| window == header)
        .expect("the file has a note");
    let size = u32::from_le_bytes(bytes[at - 4..at].try_into().unwrap());
    let start = at + header.len();
    start..start + usize::try_from(size).unwrap()
}
