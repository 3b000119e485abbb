//! Code in this process, at last.

use std::fs;
use std::process::Command;

use nself::loader::{Loaded, Refusal, keep, open};

use super::fixture::{Source, check, compile, manifest, set_mode};

fn load(source: Source) -> (tempfile::TempDir, Result<Loaded, Refusal>) {
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o700);
    let plugin = check(&source.build(home.path(), "notes.so")).unwrap();
    let loaded = open(&keep(&home.path().join("store"), &plugin).unwrap());
    (home, loaded)
}

#[test]
fn the_entry_lies_in_the_mapped_file() {
    let (home, loaded) = load(Source::good());
    let loaded = loaded.unwrap();
    assert!(loaded.contains(loaded.entry.as_ptr().addr()));
    assert!(
        !loaded.contains((&raw const home).addr()),
        "the stack is not the plugin's"
    );
    assert!(loaded.file().starts_with(home.path().join("store")));
}

#[test]
fn constructors_run_now_and_not_before() {
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o700);
    let trace = home.path().join("ran");
    let code = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void run(void) {{ fclose(fopen(\"{}\", \"w\")); }}",
        trace.display()
    );
    let plugin = check(&Source::good().code(&code).build(home.path(), "notes.so")).unwrap();
    let kept = keep(&home.path().join("store"), &plugin).unwrap();
    assert!(!trace.exists());
    open(&kept).unwrap();
    assert!(trace.exists());
}

#[test]
fn two_versions_live_beside_each_other() {
    let (_first_home, first) = load(Source::good());
    let (_second_home, second) = load(Source::good().code("const int second = 2;"));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.entry, second.entry);
    assert!(!first.contains(second.entry.as_ptr().addr()));
}

/// As `nself-plugin-api`'s macro lays the note out, without the macro.
const IN_RUST: &str = r#"
#[repr(C, align(4))]
struct Note { namesz: u32, descsz: u32, kind: u32, name: [u8; 8], desc: [u8; LENGTH] }
const LENGTH: usize = MANIFEST.len();
const MANIFEST: &[u8; include_bytes!("manifest.json").len()] = include_bytes!("manifest.json");
#[used]
#[unsafe(link_section = ".note.nself")]
static NOTE: Note = Note { namesz: 6, descsz: LENGTH as u32, kind: 1, name: *b"nself\0\0\0", desc: *MANIFEST };
extern "C" fn hello() { println!("hello"); }
#[unsafe(no_mangle)]
pub static nself_plugin_entry: extern "C" fn() = hello;
"#;

#[test]
fn what_rustc_builds_passes_stripped_or_not() {
    for strip in ["none", "symbols"] {
        let home = tempfile::tempdir().unwrap();
        set_mode(home.path(), 0o700);
        fs::write(home.path().join("manifest.json"), manifest().to_string()).unwrap();
        fs::write(home.path().join("plugin.rs"), IN_RUST).unwrap();
        let mut rustc = Command::new("rustc");
        rustc.args([
            "--edition",
            "2024",
            "--crate-type",
            "cdylib",
            "-o",
            "notes.so",
            "plugin.rs",
        ]);
        compile(
            rustc
                .arg(format!("-Cstrip={strip}"))
                .current_dir(home.path()),
        );
        set_mode(&home.path().join("notes.so"), 0o755);
        let plugin = check(&home.path().join("notes.so")).unwrap();
        assert!(
            open(&keep(&home.path().join("store"), &plugin).unwrap()).is_ok(),
            "{strip}"
        );
    }
}

#[test]
fn a_symbol_that_nobody_has_is_an_error_at_once() {
    let (_home, loaded) = load(Source::good().code("void gone(void); void call(void) { gone(); }"));
    let refusal = loaded.unwrap_err().to_string();
    assert!(
        refusal.contains("the system's loader refused it"),
        "{refusal}"
    );
    assert!(refusal.contains("undefined symbol: gone"), "{refusal}");
}
