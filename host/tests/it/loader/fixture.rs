//! Small plugin libraries, built by the C compiler that Rust links with anyway.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nself::loader::{self, CheckedPlugin, Host, HostAbi, Refusal, System, Trust};
use serde_json::{Value, json};

/// The capabilities of the host that these tests pretend to be.
pub(super) const CAPABILITIES: &[&str] = &["nself.db/1", "nself.log/1"];

/// Checks a file against a host of version 0.6.2 that speaks ABI 1.2.
pub(super) fn check(path: &Path) -> Result<CheckedPlugin, Refusal> {
    static SYSTEM: OnceLock<System> = OnceLock::new();
    let system = SYSTEM.get_or_init(System::detect);
    let abi = HostAbi { major: 1, minor: 2 };
    loader::check(
        path,
        &Host {
            version: "0.6.2",
            abi,
            capabilities: CAPABILITIES,
            system,
            trust: Trust::NONE,
        },
    )
}

/// The one line that a refused file gets.
#[track_caller]
pub(super) fn refusal(path: &Path) -> String {
    let refusal = check(path)
        .expect_err("the file should be refused")
        .to_string();
    assert!(!refusal.contains('\n'), "more than one line: {refusal}");
    refusal
}

/// Checks that a file is refused in words that contain all of `expected`.
#[track_caller]
pub(super) fn assert_refused(path: &Path, expected: &[&str]) {
    let refusal = refusal(path);
    for part in expected {
        assert!(
            refusal.contains(part),
            "{refusal:?} should contain {part:?}"
        );
    }
}

/// A manifest that nothing is wrong with.
pub(crate) fn manifest() -> Value {
    json!({
        "schema": 1,
        "id": "notes",
        "version": "1.2.3",
        "description": "Notes of a family",
        "abi": { "major": 1, "needs": 0 },
        "build": {
            "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            "panic": "unwind",
            "api": "0.1.0",
        },
        "config": { "type": "object" },
    })
}

/// A library in the making.
pub(super) struct Source {
    notes: Vec<Vec<u8>>,
    entry: &'static str,
    code: String,
    flags: Vec<String>,
}

/// Something that other parts of the file can be cut from: a few pages of data.
const PADDING: &str = "const unsigned char padding[65536] = {1, 2, 3};";
const ENTRY: &str = "const long nself_plugin_entry[4] = {1, 2, 3, 4};";

impl Source {
    pub(super) fn good() -> Self {
        Self::with(&manifest())
    }

    pub(super) fn with(manifest: &Value) -> Self {
        let notes = vec![manifest.to_string().into_bytes()];
        Self {
            notes,
            entry: ENTRY,
            code: PADDING.to_owned(),
            flags: vec![],
        }
    }

    /// The texts of the manifest notes, usually one.
    pub(super) fn notes(mut self, notes: &[&[u8]]) -> Self {
        self.notes = notes.iter().map(|note| note.to_vec()).collect();
        self
    }

    pub(super) fn entry(mut self, entry: &'static str) -> Self {
        self.entry = entry;
        self
    }

    pub(super) fn code(mut self, code: &str) -> Self {
        self.code.push('\n');
        self.code.push_str(code);
        self
    }

    pub(super) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Builds a library of this name.
    pub(super) fn build(self, directory: &Path, name: &str) -> PathBuf {
        self.build_as(directory, name, &["-shared", "-fPIC"])
    }

    /// Builds whatever `kind` tells the compiler.
    pub(super) fn build_as(self, directory: &Path, name: &str, kind: &[&str]) -> PathBuf {
        let scratch = tempfile::tempdir().unwrap();
        let mut code = format!("{}\n{}\n", self.entry, self.code);
        for (index, note) in self.notes.iter().enumerate() {
            let path = scratch.path().join(format!("{index}.json"));
            fs::write(&path, note).unwrap();
            code.push_str(&note_of(&path));
        }
        let (source, library) = (scratch.path().join("plugin.c"), directory.join(name));
        fs::write(&source, code).unwrap();
        compile(
            Command::new("cc")
                .args(kind)
                .arg("-o")
                .arg(&library)
                .arg(source)
                .args(self.flags),
        );
        set_mode(&library, 0o755);
        library
    }
}

/// Assembler, because the C compiler has its own idea of a note section's type.
fn note_of(json: &Path) -> String {
    let lines = [
        ".pushsection .note.nself,\\\"a\\\",@note",
        ".balign 4",
        ".long 6, 2f-1f, 1",
        ".asciz \\\"nself\\\"",
        ".balign 4",
        &format!("1: .incbin \\\"{}\\\"", json.display()),
        "2: .balign 4",
        ".popsection",
    ];
    format!("__asm__(\"{}\");\n", lines.join("\\n"))
}

/// Runs a compiler.
pub(super) fn compile(command: &mut Command) {
    let output = command
        .output()
        .expect("rustc and cc are there, cargo uses them");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The bytes of a good plugin, built once.
pub(super) fn good_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        fs::read(Source::good().build(directory.path(), "notes.so")).unwrap()
    })
}

/// Room for a manifest in [`put_manifest`]'s library, in bytes.
const MANIFEST_ROOM: usize = 4096;

/// Writes a plugin with this manifest: one library is built, then its note is overwritten, blanks after JSON being JSON.
pub(crate) fn put_manifest(directory: &Path, manifest: &Value) -> PathBuf {
    static TEMPLATE: OnceLock<(Vec<u8>, usize)> = OnceLock::new();
    let (template, place) = TEMPLATE.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let room = [b'@'; MANIFEST_ROOM];
        let bytes = fs::read(Source::good().notes(&[&room]).build(home.path(), "t.so")).unwrap();
        let place = memchr::memmem::find(&bytes, &room).unwrap();
        (bytes, place)
    });
    let text = format!("{:MANIFEST_ROOM$}", manifest.to_string());
    assert_eq!(
        text.len(),
        MANIFEST_ROOM,
        "the manifest is too long for this way of writing it"
    );
    let mut bytes = template.clone();
    bytes[*place..*place + MANIFEST_ROOM].copy_from_slice(text.as_bytes());
    put(directory, "notes.so", &bytes)
}

/// A directory in memory where there is one: thousands of small files take seconds on a disk.
pub(super) fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Writes a plugin file as an operator would copy it.
pub(super) fn put(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, bytes).unwrap();
    set_mode(&path, 0o644);
    path
}

/// A directory with one good plugin in it.
pub(super) fn good() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = put(directory.path(), "notes.so", good_bytes());
    (directory, path)
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
