//! `secrets.sh`: each secret is a file for one reader.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use nself_compose::{
    shell::{Answer, answer, command, may_give_files_away},
    stack::{STAGES, Stack, Stage},
};

fn make(directory: &Path) -> Answer {
    answer(command("compose/secrets.sh").arg(directory))
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    entries
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).expect("a file");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect()
}

#[test]
fn each_file_is_private_and_belongs_to_the_user_of_the_service_that_reads_it() {
    if !may_give_files_away() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    make(directory.path()).good("secrets.sh, which takes root to give files away");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(mode(directory.path()), 0o700);
    for stage in STAGES {
        let stack = Stack::of(stage);
        for service in stack.services() {
            for secret in service.list("/secrets") {
                let name = secret["source"].as_str().expect("a name");
                let path = directory.path().join(name);
                assert_eq!(mode(&path), 0o600, "{name}");
                let metadata = fs::metadata(&path).expect("it is there");
                assert_eq!(
                    (metadata.uid(), metadata.gid()),
                    service.user(),
                    "{name} of {}",
                    service.name
                );
            }
        }
    }
}

#[test]
fn the_script_makes_exactly_what_the_stack_declares() {
    if !may_give_files_away() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    make(directory.path()).good("secrets.sh");
    let stack = Stack::of(Stage::Base);
    let declared = stack.at("/secrets").as_object().expect("secrets");
    let declared: Vec<&String> = declared.keys().collect();
    let made = files(directory.path());
    assert_eq!(made.keys().collect::<Vec<_>>(), declared);
}

#[test]
fn a_second_run_changes_nothing_and_shows_no_key() {
    if !may_give_files_away() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = make(directory.path()).good("the first run");
    assert!(first.starts_with("nsk_"), "the key is shown");
    let before = files(directory.path());
    let second = make(directory.path()).good("the second run");
    assert_eq!(second, "");
    assert_eq!(files(directory.path()), before);
    assert!(
        !before.values().any(|text| text.contains(first.trim())),
        "the key is kept nowhere"
    );
}

#[test]
fn no_two_stacks_have_a_secret_in_common() {
    if !may_give_files_away() {
        return;
    }
    let [one, other] = [(); 2].map(|()| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        make(directory.path()).good("secrets.sh");
        files(directory.path())
    });
    for (name, text) in one {
        assert_ne!(Some(&text), other.get(&name), "{name}");
        assert!(text.trim().len() >= 17, "{name} is long enough");
    }
}
