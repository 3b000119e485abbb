//! Why a certificate and its key cannot be used.

use std::{io, path::PathBuf};

use rustls::pki_types::pem;

use crate::{
    cli::{CliError, Exit},
    config::secrets::SecretError,
};

/// What is wrong with the files of `[http.tls]`. No variant carries anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two keys is set.
    #[error("`{stated}` is set, and `{missing}` is not")]
    Half {
        /// The one that is.
        stated: &'static str,
        /// The other one.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}, which `{key}` names", path.display())]
    Unreadable {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could read the private key.
    #[error(transparent)]
    Loose(#[from] SecretError),
    /// There is none in the file.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// What the file holds is damaged.
    #[error("the certificates in {} cannot be read", path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: pem::Error,
    },
    /// What the file holds is PEM around something else.
    #[error("the first certificate in {} is none", path.display())]
    BrokenCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is none in the file.
    #[error("{} holds no private key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// It takes a passphrase, and nobody is there to be asked.
    #[error("the private key in {} is encrypted", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// Damaged, or of a kind that is not known.
    #[error("the private key in {} cannot be used", path.display())]
    BrokenKey {
        /// The file.
        path: PathBuf,
    },
    /// They are of two pairs.
    #[error(
        "the private key in {} is not that of the first certificate in {}",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
}

impl TlsError {
    /// Its stable code; each has a page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Half { .. } => "CONFIGURATION",
            Self::Loose(error) => error.code(),
            Self::NoKey { .. } | Self::EncryptedKey { .. } | Self::BrokenKey { .. } => "TLS_KEY",
            Self::Unreadable { .. }
            | Self::NoCertificate { .. }
            | Self::BrokenPem { .. }
            | Self::BrokenCertificate { .. }
            | Self::Mismatch { .. } => "TLS_CERTIFICATE",
        }
    }

    /// Whether there is nothing where the files are to be.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        const BOTH: &str =
            "set `http.tls.certificate` and `http.tls.key`, or neither of them for plain HTTP";
        match self {
            Self::Half { .. } => BOTH.to_owned(),
            Self::Unreadable { key, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                format!("put the file there, or correct `{key}`: relative paths start at the project's directory")
            }
            Self::Unreadable { .. } => {
                "let the user that runs nself read the file and pass each directory above it".to_owned()
            }
            Self::Loose(error) => error.help(),
            Self::NoCertificate { .. }
            | Self::BrokenPem { .. }
            | Self::BrokenCertificate { .. } => {
                "it has to be PEM: the certificate of this host, then those of its issuers (certbot: fullchain.pem)".to_owned()
            }
            Self::NoKey { .. } | Self::BrokenKey { .. } => {
                "it has to be PEM, in PKCS #8, PKCS #1 or SEC 1, of RSA, ECDSA or Ed25519 (certbot: privkey.pem)".to_owned()
            }
            Self::EncryptedKey { path } => format!(
                "write it without its passphrase, readable by its owner alone: (umask 077; openssl pkey -in '{path}' -out '{path}.plain')",
                path = path.display()
            ),
            Self::Mismatch { .. } => {
                "name the two files of one pair; where there are several certificates, that of this host has to be the first".to_owned()
            }
        }
    }

    /// What is wrong and what to do about it, for a log: one line.
    pub fn line(&self) -> String {
        let cause = std::error::Error::source(self);
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{self}{cause}: {}", self.help())
    }
}

impl From<TlsError> for CliError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Loose(error) => error.into(),
            error => Self::of(error.code(), Exit::Configuration, &error).with_help(error.help()),
        }
    }
}
