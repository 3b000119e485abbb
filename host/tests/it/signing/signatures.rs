//! What a policy makes of a file, told by the command line: none of its code runs.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::lifecycle::plugin_file::{bad, hello};
use super::super::lifecycle::project::Project;
use super::{keygen, project, settings, sign, write};

const FILE: &str = "plugins.d/hello.so";
const SIGNATURE: &str = "plugins.d/hello.so.minisig";

/// What `plugin check` says of the file: its one line.
#[track_caller]
fn check(project: &Project, code: i32, expected: &[&str]) {
    let ran = project.nself(&["plugin", "check", FILE]);
    assert_eq!(ran.code, code, "{ran:?}");
    for text in expected {
        assert!(ran.stdout.contains(text), "no {text:?} in {ran:?}");
    }
    let refusals = ran
        .stdout
        .lines()
        .filter(|line| !line.starts_with("warning"));
    assert_eq!(refusals.count(), 1, "one file, one line: {ran:?}");
}

/// A project that asks for signatures, in which hello is signed by alice, whom it trusts, and bob has a key.
fn signed(policy: &str) -> Project {
    let project = project("");
    let alice = keygen(&project, "alice");
    keygen(&project, "bob");
    project.configure(&settings(policy, &[&format!("{alice} alice")]));
    write(&project, FILE, &hello());
    sign(&project, FILE, "alice");
    project
}

fn read(project: &Project, name: &str) -> String {
    fs::read_to_string(project.path().join(name)).unwrap()
}

#[test]
fn under_require_each_fault_is_refused_in_one_line_that_says_what_to_do() {
    let project = signed("require");
    check(&project, 0, &["good     hello"]);
    let (good, file) = (read(&project, SIGNATURE), hello());

    let mut changed = file.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    write(&project, FILE, &changed);
    check(
        &project,
        65,
        &[
            "is not what key",
            "its signature says that it is of hello.so",
            "fetch file and signature again",
        ],
    );
    write(&project, FILE, &file);

    fs::remove_file(project.path().join(SIGNATURE)).unwrap();
    check(
        &project,
        65,
        &[
            "is not signed: put its .minisig file beside it",
            "nself plugin sign",
        ],
    );

    sign(&project, FILE, "bob");
    check(
        &project,
        65,
        &["which is not trusted", "nself plugin trust add"],
    );

    write(&project, "other.so", &bad("1.0.0"));
    sign(&project, "other.so", "alice");
    write(
        &project,
        SIGNATURE,
        read(&project, "other.so.minisig").as_bytes(),
    );
    check(
        &project,
        65,
        &[
            "is not what key",
            "its signature says that it is of other.so",
        ],
    );

    write(
        &project,
        SIGNATURE,
        good.replace("hello", "HELLO").as_bytes(),
    );
    check(&project, 65, &["whose trusted comment was changed"]);

    for garbled in [
        &b"garbled"[..],
        b"\xff\x00\xfe",
        b"untrusted comment: x\nRU\n",
    ] {
        write(&project, SIGNATURE, garbled);
        check(
            &project,
            65,
            &[
                "has a signature file that does not read",
                "fetch the .minisig again",
            ],
        );
    }
    write(&project, SIGNATURE, b"");
    check(&project, 65, &["has a signature file that is empty"]);

    let place = project.path().join(SIGNATURE);
    fs::remove_file(&place).unwrap();
    write(&project, "elsewhere", good.as_bytes());
    symlink(project.path().join("elsewhere"), &place).unwrap();
    check(
        &project,
        65,
        &["has a signature file that is a symbolic link"],
    );
    fs::remove_file(&place).unwrap();

    write(&project, SIGNATURE, good.as_bytes());
    check(&project, 0, &["good     hello"]);
}

#[test]
fn a_signature_may_end_and_is_refused_from_then_on() {
    let project = signed("require");
    let key = ["--key", "alice.key"];
    project
        .nself(&["plugin", "sign", FILE, "--expires", "1", key[0], key[1]])
        .done();
    check(&project, 0, &["good     hello"]);
    // minisign signs any comment: the time is in the past for everybody.
    let ended = std::process::Command::new("minisign")
        .args([
            "-S",
            "-s",
            "alice.key",
            "-m",
            FILE,
            "-t",
            "expires:1000000000",
        ])
        .current_dir(project.path())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    check(
        &project,
        65,
        &["that expired at 2001-09-09T01:46:40Z", "fetch a newer one"],
    );
}

#[test]
fn a_file_that_is_refused_is_not_enabled_and_the_lock_says_who_signed_what_is() {
    let project = signed("require");
    let good = read(&project, SIGNATURE);
    fs::remove_file(project.path().join(SIGNATURE)).unwrap();
    project
        .nself(&["plugin", "enable", "hello"])
        .refused(1, &["PLUGIN_NOT_FOUND", "is not signed"]);
    assert!(!project.path().join("plugins.lock").exists());
    write(&project, SIGNATURE, good.as_bytes());
    project.nself(&["plugin", "enable", "hello"]).done();
    let alice = read(&project, "alice.pub");
    let alice = alice.lines().nth(1).unwrap();
    let lock = read(&project, "plugins.lock");
    assert!(lock.contains(&format!("signer = \"{alice}\"")), "{lock}");
    assert_eq!(project.plugin("hello")["signer"]["key"], alice);
    assert_eq!(project.plugin("hello")["signer"]["name"], "alice");
    let list = project.nself(&["plugin", "list"]).done().stdout;
    assert!(
        list.lines()
            .any(|line| line.starts_with("hello") && line.contains("alice")),
        "{list}"
    );
    let inspected = project.nself(&["plugin", "inspect", "hello"]).done().stdout;
    assert!(inspected.contains("signed   by alice ("), "{inspected}");
}

