//! Files that appear when they are whole and on the disk: whoever reads one reads all of it, also after a crash.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Start of the name of a file that is on its way.
pub(crate) const INCOMING: &str = ".incoming-";

/// For its owner alone.
pub(crate) const PRIVATE: u32 = 0o600;
/// Readable for all, writable for its owner.
pub(crate) const PUBLIC: u32 = 0o644;

/// A file that has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct WholeFile {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Begins the file that is to stand at `path`, in the directory in which it will.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub(crate) fn at(path: &Path, mode: u32) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let permissions = Permissions::from_mode(mode);
        let temporary = tempfile::Builder::new()
            .prefix(INCOMING)
            .permissions(permissions.clone())
            .tempfile_in(directory_of(&path)?)?;
        // The mask of the process may have taken bits away.
        temporary.as_file().set_permissions(permissions)?;
        Ok(Self { temporary, path })
    }

    /// Writes a file in one piece, in the place of what was there.
    ///
    /// # Errors
    ///
    /// The file system's; what was there is there then.
    pub(crate) fn write(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut file = Self::at(path, mode)?;
        file.write_all(content)?;
        file.place()
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Gives it its name, in the place of what had it.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub(crate) fn place(self) -> io::Result<()> {
        self.temporary.as_file().sync_all()?;
        self.temporary.persist(&self.path)?;
        sync_directory(&self.path)
    }

    /// Gives it its name if nothing has it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] when something has, or the file system's.
    pub(crate) fn place_new(self) -> io::Result<()> {
        self.temporary.as_file().sync_all()?;
        self.temporary.persist_noclobber(&self.path)?;
        sync_directory(&self.path)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

/// A name is on the disk only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path)?)?.sync_all()
}

fn directory_of(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::ErrorKind::IsADirectory.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

    use super::{PRIVATE, PUBLIC, WholeFile};

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").file_name().display().to_string())
            .collect()
    }

    #[test]
    fn a_file_is_not_there_before_it_is_whole_and_nothing_stays_of_one_that_was_given_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("it");
        let mut file = WholeFile::at(&path, PRIVATE).expect("a file");
        file.write_all(b"half").expect("half of it");
        assert!(!path.exists());
        drop(file);
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn it_takes_the_place_and_not_the_rights_of_what_was_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("it");
        WholeFile::write(&path, PUBLIC, b"old").expect("a file");
        WholeFile::write(&path, PRIVATE, b"new").expect("a file");
        assert_eq!(fs::read(&path).expect("the file"), b"new");
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(names(directory.path()), ["it"]);
    }

    #[test]
    fn one_that_must_be_new_leaves_what_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("it");
        WholeFile::write(&path, PRIVATE, b"first").expect("a file");
        let mut second = WholeFile::at(&path, PRIVATE).expect("a file");
        second.write_all(b"second").expect("all of it");
        let refused = second.place_new().expect_err("the name is taken");
        assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("the file"), b"first");
        assert_eq!(names(directory.path()), ["it"]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("nowhere/it");
        let error = WholeFile::write(&path, PRIVATE, b"").expect_err("no directory");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
