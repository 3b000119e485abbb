//! The folder in which archives lie. All that is in it is the owner's alone to read.

use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio::{fs, time::sleep};
use tracing::warn;

use crate::capability::clock::HostClock;

/// What a whole archive ends with, and what one that is being made has behind that.
const WHOLE: &str = ".dump";
const HALF: &str = ".part";
/// Held by whoever makes an archive here.
const LOCK: &str = ".lock";
/// The time in a name, to the millisecond. In the order of their names, archives are in that of time.
const TIME: &str = "%Y%m%dT%H%M%S%3fZ";
const TIME_CHARS: usize = 19;

/// Pause before it is asked again whether somebody else's archive is done.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// The folder.
pub(super) struct Shelf {
    directory: PathBuf,
    clock: Arc<dyn HostClock>,
}

/// The right to change what is in it.
pub(super) struct Turn<'a> {
    shelf: &'a Shelf,
    _lock: File,
}

/// An archive that is not whole yet. Dropped, it is gone.
pub(super) struct Draft {
    path: PathBuf,
    file: String,
    is_kept: bool,
}

impl Shelf {
    pub(super) fn new(directory: PathBuf, clock: Arc<dyn HostClock>) -> Self {
        Self { directory, clock }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits until nobody else makes an archive here: not this host, for two would only slow each other, and no other one that
    /// has the same folder, whose half archive is not to be taken for one that was left behind.
    pub(super) async fn turn(&self) -> io::Result<Turn<'_>> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.directory).await?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(self.directory.join(LOCK))?;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => sleep(BUSY_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Turn {
            shelf: self,
            _lock: lock,
        })
    }

    async fn files(&self) -> io::Result<Vec<String>> {
        let mut entries = fs::read_dir(&self.directory).await?;
        let mut files = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            files.extend(entry.file_name().into_string());
        }
        Ok(files)
    }
}

impl Turn<'_> {
    /// An empty file for a new archive. What a host has left that was killed is removed.
    pub(super) async fn draft(&self, name: &str) -> io::Result<Draft> {
        let shelf = self.shelf;
        for file in shelf.files().await? {
            if file.strip_suffix(HALF).and_then(name_of).is_some() {
                fs::remove_file(shelf.directory.join(file)).await?;
            }
        }
        let now = Timestamp::try_from(shelf.clock.system_time()).map_err(io::Error::other)?;
        let file = format!("{name}-{}{WHOLE}", now.strftime(TIME));
        let path = shelf.directory.join(format!("{file}{HALF}"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(&path).await?;
        Ok(Draft {
            path,
            file,
            is_kept: false,
        })
    }

    /// Removes archives of that name until there are `keep`: never the one that was made just now, whatever the clock has done,
    /// and the newest stay. The removed files.
    pub(super) async fn prune(&self, name: &str, made: &str, keep: usize) -> Vec<String> {
        let files = self.shelf.files().await.unwrap_or_else(|error| {
            warn!(error = %error, "older archives of the database are not found");
            Vec::new()
        });
        let mut older: Vec<String> = files
            .into_iter()
            .filter(|file| name_of(file) == Some(name) && file != made)
            .collect();
        older.sort_unstable();
        older.truncate(older.len().saturating_sub(keep.saturating_sub(1)));
        let mut removed = Vec::with_capacity(older.len());
        for file in older {
            match fs::remove_file(self.shelf.directory.join(&file)).await {
                Ok(()) => removed.push(file),
                // The new one is there, which matters more. It is tried again with the next one.
                Err(error) => {
                    warn!(file, error = %error, "an older archive of the database stays");
                }
            }
        }
        removed
    }
}

impl Draft {
    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, for good once that is on the disk.
    pub(super) async fn keep(mut self) -> io::Result<String> {
        let whole = self.path.with_file_name(&self.file);
        fs::rename(&self.path, &whole).await?;
        self.is_kept = true;
        if let Some(folder) = whole.parent() {
            fs::File::open(folder).await?.sync_all().await?;
        }
        Ok(std::mem::take(&mut self.file))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // It is removed with the next one if not now.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The name of an archive, by its file; none for what is no archive of ours.
pub(super) fn name_of(file: &str) -> Option<&str> {
    let (name, time) = file.strip_suffix(WHOLE)?.split_once('-')?;
    let is_time = time.len() == TIME_CHARS
        && time.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            18 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    is_time.then_some(name)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::capability::clock::SystemClock;

    const OLD: &str = "nightly-20300101T000000000Z.dump";
    const NEW: &str = "nightly-20300102T000000000Z.dump";
    /// Names that are none of ours.
    const OTHERS: [&str; 4] = [
        "weekly-20200101T000000000Z.dump",
        "nightly-old.dump",
        "nightly.dump",
        "notes.txt",
    ];

    struct Stage {
        directory: tempfile::TempDir,
        shelf: Shelf,
    }

    impl Stage {
        fn with(files: &[&str]) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            for file in files {
                std::fs::write(directory.path().join(file), "").expect("a file");
            }
            let shelf = Shelf::new(
                directory.path().to_owned(),
                Arc::new(SystemClock::default()),
            );
            Self { directory, shelf }
        }

        fn has(&self, file: &str) -> bool {
            self.directory.path().join(file).is_file()
        }
    }

    #[tokio::test]
    async fn an_archive_has_its_name_when_it_is_kept_and_is_gone_when_it_is_not() {
        let stage = Stage::with(&[]);
        let turn = stage.shelf.turn().await.expect("a turn");
        let lost = turn.draft("nightly").await.expect("a draft");
        let path = lost.path().to_owned();
        assert!(path.is_file());
        drop(lost);
        assert!(!path.exists());
        let draft = turn.draft("nightly").await.expect("a draft");
        let file = draft.keep().await.expect("it is kept");
        assert_eq!(name_of(&file), Some("nightly"), "{file}");
        assert!(stage.has(&file));
    }

    #[tokio::test]
    async fn what_a_killed_host_left_is_removed_with_the_next_archive() {
        let half = format!("{OLD}{HALF}");
        let stage = Stage::with(&[&half, "mine.part"]);
        let turn = stage.shelf.turn().await.expect("a turn");
        let _draft = turn.draft("weekly").await.expect("a draft");
        assert!(!stage.has(&half));
        assert!(stage.has("mine.part"));
    }

    #[tokio::test]
    async fn the_newest_of_a_name_stay_and_what_is_none_is_not_touched() {
        let made = "nightly-20300103T000000000Z.dump";
        let stage = Stage::with(&[&[OLD, NEW, made], &OTHERS[..]].concat());
        let turn = stage.shelf.turn().await.expect("a turn");
        assert_eq!(turn.prune("nightly", made, 2).await, [OLD]);
        assert!(stage.has(NEW) && stage.has(made));
        assert!(OTHERS.iter().all(|other| stage.has(other)));
    }

    #[tokio::test]
    async fn the_new_one_stays_though_the_clock_went_back() {
        let stage = Stage::with(&[OLD, NEW]);
        let turn = stage.shelf.turn().await.expect("a turn");
        assert_eq!(turn.prune("nightly", OLD, 1).await, [NEW]);
        assert!(stage.has(OLD));
    }

    #[tokio::test]
    async fn one_archive_is_made_at_a_time() {
        let stage = Stage::with(&[]);
        let first = stage.shelf.turn().await.expect("a turn");
        let mut second = Box::pin(stage.shelf.turn());
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        second.await.expect("its turn comes");
    }
}
