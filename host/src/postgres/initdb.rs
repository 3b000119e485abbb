//! A new data directory: built beside its place, then moved there in one step, so a killed init leaves no half cluster.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{account::Account, binaries::Binaries};

/// Name of the superuser in every cluster that the host creates.
pub const SUPERUSER: &str = "postgres";

const NULL_DEVICE: &str = "/dev/null";

/// Why `initdb` made no cluster.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file or directory could not be made.
    #[error("cannot prepare the new cluster in {dir}", dir = .dir.display())]
    Io {
        /// The directory that holds, or would hold, the cluster.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program's shell opens the null device for writing, as its account.
    #[error(
        "initdb runs as {account}, which may not write {NULL_DEVICE}: `chmod 666 {NULL_DEVICE}`, or if it is no device, \
         `rm {NULL_DEVICE} && mknod -m 666 {NULL_DEVICE} c 1 3`"
    )]
    NullDevice {
        /// Who may not.
        account: Account,
    },
    /// The program ran and failed.
    #[error("initdb failed: {0}")]
    Failed(String),
}

/// What differs between a cluster to keep and one for tests.
pub(crate) struct Init<'a> {
    pub(crate) binaries: &'a Binaries,
    pub(crate) account: &'a Account,
    /// The superuser's password.
    pub(crate) password: &'a str,
    /// Extra arguments.
    pub(crate) args: &'a [&'a str],
    /// Whether the data must be on the disk when this returns.
    pub(crate) is_durable: bool,
    /// Lines for `postgresql.conf`.
    pub(crate) settings: &'a str,
}

impl Init<'_> {
    /// Creates a cluster at `data`, whose parent directory belongs to the account.
    pub(crate) fn run(&self, data: &Path) -> Result<(), InitError> {
        let io = |source| InitError::Io {
            dir: data.to_owned(),
            source,
        };
        let parent = data.parent().expect("a data directory has a parent");
        remove_unfinished(parent).map_err(io)?;
        let initdb_account = self.account.for_initdb();
        let workshop = parent.join(format!(".init-{}", std::process::id()));
        initdb_account.private_dir(&workshop).map_err(io)?;
        let outcome = self.build(&initdb_account, &workshop.join("data"), data, &workshop);
        let _ = fs::remove_dir_all(&workshop);
        outcome
    }

    fn build(
        &self,
        runs_as: &Account,
        next: &Path,
        data: &Path,
        workshop: &Path,
    ) -> Result<(), InitError> {
        let io = |source| InitError::Io {
            dir: data.to_owned(),
            source,
        };
        let parent = data.parent().expect("a data directory has a parent");
        let password_file = workshop.join("password");
        runs_as
            .write(&password_file, self.password.as_bytes())
            .map_err(io)?;
        let built = self.initdb(runs_as, next, &password_file);
        fs::remove_file(&password_file).map_err(io)?;
        built?;
        append(&next.join("postgresql.conf"), self.settings).map_err(io)?;
        self.account.own_tree(next).map_err(io)?;
        if self.is_durable {
            flush(next).map_err(io)?;
        }
        fs::rename(next, data).map_err(io)?;
        File::open(parent)
            .and_then(|dir| dir.sync_all())
            .map_err(io)
    }

    fn initdb(
        &self,
        runs_as: &Account,
        next: &Path,
        password_file: &Path,
    ) -> Result<(), InitError> {
        if !runs_as.may_read_and_write(Path::new(NULL_DEVICE)) {
            let account = runs_as.clone();
            return Err(InitError::NullDevice { account });
        }
        let mut command = Command::new(self.binaries.program("initdb"));
        command
            .arg("--pgdata")
            .arg(next)
            .arg("--pwfile")
            .arg(password_file)
            .args([
                "--username",
                SUPERUSER,
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
            ])
            .args(locale(self.binaries.version().major))
            .args(if self.is_durable && FLUSHES_ITSELF {
                None
            } else {
                Some("--no-sync")
            })
            .args(self.args)
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        let output = runs_as.apply(&mut command).output().map_err(|error| {
            InitError::Failed(format!(
                "cannot run {} as {runs_as}: {error}",
                self.binaries.program("initdb").display()
            ))
        })?;
        if output.status.success() {
            return Ok(());
        }
        Err(InitError::Failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

/// One collation in every build of Postgres, so that a data directory can move between them.
fn locale(major: u32) -> &'static [&'static str] {
    if major >= 17 {
        &[
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        ]
    } else if cfg!(target_os = "macos") {
        // Its C library knows no C.UTF-8; the order of C is the same.
        &["--locale=C"]
    } else {
        &["--locale=C.UTF-8"]
    }
}

/// Whether `initdb` must bring its files to the disk one by one.
const FLUSHES_ITSELF: bool = !cfg!(target_os = "linux");

/// One call for the whole file system: with a thousand files it took 0.2-0.6 s where one `fsync` each took 3-4 s.
#[cfg(target_os = "linux")]
fn flush(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// `initdb` has done it.
#[cfg(not(target_os = "linux"))]
fn flush(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// Removes what a killed init left. The caller holds the lock of the data directory.
fn remove_unfinished(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(".init-") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    // The directory is another account's when the host is root: a link planted there must not redirect root's write.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = fs::OpenOptions::new()
        .append(true)
        .custom_flags(no_follow)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
