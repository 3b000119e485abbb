//! An authority of the test's own: pebble, which Let's Encrypt makes to try clients with, and what answers its questions for names.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;

use super::super::project::{free_ports, until};
use crate::certificates::{Authority, LONG};

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, log: &Path, arguments: &[&str]) -> Ended {
    let log = || File::options().append(true).create(true).open(log).unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", "0")
        .env("PEBBLE_AUTHZREUSE", "100")
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log());
    let child = command.spawn();
    Ended(child.unwrap_or_else(|error| panic!("{program}: {error}: install pebble")))
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the authority's log:\n{}", self.log_text());
        }
    }
}

/// The authority.
pub(super) struct Pebble {
    directory: TempDir,
    /// Whose certificate it shows to those who ask it.
    own: Authority,
    port: u16,
    management: u16,
    names: u16,
    running: Option<(Ended, Ended)>,
}

impl Pebble {
    /// One that is not there yet. It will ask at `http_port`, and sign for so many seconds.
    pub(super) fn new(http_port: u16, seconds: u32) -> Self {
        let [port, management, tls_port, names] = free_ports();
        let directory = tempfile::tempdir().unwrap();
        let own = Authority::new();
        let files = own.certify(LONG).put(directory.path());
        own.put_root(directory.path());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": files.certificate,
            "privateKey": files.key,
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        Self {
            names,
            directory,
            own,
            port,
            management,
            running: None,
        }
    }

    pub(super) fn start(&mut self) {
        let names = format!("127.0.0.1:{}", self.names);
        let answering = run(
            "pebble-challtestsrv",
            &self.log(),
            &[
                "-dns01",
                &names,
                "-defaultIPv4",
                "127.0.0.1",
                "-defaultIPv6",
                "",
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-management",
                "127.0.0.1:0",
            ],
        );
        let config = self.path("config.json");
        let config = config.to_str().unwrap();
        let asking = run(
            "pebble",
            &self.log(),
            &["-config", config, "-dnsserver", &names],
        );
        until("pebble's listening", || {
            [self.port, self.management, self.names]
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        self.running = Some((answering, asking));
    }

    /// Ends it. It forgets everything.
    pub(super) fn stop(&mut self) {
        self.running = None;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("pebble.log")
    }

    pub(super) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Who has signed its own certificate.
    pub(super) fn ca(&self) -> PathBuf {
        self.path("root.pem")
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Clients that trust what it signs.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        let url = format!("https://localhost:{}/roots/0", self.management);
        let mut curl = Command::new("curl");
        let ran = curl.args(["-sS", "--cacert"]).arg(self.ca()).arg(url);
        let root = CertificateDer::from_pem_slice(&ran.output().unwrap().stdout).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Who comes again would see what he saw.
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// Who certifies for somebody else.
    pub(super) fn other(&self) -> &Authority {
        &self.own
    }
}
