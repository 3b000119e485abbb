//! The project's secrets: one file each under `.nself/secrets`, 0600 in a 0700 directory.

mod error;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

pub use error::SecretError;

use super::Secret;
use crate::whole_file::{PRIVATE, WholeFile};

/// The password of the private cluster's owner.
pub const DATABASE_PASSWORD: &str = "database-password";
/// The key that seals what plugins store encrypted.
pub const MASTER_KEY: &str = "master-key";

/// Longest secret that is read, bytes: a PEM key has a few thousand.
const BYTES_MAX: u64 = 64 * 1024;

/// A secret as it may be shown: never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretInfo {
    /// Its name.
    pub name: String,
    /// Seconds since it was last written.
    pub age_s: u64,
}

/// The secrets of a project.
#[derive(Debug, Clone)]
pub struct Secrets {
    directory: PathBuf,
}

impl Secrets {
    /// Opens the store below the project's state directory (`.nself`), and makes it when it is not there.
    ///
    /// # Errors
    ///
    /// [`SecretError::Loose`] and [`SecretError::Owner`] when others could get at it.
    pub fn open(state_directory: &Path) -> Result<Self, SecretError> {
        own_directory(state_directory)?;
        let directory = state_directory.join("secrets");
        private_directory(&directory)?;
        Ok(Self { directory })
    }

    /// The secret of this name, if there is one.
    pub fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let path = self.path(name)?;
        let access = |source| SecretError::Access {
            path: path.clone(),
            source,
        };
        // Neither following a link nor blocking on a pipe that somebody put there.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let custom = i32::try_from(flags.bits()).expect("open flags fit an int");
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(custom)
            .open(&path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(access(error)),
        };
        check_private(&path, &file.metadata().map_err(access)?, 0o077, 0o600)?;
        let mut value = String::new();
        file.take(BYTES_MAX + 1)
            .read_to_string(&mut value)
            .map_err(access)?;
        if value.len() as u64 > BYTES_MAX {
            return Err(access(ErrorKind::FileTooLarge.into()));
        }
        value.truncate(value.trim_end_matches(['\r', '\n']).len());
        Ok(Some(Secret::new(value)))
    }

    /// The secret of this name; at its first use `bytes` random bytes, hexadecimal.
    ///
    /// Two processes that ask at the same time get the same secret.
    pub fn get_or_generate(&self, name: &str, bytes: usize) -> Result<Secret, SecretError> {
        if let Some(secret) = self.get(name)? {
            return Ok(secret);
        }
        let path = self.path(name)?;
        let secret = random(bytes)?;
        let file = written(&path, &secret)?;
        match file.place_new() {
            Ok(()) => Ok(secret),
            // Somebody else was first: theirs counts.
            Err(source) if source.kind() == ErrorKind::AlreadyExists => {
                self.get(name)?.ok_or(SecretError::Access { path, source })
            }
            Err(source) => Err(SecretError::Access { path, source }),
        }
    }

    /// Writes a secret, whole or not at all.
    pub fn set(&self, name: &str, secret: &Secret) -> Result<(), SecretError> {
        let path = self.path(name)?;
        let file = written(&path, secret)?;
        file.place()
            .map_err(|source| SecretError::Access { path, source })
    }

    /// Names and ages, by name.
    pub fn list(&self) -> Result<Vec<SecretInfo>, SecretError> {
        let access = |source| SecretError::Access {
            path: self.directory.clone(),
            source,
        };
        let mut secrets = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(access)? {
            let entry = entry.map_err(access)?;
            let Some(name) = entry
                .file_name()
                .to_str()
                .filter(|name| is_name(name))
                .map(str::to_owned)
            else {
                continue;
            };
            let written = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .map_err(access)?;
            let age_s = SystemTime::now()
                .duration_since(written)
                .map_or(0, |age| age.as_secs());
            secrets.push(SecretInfo { name, age_s });
        }
        secrets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(secrets)
    }

    fn path(&self, name: &str) -> Result<PathBuf, SecretError> {
        if is_name(name) {
            Ok(self.directory.join(name))
        } else {
            Err(SecretError::Name {
                name: name.to_owned(),
            })
        }
    }
}

fn written(path: &Path, secret: &Secret) -> Result<WholeFile, SecretError> {
    let write = || {
        let mut file = WholeFile::at(path, PRIVATE)?;
        file.write_all(secret.expose().as_bytes())?;
        Ok(file)
    };
    write().map_err(|source| SecretError::Access {
        path: path.to_owned(),
        source,
    })
}

