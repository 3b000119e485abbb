//! A host that gets its certificate by itself, from an authority that runs beside it.

mod authority;
mod limited;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::authority::Pebble;
use super::caller::Caller;
use super::commands::commanding;
use super::project::{Host, Project, eventually, free_ports, until};
use crate::certificates::{LONG, put_key};

/// A certificate that no test outlives.
const DAYS: u32 = 90 * 86_400;

/// What stands in the log for a certificate that was not given.
const IN_VAIN: &str = "there is no certificate from the authority";

/// A project that asks such an authority.
struct Stage {
    project: Project,
    pebble: Pebble,
    redirect: u16,
}

impl Stage {
    /// The authority does not run yet.
    async fn new(seconds: u32) -> Self {
        let [redirect] = free_ports();
        Self::asked_at(redirect, redirect, seconds).await
    }

    /// One whose authority asks at another port.
    async fn asked_at(redirect: u16, http_port: u16, seconds: u32) -> Self {
        let stage = Self {
            project: Project::served("").await,
            pebble: Pebble::new(http_port, seconds),
            redirect,
        };
        stage.configure(&["home.example"], &stage.pebble.url("/dir"));
        stage
    }

    fn configure(&self, domains: &[&str], directory: &str) {
        let settings = format!(
            "[http]\nrate_per_minute = 100000000\nplugin_ports = false\npublic_url = \"https://home.example\"\n\
             [http.tls]\nredirect_port = {}\n\
             [http.tls.acme]\ndomains = {domains:?}\ncontact = [\"me@home.example\"]\ndirectory = {directory:?}\nca = \"{}\"\n\
             terms_of_service_agreed = true\n",
            self.redirect,
            self.pebble.ca().display(),
        );
        fs::write(self.project.path().join("nself.toml"), settings).unwrap();
    }

    /// The secret of this kind that the host has for its authority.
    fn secret(&self, kind: &str) -> PathBuf {
        let secrets = fs::read_dir(self.project.path().join(".nself/secrets")).unwrap();
        let mut paths = secrets.map(|entry| entry.unwrap().path());
        let end = format!("-{kind}");
        paths
            .find(|path| path.to_str().unwrap().ends_with(&end))
            .unwrap_or_else(|| panic!("no {kind}"))
    }

    /// Where it writes down what was in vain.
    fn attempts(&self) -> Option<PathBuf> {
        let files = fs::read_dir(self.project.path().join(".nself")).unwrap();
        let mut paths = files.map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|kind| kind == "json"))
    }

    /// What `nself doctor` says of the certificate: how it is, what was found and what to do.
    fn doctor(&self) -> (String, String) {
        let ran = self.project.nself(&["doctor", "--json"]).data();
        let findings = ran.as_array().unwrap();
        let mut findings = findings.iter();
        let found = findings.find(|one| one["check"] == "certificate").unwrap();
        let state = found["state"].as_str().unwrap().to_owned();
        (state, format!("{} {}", found["found"], found["fix"]))
    }

    /// What everybody sees who trusts the authority, as soon as it can be seen.
    async fn certified(&self, host: &Host) -> Vec<u8> {
        let client = self.pebble.client();
        eventually("a certificate", async || {
            shown(&client, host, "home.example").await.ok()
        })
        .await
    }

    /// No line of a key is in the log.
    #[track_caller]
    fn check_secrets_are_not_in(&self, text: &str) {
        let pair = fs::read_to_string(self.secret("certificate")).unwrap();
        let (key, _) = pair.split_once("-----BEGIN CERTIFICATE").unwrap();
        let account = fs::read_to_string(self.secret("account")).unwrap();
        let account: serde_json::Value = serde_json::from_str(&account).unwrap();
        let lines = key.lines().filter(|line| !line.contains("---"));
        for line in lines.chain(account["key_pkcs8"].as_str()) {
            assert!(!text.contains(line), "a key is in it");
        }
    }
}

async fn connect(
    client: &Arc<ClientConfig>,
    host: &Host,
    name: &'static str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(host.address).await?;
    let connector = TlsConnector::from(Arc::clone(client));
    connector
        .connect(ServerName::try_from(name).unwrap(), stream)
        .await
}

