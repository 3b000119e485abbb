//! Which secrets there are, and which files are refused.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use super::*;

fn store() -> (tempfile::TempDir, Secrets) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secrets = Secrets::open(&directory.path().join(".nself")).expect("it opens");
    (directory, secrets)
}

/// A project whose secrets stand in `mounted` as well.
fn mounting() -> (tempfile::TempDir, Config, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = Config {
        directory: directory.path().to_owned(),
        ..Config::default()
    };
    config.secrets.directory = Some("mounted".into());
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).expect("there is room");
    chmod(&mounted, 0o755);
    (directory, config, mounted)
}

fn put(directory: &Path, name: &str, value: &str, mode: u32) {
    fs::write(directory.join(name), value).expect("there is room");
    chmod(&directory.join(name), mode);
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

fn value(secrets: &Secrets, name: &str) -> Option<String> {
    let secret = secrets.get(name).expect("it reads");
    secret.map(|secret| secret.expose().to_owned())
}

#[test]
fn a_secret_is_generated_once_even_by_many_at_a_time() {
    let (_directory, secrets) = store();
    let all: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    secrets
                        .get_or_generate("key", 32)
                        .expect("it is there")
                        .expose()
                        .to_owned()
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert_eq!(all[0].len(), 64);
    assert!(all.iter().all(|secret| *secret == all[0]));
}

#[test]
fn a_file_or_directory_that_others_can_reach_is_refused_with_its_remedy() {
    let (directory, secrets) = store();
    secrets
        .set("key", &Secret::new("x".to_owned()))
        .expect("it is written");
    let file = directory.path().join(".nself/secrets/key");
    assert_eq!(
        fs::metadata(&file).expect("it is there").mode() & 0o777,
        0o600
    );
    chmod(&file, 0o644);
    let error = secrets.get("key").expect_err("loose");
    assert_eq!(error.help(), format!("chmod 600 '{}'", file.display()));

    let state = directory.path().join(".nself");
    chmod(&state, 0o755);
    let error = Secrets::open(&state).expect_err("loose");
    assert_eq!(error.help(), format!("chmod 700 '{}'", state.display()));
}

#[test]
fn others_may_pass_through_the_state_directory_and_no_further() {
    let (directory, _secrets) = store();
    let state = directory.path().join(".nself");
    chmod(&state, 0o711);
    Secrets::open(&state).expect("passing through is fine");
    chmod(&state.join("secrets"), 0o711);
    Secrets::open(&state).expect_err("loose");
}

#[test]
fn a_secret_that_is_too_long_is_not_cut() {
    let (_directory, secrets) = store();
    secrets
        .set("key", &Secret::new("x".repeat(65 * 1024)))
        .expect("it is written");
    assert!(matches!(
        secrets.get("key"),
        Err(SecretError::Access { .. })
    ));
}

#[test]
fn a_name_cannot_leave_the_directory() {
    let (_directory, secrets) = store();
    for name in ["../x", "", ".hidden", "A", "a/b", "a\0"] {
        assert!(
            matches!(secrets.get(name), Err(SecretError::Name { .. })),
            "{name:?}"
        );
    }
}

#[test]
fn of_two_secrets_of_a_name_the_mounted_one_counts_and_nothing_is_written_beside_it() {
    let (_directory, config, mounted) = mounting();
    let secrets = Secrets::of(&config).expect("it opens");
    let written = secrets.set("both", &Secret::new("own".to_owned()));
    written.expect("it is written");
    put(&mounted, "both", "mounted\n", 0o400);
    put(&mounted, "mounted-only", "there", 0o600);
    assert_eq!(value(&secrets, "both").as_deref(), Some("mounted"));
    assert_eq!(value(&secrets, "mounted-only").as_deref(), Some("there"));
    assert_eq!(value(&secrets, "neither"), None);
    let generated = secrets.get_or_generate("mounted-only", 32);
    assert_eq!(generated.expect("it is there").expose(), "there");
    secrets.get_or_generate("new", 32).expect("it is made");
    let files = Secrets::files(&config).expect("they are listed");
    let own = config.state_directory().join("secrets");
    let expected = [
        ("both", &mounted),
        ("mounted-only", &mounted),
        ("new", &own),
    ];
    let expected = expected.map(|(name, place)| (name.to_owned(), place.join(name)));
    assert_eq!(files, BTreeMap::from(expected));
    // When it is taken away the own one is there again.
    fs::remove_file(mounted.join("both")).expect("ours");
    assert_eq!(value(&secrets, "both").as_deref(), Some("own"));
}

#[test]
fn a_mounted_file_that_others_can_read_is_refused_though_there_is_another_one() {
    let (_directory, config, mounted) = mounting();
    let secrets = Secrets::of(&config).expect("it opens");
    let written = secrets.set("key", &Secret::new("own".to_owned()));
    written.expect("it is written");
    for mode in [0o604, 0o640, 0o444] {
        put(&mounted, "key", "mounted", mode);
        let error = secrets.get("key").expect_err("loose");
        assert!(matches!(error, SecretError::Loose { .. }), "{error}");
        chmod(&mounted.join("key"), 0o600);
    }
    fs::remove_file(mounted.join("key")).expect("ours");
    std::os::unix::fs::symlink("/etc/hostname", mounted.join("key")).expect("ours");
    let error = secrets.get("key").expect_err("a link");
    assert!(matches!(error, SecretError::Access { .. }), "{error}");
}

#[test]
fn a_directory_that_is_not_there_or_that_others_can_fill_is_refused() {
    let (_directory, config, mounted) = mounting();
    chmod(&mounted, 0o777);
    let error = Secrets::of(&config).expect_err("loose");
    assert_eq!(error.help(), format!("chmod 755 '{}'", mounted.display()));
    fs::remove_dir(&mounted).expect("it is empty");
    let error = Secrets::of(&config).expect_err("gone");
    assert!(matches!(error, SecretError::Access { .. }), "{error}");
    fs::write(&mounted, "a file").expect("there is room");
    let error = Secrets::of(&config).expect_err("no directory");
    assert!(matches!(error, SecretError::Access { .. }), "{error}");
}