fn is_name(name: &str) -> bool {
    let starts_well =
        name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let letters_fit = name.chars().all(|letter| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-_".contains(letter)
    });
    starts_well && letters_fit && name.len() <= 100
}

/// `bytes` random bytes from the operating system, hexadecimal.
pub fn random(bytes: usize) -> Result<Secret, SecretError> {
    let mut raw = zeroize::Zeroizing::new(vec![0; bytes]);
    aws_lc_rs::rand::fill(&mut raw).map_err(|_| SecretError::Random)?;
    let mut text = String::with_capacity(bytes * 2);
    for byte in raw.iter() {
        let digit =
            |value: u8| char::from_digit(u32::from(value), 16).expect("four bits are one digit");
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    Ok(Secret::new(text))
}

/// Makes a directory that only this user can enter, or checks that it is one.
pub fn private_directory(path: &Path) -> Result<(), SecretError> {
    directory(path, 0o077)
}

/// Makes the state directory, or checks that others can neither list nor write it.
///
/// They may pass through: a Postgres that runs as another user has to reach its own directory below.
pub fn own_directory(path: &Path) -> Result<(), SecretError> {
    directory(path, 0o066)
}

fn directory(path: &Path, refused: u32) -> Result<(), SecretError> {
    let access = |source| SecretError::Access {
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let metadata = fs::metadata(path).map_err(access)?;
            check_private(path, &metadata, refused, 0o700)
        }
        Err(error) => Err(access(error)),
    }
}

fn check_private(
    path: &Path,
    metadata: &fs::Metadata,
    refused: u32,
    wanted: u32,
) -> Result<(), SecretError> {
    let user = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    if mode & refused != 0 {
        return Err(SecretError::Loose {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    if metadata.uid() != user && user != 0 {
        return Err(SecretError::Owner {
            path: path.to_owned(),
            owner: metadata.uid(),
            user,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store() -> (tempfile::TempDir, Secrets) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let secrets = Secrets::open(&directory.path().join(".nself")).expect("it opens");
        (directory, secrets)
    }

    #[test]
    fn a_secret_is_generated_once_even_by_many_at_a_time() {
        let (_directory, secrets) = store();
        let all: Vec<String> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        secrets
                            .get_or_generate("key", 32)
                            .expect("it is there")
                            .expose()
                            .to_owned()
                    })
                })
                .collect();
            asking
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert_eq!(all[0].len(), 64);
        assert!(all.iter().all(|secret| *secret == all[0]));
        assert_eq!(
            secrets
                .list()
                .expect("it lists")
                .iter()
                .map(|secret| secret.name.as_str())
                .collect::<Vec<_>>(),
            ["key"]
        );
    }

    #[test]
    fn a_file_or_directory_that_others_can_reach_is_refused_with_its_remedy() {
        let (directory, secrets) = store();
        secrets
            .set("key", &Secret::new("x".to_owned()))
            .expect("it is written");
        let file = directory.path().join(".nself/secrets/key");
        assert_eq!(
            fs::metadata(&file).expect("it is there").mode() & 0o777,
            0o600
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
        let error = secrets.get("key").expect_err("loose");
        assert_eq!(error.help(), format!("chmod 600 '{}'", file.display()));

        let state = directory.path().join(".nself");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).expect("ours");
        let error = Secrets::open(&state).expect_err("loose");
        assert_eq!(error.help(), format!("chmod 700 '{}'", state.display()));
    }

    #[test]
    fn others_may_pass_through_the_state_directory_and_no_further() {
        let (directory, _secrets) = store();
        let state = directory.path().join(".nself");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o711)).expect("ours");
        Secrets::open(&state).expect("passing through is fine");
        fs::set_permissions(state.join("secrets"), fs::Permissions::from_mode(0o711))
            .expect("ours");
        Secrets::open(&state).expect_err("loose");
    }

    #[test]
    fn a_secret_that_is_too_long_is_not_cut() {
        let (_directory, secrets) = store();
        secrets
            .set("key", &Secret::new("x".repeat(65 * 1024)))
            .expect("it is written");
        assert!(matches!(
            secrets.get("key"),
            Err(SecretError::Access { .. })
        ));
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let (_directory, secrets) = store();
        for name in ["../x", "", ".hidden", "A", "a/b", "a\0"] {
            assert!(
                matches!(secrets.get(name), Err(SecretError::Name { .. })),
                "{name:?}"
            );
        }
    }
}