/// The certificate that a new caller is shown.
async fn shown(client: &Arc<ClientConfig>, host: &Host, name: &'static str) -> io::Result<Vec<u8>> {
    let stream = connect(client, host, name).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Ok(chain[0].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_asked_for_shown_and_kept() {
    let mut stage = Stage::new(DAYS).await;
    let project = &stage.project;
    project.enable("bad", &commanding());
    let (state, says) = stage.doctor();
    assert!(state == "warning" && says.contains("none yet"), "{says}");

    // Nobody is there to be asked: it runs all the same, and says what is wrong.
    let host = project.start();
    until("its being told", || {
        host.logged(&[IN_VAIN, "cannot be asked", "ca`"]) == 1
    });
    assert_eq!(
        host.logged(&["there is no certificate yet", "turned away"]),
        1
    );
    let plain = format!("http://127.0.0.1:{}/livez", stage.redirect);
    let plain = super::tls::said(
        project,
        "curl",
        &["-sS", "-w", "%{http_code} %{redirect_url}", &plain],
    );
    assert!(plain.ends_with("308 https://home.example/livez"), "{plain}");
    let tls = format!("https://127.0.0.1:{}/livez", host.address.port());
    let mut curl = std::process::Command::new("curl");
    let ended = curl.args(["-sSk", &tls]).output().unwrap().status;
    assert_eq!(ended.code(), Some(35), "the handshake ends");
    let (state, says) = stage.doctor();
    assert!(
        state == "failed" && says.contains("cannot be asked"),
        "{says}"
    );
    let refused = project.nself(&["bad", "which"]);
    refused.refused(
        75,
        &["TLS_CERTIFICATE", "no certificate yet", "nself doctor"],
    );
    project.nself(&["stop"]).done();

    // Somebody is. That it has failed once is no reason to wait.
    stage.pebble.start();
    let host = stage.project.start();
    let first = stage.certified(&host).await;
    until("both lines", || {
        host.logged(&[
            "asking for a certificate",
            "home.example",
            &stage.pebble.url(""),
        ]) == 2
            && host.logged(&["TLS with this certificate"]) == 1
    });
    assert_eq!(stage.attempts(), None, "it is forgotten");
    let (state, says) = stage.doctor();
    assert!(state == "ok" && says.contains("holds until"), "{says}");
    stage.project.nself(&["bad", "which"]).done();
    for kind in ["account", "certificate"] {
        let mode = fs::metadata(stage.secret(kind))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{kind}");
    }
    let listed = stage.project.nself(&["config", "secrets"]).done().stdout;
    assert!(listed.contains("acme-"), "{listed}");
    stage.check_secrets_are_not_in(&(host.log_text() + &stage.pebble.log_text()));
    stage.project.nself(&["stop"]).done();

    // What is kept needs nobody.
    let client = stage.pebble.client();
    stage.pebble.stop();
    let host = stage.project.start();
    assert_eq!(shown(&client, &host, "home.example").await.unwrap(), first);
    assert_eq!(host.logged(&["asking for a certificate"]), 2, "as before");
    stage.project.nself(&["stop"]).done();

    // What is asked for in vain meanwhile is told while there is time.
    let directory = stage.pebble.url("/dir");
    stage.configure(&["home.example", "www.home.example"], &directory);
    let host = stage.project.start();
    until("its being told", || host.logged(&[IN_VAIN]) == 2);
    let (state, says) = stage.doctor();
    assert!(
        state == "warning" && says.contains("asked for in vain"),
        "{says}"
    );
    assert_eq!(shown(&client, &host, "home.example").await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_one_is_asked_for_in_time_and_no_connection_ends_for_it() {
    let mut stage = Stage::new(15).await;
    stage.pebble.start();
    stage.project.enable("bad", &commanding());
    let host = stage.project.start();
    let first = stage.certified(&host).await;
    let client = stage.pebble.client();
    let stream = connect(&client, &host, "home.example").await.unwrap();
    let mut kept = Caller::over(stream, host.address).await.unwrap();
    assert_eq!(kept.get("/bad/counts").await.status, 200);

    // Callers who come meanwhile all get through, by one certificate or the other.
    let mut came = 0;
    let second = eventually("another certificate", async || {
        came += 1;
        let stream = connect(&client, &host, "home.example").await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let certificate = chain[0].to_vec();
        let mut caller = Caller::over(stream, host.address).await.unwrap();
        assert_eq!(caller.get("/bad/counts").await.status, 200);
        assert_eq!(kept.get("/bad/counts").await.status, 200);
        Some(certificate).filter(|certificate| *certificate != first)
    })
    .await;
    assert!(came > 10, "{came}");
    assert_eq!(kept.get("/bad/counts").await.status, 200);
    // And once more.
    eventually("a third one", async || {
        let third = shown(&client, &host, "home.example").await.unwrap();
        Some(third).filter(|third| *third != first && *third != second)
    })
    .await;
    assert_eq!(kept.get("/bad/counts").await.status, 200);
    assert_eq!(host.logged(&[IN_VAIN]), 0);
    assert_eq!(host.logged(&["this host has an account"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_does_not_find_the_host_is_not_asked_again_and_again() {
    let [redirect, nobody] = free_ports();
    let mut stage = Stage::asked_at(redirect, nobody, DAYS).await;
    stage.pebble.start();
    for times in 1..=3 {
        let host = stage.project.start();
        until("its being told", || {
            host.logged(&[
                IN_VAIN,
                "did not find this host at home.example",
                "redirect_port`",
            ]) == times
        });
        assert_eq!(host.logged(&[IN_VAIN, &format!("\"failures\":{times}")]), 1);
        stage.project.nself(&["stop"]).done();
    }
    let (state, says) = stage.doctor();
    assert!(
        state == "failed" && says.contains("did not find this host"),
        "{says}"
    );
    // The fourth start waits as a host would that runs.
    let host = stage.project.start();
    until("its waiting", || {
        host.logged(&[
            "not asked for a certificate before that time",
            "did not find",
        ]) == 1
    });
    assert_eq!(host.logged(&["asking for a certificate"]), 3);
    stage.project.nself(&["stop"]).done();
    // Other names are another matter.
    stage.configure(&["other.example"], &stage.pebble.url("/dir"));
    let host = stage.project.start();
    until("its being told", || {
        host.logged(&[IN_VAIN, "at other.example"]) == 1
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn all_names_are_certified_and_one_more_is_a_reason_to_ask() {
    let mut stage = Stage::new(DAYS).await;
    stage.pebble.start();
    let host = stage.project.start();
    let first = stage.certified(&host).await;
    let client = stage.pebble.client();
    let www = shown(&client, &host, "www.home.example").await;
    www.expect_err("it is not for that name");
    stage.project.nself(&["stop"]).done();

    let directory = stage.pebble.url("/dir");
    stage.configure(&["home.example", "www.home.example"], &directory);
    let host = stage.project.start();
    let second = eventually("one for both", async || {
        shown(&client, &host, "www.home.example").await.ok()
    })
    .await;
    assert_ne!(first, second);
    assert_eq!(shown(&client, &host, "home.example").await.unwrap(), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_and_is_good_for_nothing_is_made_anew() {
    let mut stage = Stage::new(DAYS).await;
    stage.pebble.start();
    let host = stage.project.start();
    let mut last = stage.certified(&host).await;
    stage.project.nself(&["stop"]).done();

    // A damaged pair, and an authority that has forgotten the account.
    fs::write(stage.secret("certificate"), "no certificate").unwrap();
    stage.pebble.stop();
    stage.pebble.start();
    let host = stage.project.start();
    let certified = stage.certified(&host).await;
    assert_ne!(certified, last);
    last = certified;
    assert_eq!(
        host.logged(&["that was kept cannot be used", "holds no certificate"]),
        1
    );
    assert_eq!(host.logged(&["does not know this host's account"]), 1);
    stage.project.nself(&["stop"]).done();

    // A damaged account, and a certificate for somebody else, which is shown until there is another one.
    fs::write(stage.secret("account"), "{}").unwrap();
    let key = KeyPair::generate().unwrap();
    let other = stage
        .pebble
        .other()
        .certify_names(&["other.example"], LONG, &key);
    let pair = format!("{}{}", other.key, other.certificate);
    put_key(&stage.secret("certificate"), &pair);
    let host = stage.project.start();
    assert_ne!(stage.certified(&host).await, last);
    assert_eq!(
        host.logged(&["the kept account with the authority cannot be read"]),
        1
    );
    assert_eq!(host.logged(&["TLS with this certificate", "2090-01-01"]), 1);
    assert_eq!(host.logged(&[IN_VAIN]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_on_this_side_is_named() {
    let mut stage = Stage::new(DAYS).await;
    stage.pebble.start();
    let told = |says: &[&str]| {
        let host = stage.project.start();
        let says = [&[IN_VAIN], says].concat();
        until(says[1], || host.logged(&says) == 1);
        stage.project.nself(&["stop"]).done();
        fs::remove_file(stage.attempts().unwrap()).unwrap();
    };
    let directory = stage.pebble.url("/dir");
    // Something else answers there.
    stage.configure(&["home.example"], &stage.pebble.url("/nowhere"));
    told(&["says 404", "http.tls.acme.directory` is right"]);
    stage.configure(&["home.example"], &directory);
    // A certificate that nobody has named.
    let root = fs::read_to_string(stage.pebble.ca()).unwrap();
    let stranger = crate::certificates::Authority::new();
    stranger.put_root(stage.pebble.ca().parent().unwrap());
    told(&[
        "cannot be asked",
        "invalid peer certificate",
        "http.tls.acme.ca`",
    ]);
    fs::write(stage.pebble.ca(), "nothing").unwrap();
    told(&["http.tls.acme.ca: ", "holds no certificate"]);
    fs::remove_file(stage.pebble.ca()).unwrap();
    told(&["http.tls.acme.ca: ", "No such file"]);
    fs::write(stage.pebble.ca(), root).unwrap();
    // A disk that takes nothing: then nobody is asked.
    let before = stage.pebble.log_text().len();
    let host = stage.project.start();
    stage.certified(&host).await;
    stage.project.nself(&["stop"]).done();
    assert!(stage.pebble.log_text().len() > before);
    let pair = stage.secret("certificate");
    let name = pair.file_name().unwrap().to_str().unwrap();
    let attempts = name.replace("-certificate", ".json");
    fs::create_dir(stage.project.path().join(".nself").join(attempts)).unwrap();
    fs::remove_file(&pair).unwrap();
    let before = stage.pebble.log_text();
    let host = stage.project.start();
    until("its being told", || {
        host.logged(&[IN_VAIN, "cannot access"]) == 1
    });
    assert_eq!(host.logged(&["cannot be written down"]), 1);
    assert_eq!(stage.pebble.log_text(), before, "it was asked");
}
