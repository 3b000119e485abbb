//! Where the Postgres programs are: a configured place, the machine's own, or what bootstrap unpacked.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The oldest major that the host's SQL is written for.
pub const MAJOR_MIN: u32 = 15;

/// Programs of one Postgres version, all in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    dir: PathBuf,
    version: Version,
}

/// A server version, such as 15.18.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major, which decides the format of the data directory.
    pub major: u32,
    /// The minor; 0 for a development version such as `18beta1`.
    pub minor: u32,
}

/// What to look for, and in which extra places.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// A directory (or its parent) that the operator configured: nothing else is looked at then.
    pub configured: Option<PathBuf>,
    /// Where bootstrap unpacked programs without root rights; the last resort.
    pub bundle_dir: Option<PathBuf>,
    /// The major of an existing data directory: only programs of this major serve.
    pub major: Option<u32>,
}

/// Why no programs were found.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// The configured directory does not hold them.
    #[error("no postgres and initdb in the configured directory {dir}: correct the path or remove it to search the usual places", dir = .0.display())]
    Configured(PathBuf),
    /// The configured directory holds another version than the one needed.
    #[error("{dir} holds PostgreSQL {found}, but {wanted} is needed: configure the directory of that version", dir = .dir.display())]
    Version {
        /// The configured directory.
        dir: PathBuf,
        /// What is in it.
        found: Version,
        /// What would serve, in words.
        wanted: String,
    },
    /// Nothing on this machine serves.
    #[error(
        "no PostgreSQL {wanted} on this machine{others}: install it, or set DATABASE_URL to use a database elsewhere\n  \
         Debian, Ubuntu:  apt-get install {debian}\n  \
         Fedora, RHEL:    dnf install postgresql-server\n  \
         macOS:           brew install {brew}"
    )]
    Missing {
        /// What would serve, in words.
        wanted: String,
        /// What was found instead, as ` (found 14.9 in /usr/lib/postgresql/14/bin)`, or empty.
        others: String,
        /// The package's name on Debian.
        debian: String,
        /// The formula's name in Homebrew.
        brew: String,
    },
}

impl Binaries {
    /// Finds programs that serve `search`, in the fixed order: configured, `PATH`, the distributions' and Homebrew's
    /// places (newest first), the unpacked bundle. Runs `postgres --version`, so call it off the event loop.
    ///
    /// # Errors
    ///
    /// [`BinariesError`] names what would serve and how to install it.
    pub fn find(search: &Search) -> Result<Self, BinariesError> {
        if let Some(dir) = &search.configured {
            return Self::configured(dir, search);
        }
        let mut rejected = Vec::new();
        for dir in candidates(search) {
            match Self::open(&dir) {
                Some(found) if found.serves(search) => return Ok(found),
                Some(found) => rejected.push(found),
                None => {}
            }
        }
        Err(missing(search, &rejected))
    }

    /// The programs in `dir`, when `postgres` and `initdb` are there and `postgres --version` makes sense.
    pub fn open(dir: &Path) -> Option<Self> {
        // Links lead to the real directory: /usr/local/bin/postgres finds its siblings and share files from there.
        let dir = fs::canonicalize(dir.join("postgres"))
            .ok()?
            .parent()?
            .to_owned();
        if !dir.join("initdb").is_file() {
            return None;
        }
        let version = version_of(&dir.join("postgres")).ok()?;
        Some(Self { dir, version })
    }

    fn configured(dir: &Path, search: &Search) -> Result<Self, BinariesError> {
        let found = Self::open(dir)
            .or_else(|| Self::open(&dir.join("bin")))
            .ok_or_else(|| BinariesError::Configured(dir.to_owned()))?;
        if found.serves(search) {
            return Ok(found);
        }
        Err(BinariesError::Version {
            dir: found.dir,
            found: found.version,
            wanted: wanted(search),
        })
    }

    fn serves(&self, search: &Search) -> bool {
        self.version.major >= MAJOR_MIN
            && search.major.is_none_or(|major| major == self.version.major)
    }

    /// The directory that holds the programs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Their version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Path of a program that is always there: `postgres` or `initdb`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Path of a program that some distributions leave out, such as `pg_dump` or `psql`.
    pub fn optional(&self, name: &str) -> Option<PathBuf> {
        let path = self.dir.join(name);
        path.is_file().then_some(path)
    }

    /// The same programs under another directory, after the tree that holds them was copied there.
    pub(crate) fn moved(&self, dir: PathBuf) -> Self {
        Self {
            dir,
            version: self.version.clone(),
        }
    }
}

