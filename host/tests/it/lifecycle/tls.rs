//! A host that speaks TLS by itself: programs of others reach all of it, and so do its own commands.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::caller::Caller;
use super::commands::commanding;
use super::plugin_file::bad;
use super::project::{Host, PATIENCE, Project, eventually, until};
use crate::certificates::{Authority, LONG, Made, put_key};

const TLS: &str = "[http.tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n";

/// A project with a certificate of this authority.
async fn project() -> (Project, Authority) {
    let project = Project::served(TLS).await;
    let authority = Authority::new();
    authority.certify(LONG).put(project.path());
    authority.put_root(project.path());
    (project, authority)
}

/// What a program says that is run in the project's directory.
#[track_caller]
pub(super) fn said(project: &Project, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(project.path());
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}: install it"));
    assert!(ran.status.success(), "{program}: {ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

fn address(host: &Host, path: &str) -> String {
    format!("https://localhost:{}{path}", host.address.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_node_and_openssl_speak_with_it() {
    let (project, _authority) = project().await;
    project.enable("bad", &bad("0.1.0"));
    let host = project.start();
    let url = address(&host, "/bad/version");
    let format = "\n%{http_code} %{http_version}";
    for (version, expected) in [("--http1.1", "200 1.1"), ("--http2", "200 2")] {
        let curl = ["-sS", "--cacert", "root.pem", version, "-w", format, &url];
        let answer = said(&project, "curl", &curl);
        assert!(
            answer.contains("0.1.0") && answer.ends_with(expected),
            "{answer}"
        );
    }
    let events = address(&host, "/bad/events");
    let events = said(&project, "curl", &["-sSN", "--cacert", "root.pem", &events]);
    assert!(events.contains("by the way"), "{events}");

    let port = host.address.port().to_string();
    let node = said(&project, "node", &["-e", NODE, &port]);
    assert_eq!(node, "http/1.1 200\nh2 200\nrefused\n");

    let place = format!("localhost:{port}");
    for (version, is_spoken) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false)] {
        let mut openssl = Command::new("openssl");
        openssl.args([
            "s_client",
            "-connect",
            &place,
            "-CAfile",
            "root.pem",
            "-cipher",
            "ALL:@SECLEVEL=0",
        ]);
        openssl.args([
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
            version,
        ]);
        let ran = openssl
            .current_dir(project.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(ran.status.success(), is_spoken, "{version}: {ran:?}");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(!is_spoken || text.contains("Verification: OK"), "{text}");
    }
    let plain = format!("http://localhost:{port}/livez");
    let plain = said(&project, "curl", &["-sS", "-w", "%{http_code}", &plain]);
    assert!(
        plain.contains("HTTPS_REQUIRED") && plain.ends_with("400"),
        "{plain}"
    );

    let numbers = numbers(&project, &host);
    for line in [
        "nself_tls_handshake_failures_total{reason=\"plain_http\"} 1",
        "nself_tls_certificate_expiration_timestamp_seconds 3786912000",
    ] {
        assert!(numbers.contains(line), "{numbers}");
    }
    // Strangers' failures are no lines, and the key is in none.
    assert_eq!(host.logged(&["no TLS came about"]), 0);
    assert_eq!(host.logged(&["TLS with this certificate", "2090-01-01"]), 1);
    check_key_is_not_in(&project, &host.log_text());
}

/// HTTP/1.1 and HTTP/2 of node, and a client that trusts somebody else.
const NODE: &str = r"
const [https, http2, fs] = ['https', 'http2', 'fs'].map(require);
const port = process.argv[1], ca = fs.readFileSync('root.pem');
const url = `https://localhost:${port}`;
https.get(`${url}/livez`, { ca, agent: false }, (answer) => {
  console.log(answer.socket.alpnProtocol || 'http/1.1', answer.statusCode);
  answer.resume();
  const session = http2.connect(url, { ca });
  const stream = session.request({ ':path': '/livez' });
  stream.on('response', (head) => console.log(session.alpnProtocol, head[':status']));
  stream.resume();
  stream.on('close', () => {
    session.close();
    https.get(`${url}/livez`, { agent: false }, () => console.log('it trusts anybody'))
      .on('error', () => console.log('refused'));
  });
}).on('error', (error) => { console.error(error); process.exit(1); });
";

fn check_key_is_not_in(project: &Project, text: &str) {
    let key = fs::read_to_string(project.path().join("key.pem")).unwrap();
    for line in key.lines().filter(|line| !line.contains("---")) {
        assert!(!text.contains(line), "a line of the key is in it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_addresses_say_https_and_its_own_commands_find_it() {
    let (project, _authority) = project().await;
    project.enable("bad", &commanding());
    fs::write(
        project.path().join(".env"),
        "NSELF_HTTP__PLUGIN_PORTS=true\nNSELF_PLUGINS__BAD__PORT=0\n",
    )
    .unwrap();
    let host = project.start();
    let here = format!("https://{}", host.address);
    let status = project.nself(&["status", "--json"]).done().data();
    assert_eq!(status["gateway"], *here);
    assert!(project.nself(&["status"]).done().stdout.contains(&here));
    let doctor = project.nself(&["doctor"]).done().stdout;
    assert!(
        doctor.contains(&here) && doctor.contains("holds until 2090-01-01"),
        "{doctor}"
    );
    let urls = project.nself(&["urls", "--json"]).done().data();
    let urls = urls.as_array().unwrap();
    let is_https = |url: &serde_json::Value| url["url"].as_str().unwrap().starts_with("https://");
    assert!(urls.iter().all(is_https), "{urls:?}");

    // A plugin's own port speaks the same.
    let own = urls.iter().find(|url| url["name"] == "bad").unwrap();
    let own = own["url"].as_str().unwrap();
    assert_ne!(own, here);
    let version = format!("{own}/bad/counts");
    let counts = said(
        &project,
        "curl",
        &[
            "-sS",
            "--cacert",
            "root.pem",
            "-w",
            "%{http_code}",
            &version,
        ],
    );
    assert!(counts.ends_with("200"), "{counts}");

    let version = project.plugin("bad")["version"].clone();
    let which = project.nself(&["bad", "which", "--json"]).done();
    assert_eq!(which.data(), version);
    let tail = project.nself(&["bad", "tail"]).done();
    assert_eq!(tail.stdout, "ID  WHAT\n1  begun\nby the way\n1  ended\n");
    drop(host);
}

/// An open WebSocket to the bad plugin, which has greeted.
async fn websocket(authority: &Authority, host: &Host) -> WebSocketStream<TlsStream<TcpStream>> {
    let stream = authority
        .connect(host.address, &["http/1.1"])
        .await
        .unwrap();
    let url = format!("wss://localhost:{}/bad/socket", host.address.port());
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let greeting = socket.next().await.unwrap().unwrap();
    assert!(greeting.is_text());
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_goes_through_it() {
    let (project, authority) = project().await;
    project.enable("bad", &bad("0.1.0"));
    let mut host = project.start();
    let mut socket = websocket(&authority, &host).await;
    for length in [1, 100, 100_000, 1_000_000] {
        let text = "x".repeat(length);
        socket.send(Message::text(text.clone())).await.unwrap();
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await;
        let heard = heard.expect("an echo in time").unwrap().unwrap();
        assert!(heard.to_text().unwrap() == text, "{length}");
    }
    // The host that stops says so, and ends as TLS has it.
    project.nself(&["stop"]).done();
    let mut closed = None;
    while let Some(message) = socket.next().await {
        if let Message::Close(close) = message.unwrap() {
            closed = close.map(|close| u16::from(close.code));
        }
    }
    assert_eq!(closed, Some(1012));
    assert!(host.ended().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_handed_over_speaks_it_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let project = Project::served_on(address).await;
    let authority = Authority::new();
    authority.certify(LONG).put(project.path());
    authority.put_root(project.path());
    let file = project.path().join("nself.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + TLS).unwrap();
    let host = project
        .start_handed(listener, Path::new("/nobody"))
        .unwrap();
    assert_eq!(host.address, address);
    let url = format!("https://{address}/livez");
    let answer = said(
        &project,
        "curl",
        &["-sS", "--cacert", "root.pem", "-w", "%{http_code}", &url],
    );
    assert!(answer.ends_with("200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_expired_is_used_and_the_log_says_so() {
    let (project, authority) = project().await;
    authority.certify((2001, 2002)).put(project.path());
    let host = project.start();
    until("the log's saying so", || {
        host.logged(&["the certificate has expired", "2002-01-01"]) == 1
    });
    let answer = said(&project, "curl", &["-sSk", &address(&host, "/livez")]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_ne!(answer, json!(null));
}

/// All its numbers, as they are scraped.
fn numbers(project: &Project, host: &Host) -> String {
    let metrics = address(host, "/metrics");
    said(project, "curl", &["-sS", "--cacert", "root.pem", &metrics])
}

/// The certificate that a new caller is shown.
async fn shown(authority: &Authority, host: &Host) -> Vec<u8> {
    let stream = authority.connect(host.address, &[]).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].to_vec()
}

/// Lays a pair into a directory of its own and lets the names lead to it, as certbot does.
fn link(project: &Project, name: &str, made: &Made) {
    let archive = project.path().join(name);
    fs::create_dir(&archive).unwrap();
    made.put(&archive);
    for file in ["certificate.pem", "key.pem"] {
        let new = project.path().join(format!("new-{file}"));
        std::os::unix::fs::symlink(archive.join(file), &new).unwrap();
        fs::rename(new, project.path().join(file)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_taken_and_no_connection_ends_for_it() {
    let (project, authority) = project().await;
    link(&project, "1", &authority.certify((2020, 2080)));
    project.enable("bad", &commanding());
    let host = project.start();
    let version = project.plugin("bad")["version"].clone();
    let version = version.as_str().unwrap();
    let first = shown(&authority, &host).await;
    let stream = authority.connect(host.address, &[]).await.unwrap();
    let mut kept = Caller::over(stream, host.address).await.unwrap();
    assert_eq!(kept.get("/bad/counts").await.status, 200);
    let mut socket = websocket(&authority, &host).await;

    link(&project, "2", &authority.certify((2020, 2085)));
    let second = eventually("another certificate", async || {
        Some(shown(&authority, &host).await).filter(|second| *second != first)
    })
    .await;
    until("the log's saying so", || {
        host.logged(&["TLS with this certificate", "2085-01-01"]) == 1
    });
    assert_eq!(kept.get("/bad/counts").await.status, 200);
    socket.send(Message::text("still here")).await.unwrap();
    let heard = socket.next().await.unwrap().unwrap();
    assert_eq!(heard.to_text().unwrap(), "still here");
    let numbers = numbers(&project, &host);
    assert!(
        numbers.contains("expiration_timestamp_seconds 3629145600"),
        "{numbers}"
    );
    // Its own commands know the new one, too.
    let which = project.nself(&["bad", "which"]).done();
    assert_eq!(which.stdout, format!("{version}\n"));

    // Overwritten where they lie, one after the other.
    let made = authority.certify((2020, 2086));
    fs::write(project.path().join("2/certificate.pem"), &made.certificate).unwrap();
    fs::write(project.path().join("2/key.pem"), &made.key).unwrap();
    eventually("a third one", async || {
        Some(shown(&authority, &host).await).filter(|third| *third != second && *third != first)
    })
    .await;
    assert_eq!(kept.get("/bad/counts").await.status, 200);
    assert_eq!(host.logged(&["cannot be used"]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_will_not_do_leave_the_one_before_and_are_told_once() {
    let (project, authority) = project().await;
    let host = project.start();
    let first = shown(&authority, &host).await;
    let other = authority.certify(LONG);
    let good = fs::read_to_string(project.path().join("key.pem")).unwrap();
    let told = |times| {
        until("the log's saying so", || {
            host.logged(&["the one before stays"]) == times
        });
    };
    // The key of another, none at all, and one that others read.
    put_key(&project.path().join("key.pem"), &other.key);
    told(1);
    assert_eq!(
        host.logged(&["the one before stays", "key.pem is not that of"]),
        1
    );
    let failed = project.nself(&["doctor"]);
    failed.refused(4, &["UNHEALTHY"]);
    assert!(numbers(&project, &host).contains("last_reload_successful 0"));
    fs::remove_file(project.path().join("key.pem")).unwrap();
    told(2);
    fs::write(project.path().join("key.pem"), &good).unwrap();
    fs::set_permissions(
        project.path().join("key.pem"),
        Permissions::from_mode(0o644),
    )
    .unwrap();
    told(3);
    assert_eq!(shown(&authority, &host).await, first);

    // Mended by what was said: chmod alone is a change, too.
    fs::set_permissions(
        project.path().join("key.pem"),
        Permissions::from_mode(0o600),
    )
    .unwrap();
    until("its being taken", || {
        numbers(&project, &host).contains("last_reload_successful 1")
    });
    other.put(project.path());
    eventually("the other one", async || {
        Some(shown(&authority, &host).await).filter(|second| *second != first)
    })
    .await;
    assert_eq!(host.logged(&["the one before stays"]), 3);
    check_key_is_not_in(&project, &host.log_text());
}
