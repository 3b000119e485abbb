//! What can be wrong with a secret.

use std::io;
use std::path::PathBuf;

/// What can be wrong with a secret. No variant carries its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Others could read or replace it.
    #[error("{} can be reached by others (mode {mode:03o})", path.display())]
    Loose {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}, this is user {user}", path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Not a name for a secret.
    #[error("`{name}` cannot name a secret")]
    Name {
        /// The name.
        name: String,
    },
    /// Reading or writing failed.
    #[error("cannot access {}", path.display())]
    Access {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl SecretError {
    /// Its stable code; each has a page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Loose { .. } | Self::Owner { .. } => "SECRET_PERMISSIONS",
            Self::Name { .. } => "SECRET_NAME",
            Self::Access { .. } | Self::Random => "SECRET_ACCESS",
        }
    }

    /// What is wrong and what to do about it, for a log: one line.
    pub fn line(&self) -> String {
        let cause = std::error::Error::source(self);
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{self}{cause}: {}", self.help())
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Loose { path, wanted, .. } => format!("chmod {wanted:03o} '{}'", path.display()),
            Self::Owner { path, user, .. } => {
                format!("chown {user} '{}', or run as its owner", path.display())
            }
            Self::Name { .. } => {
                "use up to 100 lower-case letters, digits, `.`, `_` and `-`".to_owned()
            }
            Self::Access { .. } => {
                "check the disk, and the permissions of the directory that it is in".to_owned()
            }
            Self::Random => "check that getrandom(2) is permitted".to_owned(),
        }
    }
}
