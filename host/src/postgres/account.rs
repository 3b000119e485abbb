//! Whom the server runs as: Postgres refuses root, so a host started as root drops to another account in the child.
//!
//! Nothing is created system-wide: an account `nself`, else the distribution's `postgres`, else a bare number.

use std::{
    fs,
    io::{self, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use crate::whole_file::{PRIVATE, WholeFile};

/// The number for a machine that has neither account; the container images of many servers use it too.
const BARE_UID: u32 = 10_001;

/// The account that owns the cluster's files and runs its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Name in `/etc/passwd`; a bare number has none.
    pub name: Option<String>,
    drops: bool,
}

impl Account {
    /// The account for this process: itself, unless it is root.
    pub fn choose() -> Self {
        let this = Self::same();
        if this.uid != 0 {
            return this;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["nself", "postgres"]
            .into_iter()
            .find_map(|name| named(&passwd, name))
            .unwrap_or_else(|| Self::bare(BARE_UID))
    }

    /// This process's own account.
    pub(crate) fn same() -> Self {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Self {
            uid,
            gid,
            name: None,
            drops: false,
        }
    }

    /// An account that is only a number. For a host started as root.
    pub fn bare(uid: u32) -> Self {
        Self {
            uid,
            gid: uid,
            name: None,
            drops: true,
        }
    }

    /// Whether the child's account differs from this process's.
    pub fn drops(&self) -> bool {
        self.drops
    }

    /// Makes `command` run as this account, without root's supplementary groups.
    pub fn apply<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if self.drops {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// The account that runs `initdb`, which insists on a name for its user id. A bare number borrows `nobody`; the
    /// files change hands before the cluster gets its place.
    pub(crate) fn for_initdb(&self) -> Self {
        if !self.drops || self.name.is_some() {
            return self.clone();
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        named(&passwd, "nobody").unwrap_or_else(|| self.clone())
    }

    /// Creates the directory (0700) for this account, or accepts one that it already owns.
    ///
    /// # Errors
    ///
    /// When something else stands there: a link or a directory of another account in a shared place is somebody
    /// else's trap.
    pub fn private_dir(&self, dir: &Path) -> io::Result<()> {
        self.dir(dir, 0o700)
    }

    /// As [`Self::private_dir`], but others may pass through it (0711): the account that `initdb` borrows must.
    pub(crate) fn passable_dir(&self, dir: &Path) -> io::Result<()> {
        self.dir(dir, 0o711)
    }

    fn dir(&self, dir: &Path, mode: u32) -> io::Result<()> {
        match fs::DirBuilder::new().mode(mode).create(dir) {
            Ok(()) => self.own(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.accept(dir, mode),
            Err(error) => Err(error),
        }
    }

    fn accept(&self, dir: &Path, mode: u32) -> io::Result<()> {
        let found = fs::symlink_metadata(dir)?;
        if found.is_dir() && found.uid() == self.uid && found.mode() & 0o777 & !mode == 0 {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} must be a directory of {self} with mode {mode:03o} or stricter: remove it or correct owner and mode",
            dir.display(),
        )))
    }

    /// Hands `path` itself, not what it may link to, to this account.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        if !self.drops {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
    }

    /// Hands over an open file.
    pub(crate) fn own_file(&self, file: &fs::File) -> io::Result<()> {
        if !self.drops {
            return Ok(());
        }
        std::os::unix::fs::fchown(file, Some(self.uid), Some(self.gid))
    }

    /// Hands over `dir` and everything in it.
    pub(crate) fn own_tree(&self, dir: &Path) -> io::Result<()> {
        self.own(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.own_tree(&entry.path())?;
            } else {
                self.own(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes a file (0600) of this account whole or not at all, also when its directory is under the account's control:
    /// the rename replaces a link instead of following it.
    pub(crate) fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = WholeFile::at(path, PRIVATE)?;
        self.own_file(file.file())?;
        file.write_all(content)?;
        file.place()
    }

    /// The first directory on the way to `path` that this account cannot pass. Access lists are not read.
    pub(crate) fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        if !self.drops {
            return None;
        }
        let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
        way.reverse();
        way.into_iter()
            .find(|dir| fs::metadata(dir).is_ok_and(|found| !self.passes(&found)))
            .map(Path::to_owned)
    }

    /// Whether this account may read and write what stands at `path`. Access lists are not read.
    pub(crate) fn may_read_and_write(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| self.may(&found, 0o6))
    }

    fn passes(&self, dir: &fs::Metadata) -> bool {
        self.may(dir, 0o1)
    }

    /// Whether the mode gives this account all of `rights`, the three bits of one class.
    fn may(&self, found: &fs::Metadata, rights: u32) -> bool {
        let shift = if found.uid() == self.uid {
            6
        } else if found.gid() == self.gid {
            3
        } else {
            0
        };
        (found.mode() >> shift) & rights == rights
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "user {name}"),
            None => write!(f, "user id {}", self.uid),
        }
    }
}

fn named(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        // An account that is root by another name would be refused by the server.
        (uid != 0).then(|| Account {
            uid,
            gid,
            name: Some(name.to_owned()),
            drops: true,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn an_account_is_read_from_passwd() {
        let account = named(PASSWD, "postgres").expect("it is in the text");
        assert_eq!(
            (account.uid, account.gid, account.to_string().as_str()),
            (101, 104, "user postgres")
        );
        assert_eq!(named(PASSWD, "nself"), None);
    }

    #[test]
    fn rights_are_those_of_the_first_class_that_fits() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mode = |mode| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("ours");
        };
        let (owner, other) = (Account::same(), Account::bare(BARE_UID));
        mode(0o644);
        assert!(owner.may_read_and_write(file.path()));
        assert!(!other.may_read_and_write(file.path()));
        mode(0o066);
        assert!(!owner.may_read_and_write(file.path()));
        assert!(other.may_read_and_write(file.path()));
    }

    #[test]
    fn root_by_any_name_does_not_run_the_server() {
        assert_eq!(named(PASSWD, "root"), None);
    }
}
