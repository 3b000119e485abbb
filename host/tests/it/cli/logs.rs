//! `nself logs`, and what completes the words of a command line.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Project;

const LINES: &str = r#"thread 'main' panicked at somewhere
{"timestamp":"2026-11-27T14:52:21.152712Z","level":"INFO","message":"listening","address":"127.0.0.1:3977","target":"nself::http::listen"}
{"timestamp":"2026-11-27T14:52:21.525810Z","level":"INFO","message":"request","plugin":"jobs","method":"POST","status":201,"duration_us":17,"target":"nself::access"}
{"timestamp":"2026-11-27T14:52:22.000001Z","level":"WARN","message":"a mail waits\u001b[2J","plugin":"mail","at":"nself_plugin_mail","fields":"{\"to\":\"ann lee\",\"tries\":2}","target":"plugin"}
{"timestamp":"2026-11-27T14:52:23.000001Z","level":"ERROR","message":"task failed","failures":3,"target":"nself::plugin::supervise","span":{"plugin":"jobs","task":"prune","name":"task"},"spans":[]}
"#;

fn written(text: &str) -> (Project, PathBuf) {
    let project = Project::with(&[("nself.toml", "")]);
    let log = project.path().join(".nself/log/host.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(&log, text).unwrap();
    (project, log)
}

#[test]
fn lines_are_readable_again_and_cannot_steer_the_terminal() {
    let (project, _) = written(LINES);
    let shown = project.run(&["logs"]);
    let expected = "thread 'main' panicked at somewhere
2026-11-27T14:52:21.152Z INFO  nself listening address=127.0.0.1:3977
2026-11-27T14:52:21.525Z INFO  jobs request duration_us=17 method=POST status=201
2026-11-27T14:52:22.000Z WARN  mail a mail waits\\u{1b}[2J at=nself_plugin_mail to=\"ann lee\" tries=2
2026-11-27T14:52:23.000Z ERROR jobs task failed failures=3
";
    assert_eq!((shown.code, &*shown.stdout), (0, expected), "{shown:?}");
}

#[test]
fn they_are_picked_by_plugin_by_level_and_by_number_from_the_end() {
    let (project, _) = written(LINES);
    let of = |arguments: &[&str]| {
        let shown = project.run(&[&["logs"], arguments].concat());
        assert_eq!(shown.code, 0, "{shown:?}");
        let words = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
        shown.stdout.lines().map(words).collect::<Vec<_>>()
    };
    assert_eq!(of(&["jobs"]), ["INFO", "ERROR"]);
    assert_eq!(of(&["jobs", "-n", "1"]), ["ERROR"]);
    assert_eq!(of(&["--level", "warn"]), ["WARN", "ERROR"]);
    assert_eq!(of(&["mail", "--level", "error"]), Vec::<String>::new());
    assert_eq!(of(&["--lines", "0"]), Vec::<String>::new());
    project
        .run(&["logs", "--level", "loud"])
        .check(2, &["--level", "error parsing level"]);

    let json = project.run(&["logs", "jobs", "--json"]).stdout;
    let written: Vec<&str> = LINES.lines().filter(|line| line.contains("jobs")).collect();
    assert_eq!(json.lines().collect::<Vec<_>>(), written);
    let other = project.run(&["logs", "-n", "5", "--json"]).stdout;
    assert_eq!(
        other.lines().next(),
        Some(r#"{"message":"thread 'main' panicked at somewhere"}"#)
    );
}

#[test]
fn what_comes_is_shown_when_it_is_followed_also_from_a_file_that_takes_its_place() {
    let (project, log) = written(LINES);
    let mut child = project
        .command(&["logs", "mail", "-f", "-n", "1"], &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().contains("a mail waits"));
    let event = |message: &str| {
        format!(
            r#"{{"timestamp":"2026-11-27T15:00:00.000000Z","level":"INFO","message":"{message}","plugin":"mail"}}"#
        )
    };
    append(&log, &format!("{}\n{{\"timestamp\"", event("first")));
    assert!(next().ends_with("mail first"));
    fs::rename(&log, log.with_extension("1")).unwrap();
    fs::write(&log, format!("{}\n", event("second"))).unwrap();
    assert!(next().ends_with("mail second"));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn append(log: &Path, text: &str) {
    let mut file = File::options().append(true).open(log).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_log_that_is_elsewhere_or_not_there_says_so() {
    let project = Project::with(&[("nself.toml", "[log]\nfile = \"my.log\"\n")]);
    project.run(&["logs"]).check(
        1,
        &[
            "error[LOG_ABSENT]",
            "my.log",
            "nself up --detach",
            "journalctl",
        ],
    );
    fs::write(project.path().join("my.log"), LINES).unwrap();
    assert_eq!(project.run(&["logs"]).stdout.lines().count(), 5);
    fs::remove_file(project.path().join("my.log")).unwrap();
    fs::create_dir(project.path().join("my.log")).unwrap();
    project
        .run(&["logs"])
        .check(1, &["error[LOG_READ]", "my.log"]);
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let project = Project::empty();
    let written = project.run(&["man", "man1"]);
    written.check(0, &[]);
    assert!(written.stdout.contains(" pages in man1"), "{written:?}");
    let page = |name: &str| fs::read_to_string(project.path().join("man1").join(name)).unwrap();
    for (name, part) in [
        ("nself.1", "nself\\-plugin(1)"),
        ("nself-plugin.1", "nself\\-plugin\\-enable(1)"),
        ("nself-plugin-disable.1", "\\-\\-drain"),
    ] {
        let text = page(name);
        assert!(text.contains(".TH nself") && text.contains(part), "{text}");
    }
    let again = project.run(&["man", "man1", "--json"]);
    assert!(again.stdout.contains("\"directory\":\"man1\""), "{again:?}");
    fs::write(project.path().join("file"), "").unwrap();
    project
        .run(&["man", "file"])
        .check(73, &["error[OUTPUT]", "cannot write the manual into file"]);
}

#[test]
fn a_shell_takes_what_completes_the_words() {
    let project = Project::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.run(&["completions", shell]);
        assert_eq!(
            (script.code, script.stdout.contains("log-level")),
            (0, true),
            "{shell}"
        );
    }
    project
        .run(&["completions", "tcsh"])
        .check(2, &["tcsh", "bash"]);
    let script = project.path().join("nself.bash");
    fs::write(&script, project.run(&["completions", "bash"]).stdout).unwrap();
    let asks = format!(
        "source {}; COMP_WORDS=(nself plugin en); COMP_CWORD=2; _nself nself en plugin; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let answer = Command::new("bash").args(["-c", &asks]).output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(answer.trim(), "enable");
}
