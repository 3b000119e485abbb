//! The server's log: one file that the server appends to, kept small from outside.
//!
//! No logging collector: its process costs memory, and its files cannot be bounded in size under one name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::account::Account;

/// The log is moved aside beyond this size, so about twice as much is kept.
const BYTES_MAX: u64 = 8 << 20;

/// How much of the log an error quotes.
const QUOTE_BYTES_MAX: u64 = 2 << 10;

/// A log file and the one before it (`.1`).
#[derive(Debug, Clone)]
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it now.
    pub(crate) fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    /// Opens it for a server to append to.
    pub(crate) fn open(&self, account: &Account) -> io::Result<File> {
        let file = options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        account.own_file(&file)?;
        Ok(file)
    }

    /// The end of what was written after `mark`.
    pub(crate) fn since(&self, mark: u64) -> String {
        let read = || {
            let mut file = File::open(&self.path)?;
            let len = file.metadata()?.len();
            file.seek(SeekFrom::Start(
                mark.min(len).max(len.saturating_sub(QUOTE_BYTES_MAX)),
            ))?;
            let mut bytes = Vec::new();
            file.take(QUOTE_BYTES_MAX).read_to_end(&mut bytes)?;
            io::Result::Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default())
            .trim()
            .to_owned()
    }

    /// Moves a log that has grown too long aside. The server keeps its open file, which it appends to, so the content
    /// is copied and the file emptied; a line written between the two is lost.
    pub(crate) fn rotate(&self, account: &Account) -> io::Result<()> {
        if self.len() <= BYTES_MAX {
            return Ok(());
        }
        account.write(&self.path.with_extension("log.1"), &fs::read(&self.path)?)?;
        options().write(true).open(&self.path)?.set_len(0)
    }
}

/// The directory is the account's: root must not follow a link in it.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_moved_aside_and_the_writer_goes_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = Log::new(dir.path().join("postgres.log"));
        let account = Account::same();
        let mut writer = log.open(&account).expect("a new log");
        io::Write::write_all(&mut writer, &vec![b'x'; 9 << 20]).expect("space on the disk");
        log.rotate(&account).expect("a rotation");
        io::Write::write_all(&mut writer, b"after").expect("space on the disk");
        assert_eq!(log.since(0), "after");
        assert_eq!(
            fs::metadata(dir.path().join("postgres.log.1"))
                .expect("the old log")
                .len(),
            9 << 20
        );
    }

    #[test]
    fn an_error_quotes_only_what_is_new() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = Log::new(dir.path().join("postgres.log"));
        fs::write(log.path(), "old\n").expect("a log");
        let mark = log.len();
        fs::write(log.path(), "old\nnew\n").expect("a longer log");
        assert_eq!(log.since(mark), "new");
    }
}
