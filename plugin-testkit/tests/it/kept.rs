//! Plugins that were built once, and are kept as they were (`kept/`): the promise of the boundary is that each goes on running in
//! every later host of its major, and only an old file can show that.

use std::{fs, io, path::Path};

use flate2::read::GzDecoder;
use nself_plugin_testkit::conformance::Conformance;
use tempfile::TempDir;

/// The file's name says which: `hello-1.6-x86_64.so.gz`.
async fn check_each(plugin: &str, promises: fn(Conformance) -> Conformance) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("kept");
    let machine = format!("-{}.so.gz", std::env::consts::ARCH);
    let mut found = 0;
    for file in fs::read_dir(kept).expect("the folder is there") {
        let file = file.expect("its list is read");
        let name = file.file_name().to_string_lossy().into_owned();
        let (Some(minor), true) = (name.strip_prefix(plugin), name.ends_with(&machine)) else {
            continue;
        };
        eprintln!("{plugin} of {}", minor.trim_end_matches(&machine));
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join(format!("{plugin}.so"));
        let mut packed = GzDecoder::new(fs::File::open(file.path()).expect("it opens"));
        let mut unpacked = fs::File::create(&path).expect("a file");
        io::copy(&mut packed, &mut unpacked).expect("it unpacks");
        let path = path.to_str().expect("a path of letters");
        Box::pin(promises(Conformance::new(path, "")).run_of_file()).await;
        found += 1;
    }
    let is_kept_here = cfg!(target_arch = "x86_64");
    assert!(found > 0 || !is_kept_here, "none of {plugin} is kept");
}

#[tokio::test]
async fn hello_of_each_older_boundary_keeps_its_promises_in_this_host() {
    check_each("hello", |plugin| plugin).await;
}

#[tokio::test]
async fn the_fixture_of_each_older_boundary_keeps_its_promises_in_this_host() {
    check_each("fixture", super::promises).await;
}
