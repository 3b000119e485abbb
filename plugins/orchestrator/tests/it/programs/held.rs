//! What a program may use.

use std::fs;

use serde_json::json;

use super::{host, run, shell};

/// Who it is, where it is, and what it has, a line each.
const TELL: &str = "id -u
pwd
ls -A | wc -l
ls /proc/self/fd | tr '\\n' ' '; echo
env | cut -d= -f1 | sort | tr '\\n' ' '; echo
grep NoNewPrivs /proc/self/status | tr -d '[:space:]'; echo
ulimit -n; ulimit -c
test \"$HOME\" = \"$PWD\" && test \"$TMPDIR\" = \"$PWD\" && echo home
touch mine && echo mine";

#[tokio::test]
async fn a_program_has_a_directory_of_its_own_and_nothing_of_the_hosts() {
    let host = host("\"shell\"", "files_max = 99").await;
    let more = json!({"environment": {"TEA": "green"}});
    let ended = run(&host, "tell", &shell(TELL, &more)).await;
    let told = ended["output"]
        .as_str()
        .unwrap_or_else(|| panic!("{ended}"));
    let lines: Vec<&str> = told.lines().collect();
    let is_root = rustix_uid() == 0;
    let user = if is_root {
        "65534".to_owned()
    } else {
        rustix_uid().to_string()
    };
    assert_eq!(lines[0], user, "{told}");
    assert!(lines[1].contains("/nself-run-"), "{told}");
    assert!(!fs::exists(lines[1]).unwrap_or(true), "it is removed");
    assert_eq!(lines[2], "0", "it is empty: {told}");
    // The fourth is that of the folder that is listed.
    assert_eq!(lines[3].trim(), "0 1 2 3", "{told}");
    // `PWD` and `_` are the shell's own.
    let names: Vec<&str> = lines[4]
        .split(' ')
        .filter(|name| !matches!(*name, "" | "_" | "PWD" | "SHLVL" | "OLDPWD"))
        .collect();
    assert_eq!(
        names,
        ["HOME", "IDEMPOTENCY_KEY", "PATH", "TEA", "TMPDIR"],
        "{told}"
    );
    assert_eq!(
        lines[5..],
        ["NoNewPrivs:1", "99", "0", "home", "mine"],
        "{told}"
    );
    if is_root {
        let ended = run(&host, "secret", &shell("cat /etc/shadow", &json!({}))).await;
        let detail = ended["error"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("Permission denied"), "{ended}");
    }
    host.stop().await;
}

fn rustix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").map_or(0, |about| about.uid())
}

#[tokio::test]
async fn a_program_that_wants_more_than_it_may_fails_and_says_why() {
    let limits = "memory_bytes_max = 268_435_456\ncpu_seconds_max = 1\nfile_bytes_max = 65_536\nprocesses_max = 16\noutput_bytes_max = 10_000";
    let host = host("\"shell\", \"script\"", limits).await;
    let script = |code: &str| {
        let run = json!({"script": {"language": "python", "code": code}});
        format!("  - it:\n      run: {run}\n")
    };
    for (name, tasks, expected) in [
        ("memory", script("x = bytearray(1 << 30)"), "MemoryError"),
        (
            "time",
            shell("while :; do :; done", &json!({})),
            "signal 24 ended it",
        ),
        (
            "file",
            shell("head -c 100000 /dev/zero > big", &json!({})),
            "code",
        ),
        (
            "processes",
            script(
                "import os, time\nfor _ in range(64):\n    if os.fork() == 0:\n        time.sleep(3600)",
            ),
            "BlockingIOError",
        ),
        (
            "output",
            shell("yes", &json!({})),
            "programs.output_bytes_max",
        ),
    ] {
        let ended = run(&host, name, &tasks).await;
        let detail = ended["error"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(expected), "{name}: {ended}");
    }
    host.stop().await;
}
