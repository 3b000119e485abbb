//! The project's secrets: one file each under `.nself/secrets`, 0600 in a 0700 directory, and before them those that others
//! have put into `secrets.directory`, as orchestrators of containers do.

mod error;
mod file;

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

pub use error::SecretError;
pub(crate) use file::check_file;
pub use file::{own_directory, private_directory};

use super::{Config, Secret};

/// The password of the private cluster's owner.
pub const DATABASE_PASSWORD: &str = "database-password";
/// The key that seals what plugins store encrypted.
pub const MASTER_KEY: &str = "master-key";

/// The secrets of a project.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Where generated ones are.
    own: PathBuf,
    /// Where those are that others put there: they go first, and nothing is written here.
    mounted: Option<PathBuf>,
}

impl Secrets {
    /// Opens the store below the project's state directory (`.nself`), and makes it when it is not there.
    ///
    /// # Errors
    ///
    /// [`SecretError::Loose`] and [`SecretError::Owner`] when others could get at it.
    pub fn open(state_directory: &Path) -> Result<Self, SecretError> {
        own_directory(state_directory)?;
        let own = state_directory.join("secrets");
        private_directory(&own)?;
        Ok(Self { own, mounted: None })
    }

    /// Opens the store of a configured project, with what stands in `secrets.directory` before it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); also when the directory is not there, or when others could put files into it.
    pub fn of(config: &Config) -> Result<Self, SecretError> {
        let store = Self::open(&config.state_directory())?;
        let mounted = mounted(config);
        mounted.as_deref().map_or(Ok(()), file::check_mounted)?;
        Ok(Self { mounted, ..store })
    }

    /// The file of each secret of a project, by name: the one that counts. Makes nothing; a project that was never started
    /// has none of its own.
    ///
    /// # Errors
    ///
    /// [`SecretError::Access`] when a directory cannot be listed.
    pub fn files(config: &Config) -> Result<BTreeMap<String, PathBuf>, SecretError> {
        let own = config.state_directory().join("secrets");
        let mut files = BTreeMap::new();
        for directory in [Some(own), mounted(config)].into_iter().flatten() {
            let names = file::names(&directory)?.into_iter();
            let named = names.filter(|name| is_name(name));
            files.extend(named.map(|name| {
                let path = directory.join(&name);
                (name, path)
            }));
        }
        Ok(files)
    }

    /// The secret of this name, if there is one.
    ///
    /// # Errors
    ///
    /// [`SecretError::Loose`] and [`SecretError::Owner`] when others could read it, also where another one would be found
    /// in the other place: which of them counts must not depend on its mode.
    pub fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        check_name(name)?;
        for directory in self.mounted.iter().chain([&self.own]) {
            if let Some(secret) = file::read(&directory.join(name))? {
                return Ok(Some(secret));
            }
        }
        Ok(None)
    }

    /// The secret of this name; at its first use `bytes` random bytes, hexadecimal.
    ///
    /// Two processes that ask at the same time get the same secret.
    pub fn get_or_generate(&self, name: &str, bytes: usize) -> Result<Secret, SecretError> {
        if let Some(secret) = self.get(name)? {
            return Ok(secret);
        }
        let path = self.own.join(name);
        let secret = random(bytes)?;
        let file = file::written(&path, &secret)?;
        match file.place_new() {
            Ok(()) => Ok(secret),
            // Somebody else was first: theirs counts.
            Err(source) if source.kind() == ErrorKind::AlreadyExists => {
                self.get(name)?.ok_or(SecretError::Access { path, source })
            }
            Err(source) => Err(SecretError::Access { path, source }),
        }
    }

    /// Writes a secret into the own store, whole or not at all.
    pub fn set(&self, name: &str, secret: &Secret) -> Result<(), SecretError> {
        check_name(name)?;
        let path = self.own.join(name);
        let file = file::written(&path, secret)?;
        file.place()
            .map_err(|source| SecretError::Access { path, source })
    }
}

fn mounted(config: &Config) -> Option<PathBuf> {
    let directory = config.secrets.directory.as_ref()?;
    Some(config.resolve(directory))
}

fn check_name(name: &str) -> Result<(), SecretError> {
    if is_name(name) {
        return Ok(());
    }
    Err(SecretError::Name {
        name: name.to_owned(),
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

#[cfg(test)]
mod tests;