/// A program of Postgres, or one that is given its files: it sees nothing of the host's environment, which holds secrets and `PG*`
/// variables that would change it, but where programs and libraries are.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let passed_on = ["PATH", "LD_LIBRARY_PATH"].into_iter();
    command
        .env_clear()
        .envs(passed_on.filter_map(|name| Some((name, env::var_os(name)?))))
        .env("LC_ALL", "C");
    command
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl std::fmt::Display for Binaries {
    /// A sentence's subject: `PostgreSQL 15.18 from /usr/lib/postgresql/15/bin`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgreSQL {} from {}", self.version, self.dir.display())
    }
}

fn candidates(search: &Search) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&path)
        .filter(|dir| dir.join("postgres").exists())
        .collect();
    for (parent, prefix, rest) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
    ] {
        dirs.extend(
            numbered(Path::new(parent), prefix)
                .into_iter()
                .map(|dir| dir.join(rest)),
        );
    }
    dirs.push(PathBuf::from("/usr/local/pgsql/bin"));
    if let Some(bundle) = &search.bundle_dir {
        dirs.extend(below(bundle, 6));
    }
    dirs
}

/// Directories `parent/prefix<major>`, newest first.
fn numbered(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = entries(parent)
        .filter_map(|dir| {
            let major = dir
                .file_name()?
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            Some((major, dir))
        })
        .collect();
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// Every `bin` directory with a `postgres` below `dir`, highest path first; `depth` keeps a stray link from looping.
fn below(dir: &Path, depth: u32) -> Vec<PathBuf> {
    let mut children: Vec<PathBuf> = entries(dir).filter(|path| path.is_dir()).collect();
    children.sort_by(|a, b| b.cmp(a));
    let mut found = Vec::new();
    for child in children {
        if child.ends_with("bin") && child.join("postgres").is_file() {
            found.push(child);
        } else if depth > 0 {
            found.extend(below(&child, depth - 1));
        }
    }
    found
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn version_of(postgres: &Path) -> io::Result<Version> {
    let output = Command::new(postgres)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    parse_version(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        io::Error::other(format!(
            "{} --version says nothing that reads as a version",
            postgres.display()
        ))
    })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-1.pgdg12+1)` and `postgres (PostgreSQL) 18beta1`.
fn parse_version(text: &str) -> Option<Version> {
    let number = text
        .split("(PostgreSQL)")
        .nth(1)?
        .split_whitespace()
        .next()?;
    let digits = |text: &str| {
        text.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()
    };
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some(Version {
        major: digits(major)?,
        minor: digits(minor)?,
    })
}

fn wanted(search: &Search) -> String {
    search.major.map_or_else(
        || format!("{MAJOR_MIN} or newer"),
        |major| major.to_string(),
    )
}

fn missing(search: &Search, rejected: &[Binaries]) -> BinariesError {
    let others: Vec<String> = rejected
        .iter()
        .map(|other| format!("{} in {}", other.version, other.dir.display()))
        .collect();
    BinariesError::Missing {
        wanted: wanted(search),
        others: if others.is_empty() {
            String::new()
        } else {
            format!(" (found {})", others.join(", "))
        },
        debian: search.major.map_or_else(
            || "postgresql".to_owned(),
            |major| format!("postgresql-{major}"),
        ),
        brew: format!("postgresql@{}", search.major.unwrap_or(17)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_version(text: &str, expected: Option<(u32, u32)>) {
        assert_eq!(
            parse_version(text).map(|version| (version.major, version.minor)),
            expected,
            "{text}"
        );
    }

    #[test]
    fn versions_are_read_as_the_distributions_print_them() {
        check_version(
            "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
            Some((15, 18)),
        );
        check_version("postgres (PostgreSQL) 18.4\n", Some((18, 4)));
        check_version("postgres (PostgreSQL) 18beta1\n", Some((18, 0)));
        check_version("bash: postgres: command not found\n", None);
    }

    #[test]
    fn what_is_missing_is_said_with_the_command_that_installs_it() {
        let text = missing(
            &Search {
                major: Some(16),
                ..Search::default()
            },
            &[],
        )
        .to_string();
        assert!(
            text.starts_with("no PostgreSQL 16 on this machine: install it"),
            "{text}"
        );
        assert!(text.contains("apt-get install postgresql-16"), "{text}");
        assert!(text.contains("brew install postgresql@16"), "{text}");
    }
}
