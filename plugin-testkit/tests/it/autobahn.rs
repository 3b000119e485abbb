//! The host's WebSockets before Autobahn, the conformance suite of RFC 6455: each case breaks, or stretches, another rule of framing.

use std::{
    path::Path,
    process::{Command, Output},
};

use nself_plugin_testkit::TestHost;

use crate::{fixture, started};

/// Of the suite's chapters those that concern a server which takes messages of up to a mebibyte: framing, ping and pong, reserved bits,
/// opcodes, fragments, UTF-8, close, and fragments that the suite makes by itself.
const CASES: &[&str] = &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];
/// Larger messages, as far as they are taken.
const LARGE: &[&str] = &[
    "9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.2.2", "9.2.3", "9.7.*", "9.8.*",
];

/// Of the two chapters on compression, each of whose cases sends a thousand messages: in one frame and in many, and ways to agree on the
/// windows. `AUTOBAHN_WHOLE` tries all 216.
const DEFLATE: &[&str] = &["12.1.3", "12.3.11", "13.1.3", "13.3.3", "13.5.3", "13.7.3"];

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_finds_nothing_that_is_not_strictly_right() {
    let cases = [CASES, LARGE].concat();
    check("plain", started().await, &cases, 265).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autobahn_finds_nothing_wrong_with_compression() {
    let config = "[http]\nwebsocket_deflate = true\n";
    let host = fixture().config(config).start().await;
    if std::env::var_os("AUTOBAHN_WHOLE").is_some() {
        check("deflate", host, &["12.*", "13.*"], 216).await;
    } else {
        check("deflate", host, DEFLATE, DEFLATE.len()).await;
    }
}

async fn check(name: &'static str, host: TestHost, cases: &[&'static str], amount: usize) {
    let url = format!("ws://{}/fixture/socket", host.address());
    let cases = cases.to_vec();
    let tried = tokio::task::spawn_blocking(move || autobahn(name, &url, &cases));
    let output = tried.await.expect("the suite runs");
    let told = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (passed, failed) = (told(&output.stdout), told(&output.stderr));
    assert!(output.status.success(), "{passed}{failed}");
    // A suite that has lost its cases has proved nothing.
    assert_eq!(passed.trim(), format!("{amount} passed, 0 failed"));
    host.stop().await;
}

fn autobahn(name: &str, url: &str, cases: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/autobahn.sh");
    let mut command = Command::new(script);
    command
        .arg(url)
        .arg(target.join("autobahn").join(name))
        .args(cases);
    command.output().expect("the script is there")
}
