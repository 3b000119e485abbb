//! A certificate and its private key, as two files hold them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    client::verify_server_name,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject as _},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::{TlsError, Validity};
use crate::config::{Config, secrets::check_file};

/// The keys of the configuration.
const CERTIFICATE: &str = "http.tls.certificate";
const KEY: &str = "http.tls.key";

/// Longest chain and longest key, bytes: a chain has some 6 KB, a key of 4096 bits some 3 KB.
const CERTIFICATE_BYTES_MAX: u64 = 1024 * 1024;
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Where the two are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate of the host, then those of its issuers.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// What `[http.tls]` names; nothing where it names nothing.
    ///
    /// # Errors
    ///
    /// When it names one of the two.
    pub fn of(config: &Config) -> Result<Option<Self>, TlsError> {
        let tls = &config.http.tls;
        let half = |stated, missing| Err(TlsError::Half { stated, missing });
        match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Ok(Some(Self {
                certificate: config.resolve(certificate),
                key: config.resolve(key),
            })),
            (Some(_), None) => half(CERTIFICATE, KEY),
            (None, Some(_)) => half(KEY, CERTIFICATE),
            (None, None) => Ok(None),
        }
    }
}

/// A certificate with its issuers', and its key.
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    validity: Validity,
    sha256: [u8; 32],
}

impl Pair {
    /// Reads and compares the two files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file, what is wrong with it, and what to do.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let certificate = certificate_bytes(&files.certificate)?;
        Self::new(files, &certificate, &key_bytes(&files.key)?)
    }

    /// The same of what is to become both files, which are one.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn parse(files: &TlsFiles, bytes: &[u8]) -> Result<Self, TlsError> {
        Self::new(files, bytes, bytes)
    }

    fn new(files: &TlsFiles, certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate, certificate)?;
        let broken = || TlsError::BrokenCertificate {
            path: files.certificate.clone(),
        };
        let first = chain.first().ok_or_else(|| TlsError::NoCertificate {
            path: files.certificate.clone(),
        })?;
        let validity = Validity::of(first).ok_or_else(broken)?;
        let sha256 = fingerprint(first);
        let key = private_key(&files.key, key)?;
        let key = any_supported_type(&key).map_err(|_| TlsError::BrokenKey {
            path: files.key.clone(),
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch {
                    key: files.key.clone(),
                    certificate: files.certificate.clone(),
                });
            }
            Err(_) => return Err(broken()),
        }
        Ok(Self {
            certified: Arc::new(certified),
            validity,
            sha256,
        })
    }

    /// The time for which the certificate holds.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether the certificate is for this name.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        let verify = || {
            let certificate = ParsedCertificate::try_from(self.certified.end_entity_cert().ok()?);
            let name = ServerName::try_from(name).ok()?;
            verify_server_name(&certificate.ok()?, &name).ok()
        };
        verify().is_some()
    }

    /// SHA-256 of the certificate.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// SHA-256 of a certificate in DER.
pub(crate) fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let digest = digest(&SHA256, certificate);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn certificate_bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = File::open(path).and_then(|file| limited(&file, CERTIFICATE_BYTES_MAX));
    file.map_err(unreadable(CERTIFICATE, path))
}

fn chain(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>();
    certificates.map_err(|source| TlsError::BrokenPem {
        path: path.to_owned(),
        source,
    })
}

/// Links are followed, as who renews certificates often swaps them; what counts is whose the file is that is read.
fn key_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let file = File::open(path).map_err(unreadable(KEY, path))?;
    let metadata = file.metadata().map_err(unreadable(KEY, path))?;
    check_file(path, &metadata)?;
    let bytes = limited(&file, KEY_BYTES_MAX).map_err(unreadable(KEY, path))?;
    Ok(Zeroizing::new(bytes))
}

fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    if is_encrypted(bytes) {
        return Err(TlsError::EncryptedKey {
            path: path.to_owned(),
        });
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        // The cause may quote the file.
        _ => TlsError::BrokenKey {
            path: path.to_owned(),
        },
    })
}

/// Both ways to encrypt a key in PEM: PKCS #8, and the older one of OpenSSL (RFC 1421).
fn is_encrypted(pem: &[u8]) -> bool {
    let mut lines = pem.split(|byte| *byte == b'\n');
    lines.any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || line.starts_with(b"Proc-Type: 4,ENCRYPTED")
    })
}

fn limited(file: &File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn unreadable(key: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Unreadable { key, path, source }
}
