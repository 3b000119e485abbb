//! Certificates for hosts of tests, and callers that trust them.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nself::http::tls::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Years in which tests run.
pub(crate) const LONG: (i32, i32) = (2020, 2090);

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    pem: String,
}

/// A certificate with its issuer's, and its key, as PEM.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = "the authority of a test";
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            root: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for this machine, from the first day of one year to that of another.
    pub(crate) fn certify(&self, (from, until): (i32, i32)) -> Made {
        self.certify_key((from, until), &KeyPair::generate().unwrap())
    }

    /// The same for a key that there is.
    pub(crate) fn certify_key(&self, (from, until): (i32, i32), key: &KeyPair) -> Made {
        self.certify_names(&["localhost", "127.0.0.1"], (from, until), key)
    }

    /// The same for other names.
    pub(crate) fn certify_names(
        &self,
        names: &[&str],
        (from, until): (i32, i32),
        key: &KeyPair,
    ) -> Made {
        let names = names.iter().map(|name| (*name).to_owned());
        let names: Vec<String> = names.collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Made {
            certificate: certificate.pem() + &self.pem,
            key: key.serialize_pem(),
        }
    }

    /// Its own certificate, for clients that are told whom to trust.
    pub(crate) fn put_root(&self, directory: &Path) -> PathBuf {
        let path = directory.join("root.pem");
        fs::write(&path, &self.pem).unwrap();
        path
    }

    /// Clients that trust it, and speak this.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }

    /// A connection of such a client with the newest version.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.client(rustls::ALL_VERSIONS, protocols), address).await
    }
}

pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

impl Made {
    /// Writes it where a host finds it.
    pub(crate) fn put(&self, directory: &Path) -> TlsFiles {
        let files = TlsFiles {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        };
        fs::write(&files.certificate, &self.certificate).unwrap();
        put_key(&files.key, &self.key);
        files
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn put_key(path: &Path, text: &str) {
    // Not one that others can read for a moment.
    let _ = fs::remove_file(path);
    fs::write(path, "").unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    fs::write(path, text).unwrap();
}
