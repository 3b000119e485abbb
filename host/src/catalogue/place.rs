//! Where a catalogue or an archive lies: on the web, or on this machine.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use url::Url;

use crate::capability::http::{
    Egress,
    fetch::{FetchError, Fetcher},
};

/// A place from which files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address.
    Web(Url),
    /// A file.
    File(PathBuf),
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// An address that is none.
    #[error("{0} is no address")]
    Url(String),
    /// It was not fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up ({0})")]
    Tls(#[from] rustls::Error),
    /// A file does not read.
    #[error("{path} cannot be read ({source})", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than what it should be.
    #[error("{path} has more than {max} bytes", path = path.display())]
    Large {
        /// Which one.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
}

impl PlaceError {
    /// Whether it says that there is no such file.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Fetch(FetchError::Status { status, .. }) => {
                matches!(status.as_u16(), 404 | 410)
            }
            Self::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

impl Place {
    /// What `text` means; files are looked for from `directory`.
    ///
    /// # Errors
    ///
    /// [`PlaceError::Url`].
    pub fn parse(text: &str, directory: &Path) -> Result<Self, PlaceError> {
        if !text.contains("://") {
            return Ok(Self::File(directory.join(text)));
        }
        let refused = || PlaceError::Url(crate::loader::one_line(text));
        let url: Url = text.parse().map_err(|_| refused())?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self::Web(url)),
            "file" => url.to_file_path().map(Self::File).map_err(|()| refused()),
            _ => Err(refused()),
        }
    }

    /// What `name`, as a file at this place has it, means.
    ///
    /// # Errors
    ///
    /// [`PlaceError::Url`]: also when an index of the web names a file of this machine.
    pub fn join(&self, name: &str) -> Result<Self, PlaceError> {
        match self {
            Self::Web(url) => {
                let refused = || PlaceError::Url(crate::loader::one_line(name));
                let next = url.join(name).map_err(|_| refused())?;
                let as_safe = next.scheme() == url.scheme() || next.scheme() == "https";
                if as_safe && next.has_host() {
                    Ok(Self::Web(next))
                } else {
                    Err(refused())
                }
            }
            Self::File(path) => Self::parse(name, path.parent().unwrap_or(Path::new("."))),
        }
    }

    /// The place of the signature of what lies here.
    #[must_use]
    pub fn signature(&self) -> Self {
        match self {
            Self::Web(url) => {
                let mut url = url.clone();
                url.set_path(&format!("{}.{}", url.path(), crate::minisign::EXTENSION));
                Self::Web(url)
            }
            Self::File(path) => Self::File(crate::loader::signature_of(path)),
        }
    }

    /// Whether whoever stands on the way could have put something else there: fetched without encryption, and not from here.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Web(url) if url.scheme() == "http" => match url.host() {
                Some(url::Host::Ipv4(address)) => !address.is_loopback(),
                Some(url::Host::Ipv6(address)) => !address.is_loopback(),
                Some(url::Host::Domain(name)) => name != "localhost",
                None => true,
            },
            Self::Web(_) | Self::File(_) => false,
        }
    }

    /// What lies here. `named` is the place that the operator wrote: it may be anywhere, and what it led to only in public.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub async fn read(&self, named: &Self, max: u64) -> Result<Vec<u8>, PlaceError> {
        match (self, named) {
            (Self::Web(url), Self::Web(named)) => {
                Ok(Fetcher::to(named, &Egress::new()?)?.get(url, max).await?)
            }
            // A catalogue on this machine may name any address: its owner wrote it.
            (Self::Web(url), Self::File(_)) => {
                Ok(Fetcher::to(url, &Egress::new()?)?.get(url, max).await?)
            }
            (Self::File(path), _) => read_file(path, max),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // A query may hold a secret.
            Self::Web(url) => {
                let path = url.path();
                write!(f, "{}{path}", url.origin().ascii_serialization())
            }
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, PlaceError> {
    let failed = |source| PlaceError::File {
        path: path.to_owned(),
        source,
    };
    // A FIFO would keep whoever opens it.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(PlaceError::Large {
            path: path.to_owned(),
            max,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::parse(text, Path::new("/home")).expect("a place")
    }

    #[test]
    fn what_an_index_names_is_beside_it_or_elsewhere_and_never_less_safe() {
        let web = place("https://example.org/nself/index.json");
        let beside = web.join("hello.tar.gz").expect("a place");
        assert_eq!(beside.to_string(), "https://example.org/nself/hello.tar.gz");
        assert_eq!(
            web.signature().to_string(),
            "https://example.org/nself/index.json.minisig"
        );
        let other = web
            .join("https://cdn.example.org/a?token=x")
            .expect("a place");
        assert_eq!(other.to_string(), "https://cdn.example.org/a");
        for unsafe_place in ["http://example.org/a", "file:///etc/passwd", "ftp://x/y"] {
            assert!(web.join(unsafe_place).is_err(), "{unsafe_place}");
        }
        let file = place("catalogue/index.json");
        let beside = file.join("hello.tar.gz").expect("a place");
        assert_eq!(beside, Place::File("/home/catalogue/hello.tar.gz".into()));
    }

    #[test]
    fn open_is_what_others_could_have_changed_on_the_way() {
        for (text, open) in [
            ("http://example.org/x", true),
            ("http://10.0.0.1/x", true),
            ("http://127.0.0.1/x", false),
            ("http://localhost:8000/x", false),
            ("https://example.org/x", false),
            ("/x", false),
        ] {
            assert_eq!(place(text).is_open(), open, "{text}");
        }
        assert!(Place::parse("ftp://example.org/x", Path::new("/")).is_err());
    }
}
