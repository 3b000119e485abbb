//! `nself hasura metadata`, with the real binary and a private cluster.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use super::{Project, Ran};

const HOME: [(&str, &str); 2] = [("PATH", "/usr/bin:/bin"), ("HOME", "/nowhere")];

/// A project whose cluster goes with it.
struct Stage(Project);

impl Stage {
    fn set() -> Self {
        let project = Project::passable();
        project.run(&["init", "--template", "blank"]).check(0, &[]);
        let stage = Self(project);
        stage.run("db migrate up", &[]).check(0, &[]);
        stage
    }

    fn run(&self, line: &str, more: &[(&str, &str)]) -> Ran {
        let words: Vec<&str> = line.split(' ').collect();
        self.0.run_with(&words, &[&HOME[..], more].concat())
    }

    #[track_caller]
    fn check(ran: &Ran, code: i32, holds: &[&str]) {
        assert_eq!(ran.code, code, "{ran:?}");
        let told = format!("{}{}", ran.stdout, ran.stderr);
        for text in holds {
            assert!(told.contains(text), "no {text:?} in {told}");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.0.run(&["stop"]));
    }
}

/// Answers one request and hands out what it was.
fn one_answer(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut seen = vec![];
        let mut part = vec![0; 65_536];
        while !is_whole(&seen) {
            let read = socket.read(&mut part).unwrap();
            assert!(read > 0, "the request broke off");
            seen.extend_from_slice(&part[..read]);
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        socket.write_all((head + answer).as_bytes()).unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    });
    (url, serving)
}

/// Whether the body is there as far as its head says.
fn is_whole(seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(seen);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

#[test]
fn metadata_is_built_checked_compared_and_applied() {
    let stage = Stage::set();
    Stage::check(
        &stage.run("hasura metadata check", &[]),
        65,
        &["HASURA_METADATA_INVALID", "nself hasura metadata build"],
    );
    Stage::check(
        &stage.run("hasura metadata build", &[]),
        0,
        &["wrote ", "/hasura"],
    );
    Stage::check(
        &stage.run("hasura metadata check", &[]),
        0,
        &["nothing wrong"],
    );
    Stage::check(
        &stage.run("hasura metadata diff", &[]),
        0,
        &["no difference"],
    );

    let secret = ("HASURA_GRAPHQL_ADMIN_SECRET", "top-secret");
    let (url, serving) = one_answer(r#"{"is_consistent":true,"inconsistent_objects":[]}"#);
    let ran = stage.run(
        "hasura metadata apply",
        &[("HASURA_GRAPHQL_ENDPOINT", &url), secret],
    );
    Stage::check(&ran, 0, &["has taken it"]);
    let seen = serving.join().unwrap();
    assert!(seen.starts_with("POST /v1/metadata HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("x-hasura-admin-secret: top-secret\r\n"),
        "the secret is not sent"
    );
    assert!(
        seen.contains(r#""type":"replace_metadata""#),
        "it asks for something else"
    );

    // What is wrong is neither applied nor passed over.
    let tables = stage
        .0
        .path()
        .join("hasura/metadata/databases/default/tables");
    let file = tables.join("public_posts.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("- title", "- titel", 1)).unwrap();
    let told = ["public.posts", "there is no column titel"];
    Stage::check(&stage.run("hasura metadata check", &[]), 65, &told);
    Stage::check(
        &stage.run(
            "hasura metadata apply --endpoint http://127.0.0.1:9",
            &[secret],
        ),
        65,
        &told,
    );
    Stage::check(
        &stage.run("hasura metadata diff", &[]),
        3,
        &["HASURA_METADATA_DIFFERS", "titel"],
    );
    Stage::check(&stage.run("hasura metadata build", &[]), 0, &[]);
    let ran = stage.run(
        "hasura metadata apply --endpoint http://127.0.0.1:9",
        &[secret],
    );
    Stage::check(&ran, 69, &["HASURA_UNREACHABLE"]);
    assert!(!format!("{ran:?}").contains("top-secret"));
}

#[test]
fn what_the_project_says_is_kept_and_a_trigger_that_would_fire_twice_is_refused() {
    const TRIGGERS: &str = "\
- name: nightly
  webhook: https://example.org/nightly
  schedule: 0 3 * * *
  include_in_metadata: true
";
    let stage = Stage::set();
    Stage::check(
        &stage.run("hasura metadata build", &[]),
        0,
        &["tables and "],
    );
    let file = stage.0.path().join("hasura/metadata/cron_triggers.yaml");
    fs::write(&file, TRIGGERS).unwrap();
    Stage::check(&stage.run("hasura metadata build", &[]), 0, &[]);
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.contains("name: nightly"), "{kept}");
    Stage::check(
        &stage.run("hasura metadata check", &[]),
        0,
        &["nothing wrong"],
    );
    Stage::check(
        &stage.run("hasura metadata diff", &[]),
        0,
        &["no difference"],
    );

    // A plugin that fires what stands in the same file, by whatever name of it.
    let reads = |path: &str| {
        let key = "NSELF_PLUGINS__SCHEDULER__CONFIG__HASURA_CRON_TRIGGERS";
        stage.run("hasura metadata check", &[(key, path)])
    };
    let told = ["the plugin scheduler reads it as well", "would fire twice"];
    Stage::check(&reads("hasura/metadata/cron_triggers.yaml"), 65, &told);
    Stage::check(
        &reads("hasura/../hasura/metadata/cron_triggers.yaml"),
        65,
        &told,
    );
    let own = stage.0.path().join("hasura/cron_triggers.yaml");
    fs::write(own, TRIGGERS).unwrap();
    Stage::check(&reads("hasura/cron_triggers.yaml"), 0, &["nothing wrong"]);
    // Without triggers of Hasura's there is nothing to fire twice.
    fs::write(&file, "[]").unwrap();
    Stage::check(
        &reads("hasura/metadata/cron_triggers.yaml"),
        0,
        &["nothing wrong"],
    );
}
