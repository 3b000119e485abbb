//! Archives: what `pack` makes, what stock programs say of it, and what `install` takes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::super::lifecycle::plugin_file::{bad, changed, hello};
use super::super::lifecycle::project::Project;
use super::web::{Answer, Web};
use super::{keygen, pack, project, settings, write};

/// Runs a stock program in a directory.
#[track_caller]
fn stock(directory: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn crate_of(plugin: &str) -> String {
    format!("{}/../plugins/{plugin}", env!("CARGO_MANIFEST_DIR"))
}

fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Packs hello's crate with its built file, by a shell's environment that has cargo.
fn pack_hello(project: &Project, out: &str, key: &[&str]) -> Value {
    fs::create_dir_all(project.path().join(out)).unwrap();
    write(project, "built.so", &hello());
    let output = Command::new(env!("CARGO_BIN_EXE_nself"))
        .args([
            "plugin",
            "pack",
            &crate_of("hello"),
            "built.so",
            "--out",
            out,
            "--json",
        ])
        .args(key)
        .current_dir(project.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["data"].clone()
}

#[test]
fn an_archive_has_all_that_belongs_to_a_plugin_and_stock_programs_read_it() {
    let project = project("");
    let key = keygen(&project, "own");
    let packed = pack_hello(&project, "one", &["--key", "own.key"]);
    assert_eq!(packed["signed"], true);
    let place = project.path().join("one");
    let version = packed["version"].as_str().unwrap();
    let name = format!("hello-{version}");
    stock(&place, "tar", &["xzf", &format!("{name}.plugin.tar.gz")]);
    let root = place.join(&name);
    stock(&root, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);
    let library = format!("{}/hello.so", target());
    stock(&root, "minisign", &["-V", "-P", &key, "-m", "SHA256SUMS"]);
    stock(&root, "minisign", &["-V", "-P", &key, "-m", &library]);
    assert_eq!(fs::read(root.join(&library)).unwrap(), hello());
    let manifest: Value =
        serde_json::from_slice(&fs::read(root.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(
        (&manifest["id"], &manifest["version"]),
        (&"hello".into(), &packed["version"])
    );
    let bom: Value =
        serde_json::from_slice(&fs::read(root.join("sbom.cdx.json")).unwrap()).unwrap();
    assert_eq!(
        (bom["bomFormat"].as_str(), bom["specVersion"].as_str()),
        (Some("CycloneDX"), Some("1.5"))
    );
    assert_eq!(bom["metadata"]["component"]["name"], "nself-plugin-hello");
    let components = bom["components"].as_array().unwrap();
    let serde = components
        .iter()
        .find(|component| component["name"] == "serde")
        .unwrap();
    assert_eq!(serde["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(serde["hashes"][0]["content"].as_str().unwrap().len(), 64);
    assert!(
        components
            .iter()
            .all(|component| component["name"] != "nself-plugin-testkit")
    );
}

#[test]
fn the_same_plugin_makes_the_same_archive() {
    let project = project("");
    keygen(&project, "own");
    let key = ["--key", "own.key"];
    let (one, other) = (
        pack_hello(&project, "one", &key),
        pack_hello(&project, "other", &key),
    );
    assert_eq!(one["sha256"], other["sha256"]);
    assert_ne!(one["sha256"], pack_hello(&project, "third", &[])["sha256"]);
}

#[test]
fn what_is_no_one_plugin_is_not_packed() {
    let project = project("");
    write(&project, "one.so", &bad("1.0.0"));
    write(&project, "two.so", &bad("2.0.0"));
    write(&project, "empty/Cargo.toml", b"[workspace]\nmembers = []\n");
    for (arguments, code, says) in [
        (&["one.so", "two.so"][..], 65, "are not one plugin"),
        (&["one.so", "one.so"], 65, "two files are for"),
        (&["nself.toml"], 65, "is not an ELF library"),
        (&["gone.so"], 65, "cannot be opened"),
        (&["plugins.d", ".nself"], 65, "name one directory"),
        (
            &["one.so", "--key", "gone.key"],
            65,
            "is gone.key the secret key?",
        ),
        (&["one.so", "--out", "gone"], 73, "make gone writable"),
    ] {
        let arguments = [&["plugin", "pack"], arguments].concat();
        project.nself(&arguments).refused(code, &[says]);
    }
}

#[test]
fn an_archive_is_installed_from_a_file_and_waits_for_being_enabled() {
    let project = project("");
    let alice = keygen(&project, "alice");
    project.configure(&settings("require", &[&format!("{alice} alice")]));
    let archive = pack(&project, &bad("1.0.0"), Some("alice"));
    let archive = archive.to_str().unwrap();
    let installed = project.nself(&["plugin", "install", archive]).done().stdout;
    assert!(
        installed.starts_with("installed bad 1.0.0, signed by alice ("),
        "{installed}"
    );
    assert!(
        installed.contains("it asks for: ")
            && installed.ends_with("next: nself plugin enable bad\n"),
        "{installed}"
    );
    assert_eq!(project.plugin("bad")["state"], "discovered");
    assert_eq!(
        fs::read(project.path().join("plugins.d/bad.so")).unwrap(),
        bad("1.0.0")
    );
    project.nself(&["plugin", "enable", "bad"]).done();
    assert_eq!(project.plugin("bad")["signer"]["name"], "alice");
    project
        .nself(&["plugin", "install", archive])
        .refused(1, &["PLUGIN_INSTALLED", "nself plugin upgrade bad@1.0.0"]);
    let waits = fs::read_dir(project.path().join(".nself/downloads"))
        .unwrap()
        .count();
    assert_eq!(waits, 0, "nothing of it is left behind");
}

#[test]
fn documents_lie_beside_and_enable_goes_with_it_when_it_is_asked_for() {
    let project = project("");
    write(&project, "packed/LICENSE-MIT", b"as is");
    write(&project, "packed/README.md", b"# bad");
    let archive = pack(&project, &bad("1.0.0"), None);
    let inside = stock(project.path(), "tar", &["tzf", archive.to_str().unwrap()]);
    assert!(
        inside.contains("bad-1.0.0/LICENSE-MIT\nbad-1.0.0/README.md\n"),
        "{inside}"
    );
    let installed = project.nself(&["plugin", "install", archive.to_str().unwrap(), "--enable"]);
    let text = installed.done().stdout;
    assert!(
        text.contains("not signed by anybody") && text.contains("starts with the next"),
        "{text}"
    );
    assert_eq!(project.plugin("bad")["enabled"], true);
}

#[test]
fn an_archive_that_nobody_stands_for_or_that_was_changed_is_refused_and_leaves_nothing() {
    let project = project("");
    let alice = keygen(&project, "alice");
    keygen(&project, "bob");
    project.configure(&settings("require", &[&alice]));
    let nothing = |says: &str, archive: &Path| {
        let archive = archive.to_str().unwrap();
        project
            .nself(&["plugin", "install", archive])
            .refused(65, &[says]);
        assert_eq!(
            fs::read_dir(project.path().join("plugins.d"))
                .unwrap()
                .count(),
            0
        );
    };
    nothing("is not signed", &pack(&project, &bad("1.0.0"), None));
    nothing(
        "which is not trusted",
        &pack(&project, &bad("1.0.0"), Some("bob")),
    );
    let archive = pack(&project, &bad("1.0.0"), Some("alice"));
    let whole = fs::read(&archive).unwrap();
    let cut = write(&project, "cut.tar.gz", &whole[..whole.len() - 20]);
    nothing("PLUGIN_ARCHIVE", &cut);
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    nothing(
        "PLUGIN_ARCHIVE",
        &write(&project, "damaged.tar.gz", &damaged),
    );
    nothing(
        "PLUGIN_ARCHIVE",
        &write(&project, "text.tar.gz", b"no archive"),
    );
    nothing("PLUGIN_DOWNLOAD", &project.path().join("gone.tar.gz"));

    // Put together again by hand, sums included: what alice signed is not what is in there.
    let place = project.path().join("by-hand");
    fs::create_dir(&place).unwrap();
    let archive = archive.to_str().unwrap();
    stock(&place, "tar", &["xzf", archive]);
    let root = place.join("bad-1.0.0");
    let library = root.join(target()).join("bad.so");
    let mut bytes = fs::read(&library).unwrap();
    bytes.push(0);
    fs::write(&library, bytes).unwrap();
    let sums = stock(
        &root,
        "sh",
        &[
            "-c",
            "find . -type f ! -name 'SHA256SUMS*' -printf '%P\\n' | xargs sha256sum",
        ],
    );
    fs::write(root.join("SHA256SUMS"), sums).unwrap();
    stock(&place, "tar", &["czf", "forged.tar.gz", "bad-1.0.0"]);
    nothing("the list of sums in", &place.join("forged.tar.gz"));
    fs::remove_file(root.join("SHA256SUMS.minisig")).unwrap();
    stock(&place, "tar", &["czf", "forged.tar.gz", "bad-1.0.0"]);
    nothing("is not what key", &place.join("forged.tar.gz"));
    std::os::unix::fs::symlink("/etc/passwd", root.join("README.md")).unwrap();
    stock(&place, "tar", &["czf", "forged.tar.gz", "bad-1.0.0"]);
    nothing("it holds a symbolic link", &place.join("forged.tar.gz"));
}

#[test]
fn a_file_for_another_machine_is_packed_beside_and_never_taken_for_this_one() {
    let project = project("");
    // The same file with another machine in its head and another target in its manifest.
    let mut elsewhere = changed(|manifest| {
        manifest["version"] = "1.0.0".into();
        manifest["build"]["target"] = "riscv64-linux".into();
    });
    elsewhere[18] = 243;
    write(&project, "here.so", &bad("1.0.0"));
    write(&project, "there.so", &elsewhere);
    let both = project
        .nself(&["plugin", "pack", "here.so", "there.so", "--json"])
        .done()
        .data();
    assert_eq!(
        both["targets"],
        serde_json::json!(["riscv64-linux", target()])
    );
    project
        .nself(&["plugin", "install", both["file"].as_str().unwrap()])
        .done();
    assert_eq!(
        fs::read(project.path().join("plugins.d/bad.so")).unwrap(),
        bad("1.0.0")
    );
    let other = super::project("");
    write(&other, "there.so", &elsewhere);
    let only = other
        .nself(&["plugin", "pack", "there.so", "--json"])
        .done()
        .data();
    other
        .nself(&["plugin", "install", only["file"].as_str().unwrap()])
        .refused(
            65,
            &[
                "PLUGIN_ARCHIVE",
                "is for riscv64-linux, and this machine is",
            ],
        );
}

#[test]
fn an_archive_comes_from_an_address_whole_or_not_at_all() {
    let project = project("");
    let archive = fs::read(pack(&project, &bad("1.0.0"), None)).unwrap();
    let web = Web::start();
    let install = |path: &str, more: &[&str]| {
        let url = web.url(path);
        project.nself(&[&["plugin", "install", &url], more].concat())
    };
    web.put("/cut.tar.gz", Answer::Cut(archive.clone()));
    install("/cut.tar.gz", &[]).refused(69, &["PLUGIN_DOWNLOAD", "does not answer"]);
    install("/gone.tar.gz", &[]).refused(69, &["PLUGIN_DOWNLOAD", "answers 404"]);
    web.put("/broken.tar.gz", Answer::Status(500));
    install("/broken.tar.gz", &[]).refused(69, &["PLUGIN_DOWNLOAD", "answers 500"]);
    web.put("/endless.tar.gz", Answer::Endless);
    install("/endless.tar.gz", &[])
        .refused(69, &["PLUGIN_DOWNLOAD", "sends more than 134217728 bytes"]);
    web.put("/a.tar.gz", Answer::Redirect("/a.tar.gz".to_owned()));
    install("/a.tar.gz", &[]).refused(69, &["PLUGIN_DOWNLOAD", "yet another place"]);
    // Another server of this machine is none that an answer may name.
    let neighbour = Web::start();
    neighbour.put("/secret.tar.gz", Answer::Whole(archive.clone()));
    web.put(
        "/b.tar.gz",
        Answer::Redirect(neighbour.url("/secret.tar.gz")),
    );
    install("/b.tar.gz", &[]).refused(
        69,
        &[
            "PLUGIN_DOWNLOAD",
            "does not answer",
            "requests to 127.0.0.1",
        ],
    );
    web.put(
        "/c.tar.gz",
        Answer::Redirect("file:///etc/passwd".to_owned()),
    );
    install("/c.tar.gz", &[]).refused(69, &["PLUGIN_DOWNLOAD", "which is not followed"]);
    web.put("/whole.tar.gz", Answer::Whole(archive.clone()));
    let wrong = "0".repeat(64);
    install("/whole.tar.gz", &["--sha256", &wrong])
        .refused(65, &["PLUGIN_ARCHIVE", "and --sha256 says 0000"]);
    assert_eq!(
        fs::read_dir(project.path().join("plugins.d"))
            .unwrap()
            .count(),
        0
    );
    web.put(
        "/moved.tar.gz",
        Answer::Redirect("/whole.tar.gz".to_owned()),
    );
    let right = nself::loader::Sha256::of(&archive).to_string();
    install("/moved.tar.gz", &["--sha256", &right]).done();
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    project
        .nself(&["plugin", "install", "ftp://example.org/x.tar.gz"])
        .refused(2, &["PLUGIN_DOWNLOAD", "is no address"]);
}