#[test]
fn warn_lets_a_stranger_pass_and_says_so_but_nothing_that_was_changed() {
    let project = signed("warn");
    check(&project, 0, &["good     hello"]);
    sign(&project, FILE, "bob");
    check(
        &project,
        0,
        &["warning  hello is signed by key", "which is not trusted"],
    );
    fs::remove_file(project.path().join(SIGNATURE)).unwrap();
    check(&project, 0, &["warning  hello is not signed"]);
    sign(&project, FILE, "alice");
    let mut changed = hello();
    changed.push(0);
    write(&project, FILE, &changed);
    check(&project, 65, &["is not what key"]);
}

#[test]
fn off_asks_nothing_and_still_knows_a_signer() {
    let project = signed("off");
    assert_eq!(project.plugin("hello")["signer"]["name"], "alice");
    fs::remove_file(project.path().join(SIGNATURE)).unwrap();
    check(&project, 0, &["good     hello"]);
    assert!(project.plugin("hello")["signer"].is_null());
}

#[test]
fn what_nobody_says_is_off_in_development_and_warn_elsewhere() {
    let project = project("");
    write(&project, FILE, &hello());
    let warns = || {
        project
            .nself(&["plugin", "check", FILE])
            .done()
            .stdout
            .contains("warning")
    };
    assert!(!warns());
    for (environment, expected) in [
        ("development", false),
        ("staging", true),
        ("production", true),
    ] {
        write(&project, ".env", format!("ENV={environment}\n").as_bytes());
        assert_eq!(warns(), expected, "{environment}");
    }
}

#[test]
fn what_this_machine_signs_is_trusted_here_and_nowhere_else() {
    let project = project(&settings("require", &[]));
    write(&project, FILE, &hello());
    check(&project, 65, &["is not signed"]);
    project.nself(&["plugin", "sign", FILE]).done();
    check(&project, 0, &["good     hello"]);
    assert_eq!(project.plugin("hello")["signer"]["name"], "this machine");
    let listed = project.nself(&["plugin", "trust", "list"]).done().stdout;
    assert!(
        listed.starts_with("signatures: require\n") && listed.contains("this machine"),
        "{listed}"
    );
    // The same key again, and for its owner alone.
    project.nself(&["plugin", "sign", FILE]).done();
    let mode = fs::metadata(project.path().join(".nself/signing.key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    let other = super::project(&settings("require", &[]));
    write(&other, FILE, &hello());
    write(&other, SIGNATURE, read(&project, SIGNATURE).as_bytes());
    check(&other, 65, &["which is not trusted"]);
}

#[test]
fn keys_come_and_go_by_command_and_the_rest_of_the_file_stays() {
    let project = signed("require");
    let before = "# mine\n[plugins]\nsignatures = \"require\" # always\n";
    project.configure(before);
    check(&project, 65, &["which is not trusted"]);
    project
        .nself(&["plugin", "trust", "add", "alice.pub", "--name", "alice"])
        .done();
    check(&project, 0, &["good     hello"]);
    let file = read(&project, "nself.toml");
    assert!(
        file.contains("# mine") && file.contains("# always"),
        "{file}"
    );
    project
        .nself(&["plugin", "trust", "add", "alice.pub"])
        .refused(2, &["TRUST_KEY", "is trusted already"]);
    project
        .nself(&["plugin", "trust", "add", "no key"])
        .refused(65, &["TRUST_KEY", "56 characters"]);
    project
        .nself(&["plugin", "trust", "remove", "carol"])
        .refused(2, &["TRUST_KEY", "0 keys of the list are carol"]);
    project
        .nself(&["plugin", "trust", "remove", "alice"])
        .done();
    check(&project, 65, &["which is not trusted"]);
    project.configure("[plugins]\ntrust = [\"no key\"]\n");
    project
        .nself(&["plugin", "list"])
        .refused(78, &["CONFIG_WRONG_TYPE", "a list of minisign public keys"]);
    write(
        &project,
        "nself.toml",
        b"plugins = { signatures = \"warn\" }\n",
    );
    project
        .nself(&["plugin", "trust", "add", "alice.pub"])
        .refused(65, &["TRUST_KEY", "write it by hand"]);
}

#[test]
fn a_key_file_is_never_written_over_and_a_password_never_an_argument() {
    let project = project("");
    write(&project, "password", b"correct horse\nnot this line\n");
    let made = project.nself(&["plugin", "keygen", "own", "--password-file", "password"]);
    made.done();
    project
        .nself(&["plugin", "keygen", "own", "--no-password"])
        .refused(73, &["SIGNING_KEY", "own.key is there already"]);
    project
        .nself(&["plugin", "keygen", "third"])
        .refused(2, &["SIGNING_KEY", "--password-file FILE"]);
    write(&project, FILE, &hello());
    let with = |more: &[&str]| {
        let arguments = [&["plugin", "sign", FILE, "--key", "own.key"], more].concat();
        project.nself(&arguments)
    };
    with(&[]).refused(2, &["SIGNING_KEY", "--password-file FILE"]);
    write(&project, "wrong", b"another\n");
    with(&["--password-file", "wrong"]).refused(65, &["SIGNING_KEY", "the password is wrong"]);
    with(&["--password-file", "gone"]).refused(65, &["SIGNING_KEY", "make gone readable"]);
    let done = with(&["--password-file", "password"]).done();
    assert!(!format!("{done:?}").contains("correct horse"));
    let no_key = ["plugin", "sign", FILE, "--key", "password"];
    project
        .nself(&no_key)
        .refused(65, &["SIGNING_KEY", "no minisign secret key"]);
    project
        .nself(&["plugin", "sign", "nself.toml"])
        .refused(65, &["PLUGIN_REFUSED", "is not an ELF library"]);
}
