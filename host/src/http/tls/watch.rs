//! Looks for another certificate. Whoever renews one replaces the files, or the links to them, and tells nobody.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};
use tracing::warn;

use super::{Pair, Tls, TlsError, TlsFiles};

/// Between two looks, each of which asks the system about two files and reads neither.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What tells two states of the files apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamps([Option<Stamp>; 2]);

/// Of the file that a name leads to: device, inode, size, and when its content and when anything of it changed.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Stamps {
    pub(super) fn of(files: &TlsFiles) -> Self {
        Self([stamp(&files.certificate), stamp(&files.key)])
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((
        file.dev(),
        file.ino(),
        file.size(),
        (file.mtime(), file.mtime_nsec()),
        (file.ctime(), file.ctime_nsec()),
    ))
}

impl Tls {
    /// Puts another pair in the place of the one that is shown as soon as it is there, for as long as it is polled. Connections that are open
    /// stay. Files that will not do change nothing, and are told once.
    pub async fn watch(self: Arc<Self>) {
        let mut read = self.opened;
        let mut last = read;
        loop {
            sleep(LOOK_EVERY).await;
            let files = self.files.clone();
            let Ok(now) = spawn_blocking(move || Stamps::of(&files)).await else {
                // The runtime ends.
                return;
            };
            // Whoever has written one of the two may be about to write the other: not before they stand still.
            if now != read && now == last {
                read = now;
                self.renew().await;
            }
            last = now;
        }
    }

    async fn renew(&self) {
        let files = self.files.clone();
        let Ok(pair) = spawn_blocking(move || Pair::read(&files)).await else {
            return;
        };
        self.metrics.reloaded(pair.is_ok());
        match pair {
            Ok(pair) => self.show(pair),
            Err(problem) => stay(&problem),
        }
    }
}

fn stay(problem: &TlsError) {
    let problem = problem.line();
    warn!(
        problem,
        "the new certificate cannot be used, the one before stays"
    );
}
