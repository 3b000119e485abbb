//! The PROXY protocol of a real host: what curl says counts, and its own commands still find it.

use std::process::Command;

use super::commands::commanding;
use super::project::{Host, Project, until};
use crate::certificates::{Authority, LONG};

const TELLING: &str = "[http]\nrate_per_minute = 100000000\nplugin_ports = false\n\
                       trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\n";

/// A project in which this machine is the balancer.
async fn project(more: &str) -> Project {
    let project = Project::served("").await;
    let settings = format!("{TELLING}{more}");
    std::fs::write(project.path().join("nself.toml"), settings).unwrap();
    project
}

/// What curl's end and answer are.
fn curl(project: &Project, arguments: &[&str]) -> (Option<i32>, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "60"]).args(arguments);
    let ran = curl.current_dir(project.path()).output().unwrap();
    let answer = String::from_utf8_lossy(&ran.stdout).into_owned();
    (ran.status.code(), answer)
}

fn check_curl(project: &Project, host: &Host, scheme: &str, more: &[&str]) {
    let url = format!("{scheme}://localhost:{}/livez", host.address.port());
    let common = [&["-4", "-w", "%{http_code}", &url][..], more].concat();
    let telling = [&common[..], &["--haproxy-protocol"]].concat();
    let (ended, answer) = curl(project, &telling);
    assert_eq!(ended, Some(0), "{answer}");
    assert!(answer.ends_with("200"), "{answer}");
    // Without it the connection ends.
    let (ended, answer) = curl(project, &common);
    assert!(matches!(ended, Some(35 | 52 | 56)), "{ended:?} {answer}");
    until("the log's saying so", || {
        host.logged(&[
            "a connection was closed before it began",
            "began without a header",
        ]) == 1
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_says_it_and_so_do_its_own_commands() {
    let project = project("").await;
    project.enable("bad", &commanding());
    let host = project.start();
    check_curl(&project, &host, "http", &[]);
    let version = project.plugin("bad")["version"].clone();
    let which = project.nself(&["bad", "which", "--json"]).done();
    assert_eq!(which.data(), version);
    // They were understood.
    assert_eq!(host.logged(&["a connection was closed before it began"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_it_is_the_same() {
    let tls = "[http.tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n";
    let project = project(tls).await;
    let authority = Authority::new();
    authority.certify(LONG).put(project.path());
    authority.put_root(project.path());
    project.enable("bad", &commanding());
    let host = project.start();
    check_curl(&project, &host, "https", &["--cacert", "root.pem"]);
    project.nself(&["bad", "which"]).done();
    assert_eq!(host.logged(&["a connection was closed before it began"]), 1);
}
