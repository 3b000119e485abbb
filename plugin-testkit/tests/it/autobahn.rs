//! The host's WebSockets before Autobahn, the conformance suite of RFC 6455: each case breaks, or stretches, another rule of framing.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::started;

/// Of the suite's chapters those that concern a server without compression, which takes messages of up to a mebibyte: framing,
/// ping and pong, reserved bits, opcodes, fragments, UTF-8, close, and fragments that the suite makes by itself.
const CASES: [&str; 8] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];
/// Larger messages, as far as they are taken.
const LARGE: [&str; 8] = [
    "9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.2.2", "9.2.3", "9.7.*", "9.8.*",
];

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_finds_nothing_that_is_not_strictly_right() {
    let host = started().await;
    let url = format!("ws://{}/fixture/socket", host.address());
    let tried = tokio::task::spawn_blocking(move || autobahn(&url));
    let output = tried.await.expect("the suite runs");
    let told = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (passed, failed) = (told(&output.stdout), told(&output.stderr));
    assert!(output.status.success(), "{passed}{failed}");
    // A suite that has lost its cases has proved nothing.
    assert_eq!(passed.trim(), "265 passed, 0 failed");
    host.stop().await;
}

fn autobahn(url: &str) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/autobahn.sh");
    let mut command = Command::new(script);
    command
        .arg(url)
        .arg(target.join("autobahn"))
        .args(CASES)
        .args(LARGE);
    command.output().expect("the script is there")
}
