//! `[http.tls]` with files that will not do: the host does not start, `nself doctor` says the same, and both say what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rcgen::KeyPair;
use serde_json::Value;

use super::{Project, Ran};
use crate::certificates::{Authority, LONG, put_key};

const TLS: &str = "[http.tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n";

/// A database that is not there: before it is asked for, the files are read.
const NOWHERE: &[(&str, &str)] = &[(
    "DATABASE_URL",
    "postgres://app@127.0.0.1:1/nself?sslmode=disable",
)];

/// A project whose files are fine.
fn project() -> (Project, Authority) {
    let project = Project::with(&[("nself.toml", TLS)]);
    let authority = Authority::new();
    authority.certify(LONG).put(project.path());
    (project, authority)
}

fn certificate(doctor: &Ran) -> Value {
    let findings = doctor.json()["data"].clone();
    let mut findings = findings.as_array().cloned().unwrap_or_default();
    findings.retain(|one| one["check"] == "certificate");
    findings.pop().unwrap_or_else(|| panic!("{doctor:?}"))
}

/// Neither starts, nor is well; both name the file and what to do, and say nothing of a key.
#[track_caller]
fn check_refused(project: &Project, exit: i32, code: &str, says: &[&str]) {
    let refused = project.run_with(&["serve", "--port", "0"], NOWHERE);
    refused.check(exit, &[&format!("error[{code}]"), "help: "]);
    refused.check(exit, says);
    let doctor = project.run_with(&["doctor", "--json"], NOWHERE);
    let found = certificate(&doctor);
    assert_eq!(
        (doctor.code, &found["state"]),
        (4, &Value::from("failed")),
        "{found}"
    );
    let told = format!("{} {}", found["found"], found["fix"]).replace("\\\"", "\"");
    for text in says {
        assert!(told.contains(text), "no {text:?} in {told}");
    }
    let all = [refused.stdout, refused.stderr, doctor.stdout].concat();
    let key = fs::read_to_string(project.path().join("key.pem")).unwrap_or_default();
    for line in key
        .lines()
        .filter(|line| !line.contains("---") && line.len() > 20)
    {
        assert!(!all.contains(line), "{all}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for (file, key) in [
        ("certificate.pem", "http.tls.certificate"),
        ("key.pem", "http.tls.key"),
    ] {
        let (project, _) = project();
        fs::remove_file(project.path().join(file)).unwrap();
        check_refused(
            &project,
            78,
            "TLS_CERTIFICATE",
            &["cannot read", file, key, "put the file there"],
        );
    }
}

#[test]
fn one_of_the_two_is_not_enough() {
    for (stated, missing) in [("certificate", "key"), ("key", "certificate")] {
        let (project, _) = project();
        let text = format!("[http.tls]\n{stated} = \"{stated}.pem\"\n");
        fs::write(project.path().join("nself.toml"), text).unwrap();
        let says = format!("`http.tls.{stated}` is set, and `http.tls.{missing}` is not");
        check_refused(
            &project,
            78,
            "CONFIGURATION",
            &[&says, "or neither of them"],
        );
    }
}

#[test]
fn a_file_without_a_certificate_is_named() {
    let (project, _) = project();
    let file = project.path().join("certificate.pem");
    let fullchain = "fullchain.pem";
    for (text, says) in [
        ("nothing of that", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "cannot be read"),
        (
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            "is none",
        ),
    ] {
        fs::write(&file, text).unwrap();
        check_refused(
            &project,
            78,
            "TLS_CERTIFICATE",
            &["certificate.pem", says, fullchain],
        );
    }
    let large = "x".repeat(1024 * 1024 + 1);
    fs::write(&file, large).unwrap();
    check_refused(
        &project,
        78,
        "TLS_CERTIFICATE",
        &["cannot read", "certificate.pem", "file too large"],
    );
}

#[test]
fn a_key_of_another_certificate_is_refused_and_both_files_are_named() {
    let (project, authority) = project();
    put_key(
        &project.path().join("key.pem"),
        &authority.certify(LONG).key,
    );
    check_refused(
        &project,
        78,
        "TLS_CERTIFICATE",
        &[
            "key.pem is not that of the first certificate",
            "certificate.pem",
            "has to be the first",
        ],
    );
}

#[test]
fn a_file_without_a_key_and_a_damaged_one_are_named() {
    let (project, _) = project();
    let file = project.path().join("key.pem");
    for (text, says) in [
        ("", "holds no private key"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "cannot be used",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nsecret?\n-----END PRIVATE KEY-----\n",
            "cannot be used",
        ),
    ] {
        put_key(&file, text);
        check_refused(&project, 78, "TLS_KEY", &["key.pem", says, "PKCS #8"]);
    }
}

/// What OpenSSL makes of a key.
fn openssl(directory: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(directory);
    let made = command.output().expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn a_key_with_a_passphrase_is_refused_with_the_command_that_takes_it_off() {
    let ways: [&[&str]; 2] = [
        &[
            "pkey",
            "-in",
            "plain.pem",
            "-aes256",
            "-passout",
            "pass:never-shown",
            "-out",
            "key.pem",
        ],
        &[
            "rsa",
            "-in",
            "plain.pem",
            "-aes256",
            "-traditional",
            "-passout",
            "pass:never-shown",
            "-out",
            "key.pem",
        ],
    ];
    for way in ways {
        let (project, authority) = project();
        openssl(project.path(), &["genrsa", "-out", "plain.pem", "2048"]);
        let plain = fs::read_to_string(project.path().join("plain.pem")).unwrap();
        let made = authority.certify_key(LONG, &KeyPair::from_pem(&plain).unwrap());
        made.put(project.path());
        openssl(project.path(), way);
        check_refused(
            &project,
            78,
            "TLS_KEY",
            &["key.pem is encrypted", "openssl pkey -in"],
        );
        // What is said does it, and RSA is as good as the others.
        openssl(
            project.path(),
            &[
                "pkey",
                "-in",
                "key.pem",
                "-passin",
                "pass:never-shown",
                "-out",
                "key.pem.plain",
            ],
        );
        let file = project.path().join("key.pem");
        fs::rename(project.path().join("key.pem.plain"), file).unwrap();
        let well = certificate(&project.run_with(&["doctor", "--json"], NOWHERE));
        assert_eq!(well["state"], "ok", "{well}");
    }
}

#[test]
fn a_key_that_others_can_read_is_refused_and_a_link_to_a_good_one_followed() {
    let (project, _) = project();
    let file = project.path().join("key.pem");
    for mode in [0o640, 0o604] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let says = format!("can be reached by others (mode {mode:03o})");
        check_refused(
            &project,
            77,
            "SECRET_PERMISSIONS",
            &["key.pem", &says, "chmod 600"],
        );
    }
    fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
    fs::rename(&file, project.path().join("privkey1.pem")).unwrap();
    std::os::unix::fs::symlink("privkey1.pem", &file).unwrap();
    let well = certificate(&project.run_with(&["doctor", "--json"], NOWHERE));
    assert_eq!(
        (&well["state"], &well["found"]),
        (&"ok".into(), &"holds until 2090-01-01".into())
    );
}

#[test]
fn a_certificate_that_does_not_hold_is_a_failure_and_says_the_day() {
    for (years, found, fix) in [
        ((2001, 2002), "it expired on 2002-01-01", "renew it"),
        (
            (2090, 2095),
            "it does not hold before 2090-01-01",
            "compare the clock",
        ),
    ] {
        let (project, authority) = project();
        authority.certify(years).put(project.path());
        let doctor = project.run_with(&["doctor", "--json"], NOWHERE);
        let look = certificate(&doctor);
        assert_eq!(
            (doctor.code, &look["state"]),
            (4, &"failed".into()),
            "{look}"
        );
        assert_eq!(look["found"], found);
        assert!(look["fix"].as_str().unwrap().contains(fix), "{look}");
    }
}

#[test]
fn without_one_nothing_is_wrong() {
    let project = Project::with(&[("nself.toml", "")]);
    let look = certificate(&project.run_with(&["doctor", "--json"], NOWHERE));
    assert_eq!(look["state"], "ok");
    assert_eq!(look["found"], "none: the ports speak plain HTTP");
}

/// Only the host says it: there is nothing in it for who looks at certificates.
#[track_caller]
fn check_not_started(settings: &str, says: &[&str]) {
    let (project, _) = project();
    fs::write(project.path().join("nself.toml"), settings).unwrap();
    let refused = project.run_with(&["serve", "--port", "0"], NOWHERE);
    refused.check(78, &["error[CONFIGURATION]"]);
    refused.check(78, says);
}

#[test]
fn a_port_that_sends_on_to_the_others_needs_to_know_where_to() {
    check_not_started(
        "[http.tls]\nredirect_port = 8080\n",
        &["http.tls.redirect_port", "no port speaks TLS"],
    );
    let beside = format!("{TLS}redirect_port = 8080\n");
    check_not_started(&beside, &["http.public_url does not say", "https://home"]);
    for (url, says) in [
        ("http://home.example", "http.public_url does not say"),
        ("https://home.example/app", "nothing behind them"),
        (
            "home.example",
            "http.public_url: `home.example` is no address",
        ),
    ] {
        let settings = format!("[http]\npublic_url = \"{url}\"\n{beside}");
        check_not_started(&settings, &[says]);
    }
}

#[test]
fn an_authority_is_not_asked_with_half_of_what_it_takes() {
    let acme = |tls: &str, acme: &str| {
        format!(
            "[http]\npublic_url = \"https://home.example\"\n[http.tls]\n{tls}\n[http.tls.acme]\n{acme}\n"
        )
    };
    let (port, domains) = ("redirect_port = 8080", "domains = [\"home.example\"]");
    let agreed = format!("{domains}\nterms_of_service_agreed = true");
    for (settings, says) in [
        (
            acme("", "terms_of_service_agreed = true"),
            "names no domains",
        ),
        (acme("", &agreed), "`http.tls.redirect_port` is not"),
        (acme(port, domains), "terms_of_service_agreed` is not true"),
        (
            acme(
                &format!("{port}\ncertificate = \"certificate.pem\"\nkey = \"key.pem\""),
                &agreed,
            ),
            "keep one of the two",
        ),
        (
            acme(
                port,
                "domains = [\"*.home.example\"]\nterms_of_service_agreed = true",
            ),
            "`*.home.example` is no name",
        ),
        (
            acme(port, &format!("{agreed}\ndirectory = \"http://x\"")),
            "no https address",
        ),
    ] {
        let (project, _) = project();
        fs::write(project.path().join("nself.toml"), settings).unwrap();
        check_refused(&project, 78, "CONFIGURATION", &[says]);
    }
}
