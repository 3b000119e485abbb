//! The log of writes (WAL) beyond what Postgres itself keeps: segments that are full, or a minute old, are put into a directory, from
//! which any moment since a base backup can be restored.
//!
//! What is here are the two commands that Postgres runs for that, with programs that every system has. They are run by its
//! account.

use std::path::{Path, PathBuf};

/// What becomes of the segments of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Archive {
    /// They are recycled.
    Off,
    /// They wait for the next start, which says where they go.
    Later,
    /// They are kept here, as soon as [`MARK`] stands in the data directory.
    To(PathBuf),
}

/// File in the data directory that says that there is a base backup, without which the log of writes is worth nothing. It is not the
/// archive's directory that says so: that of a disk which is not mounted is missing, too, and nothing may be recycled then.
pub(crate) const MARK: &str = "nself.archive";

/// Longest time, in seconds, that what was written stays out of the archive. A segment that is not full then is mostly zeros, which
/// take no room.
const SECONDS: u32 = 60;

impl Archive {
    /// Lines for the server's configuration.
    pub(crate) fn settings(&self) -> String {
        match self {
            Self::Off => "archive_mode = off\n".to_owned(),
            Self::Later => "archive_mode = on\narchive_command = ''\n".to_owned(),
            Self::To(dir) => format!(
                "archive_mode = on\narchive_timeout = {SECONDS}\narchive_command = {}\n",
                setting(&keep(dir))
            ),
        }
    }
}

/// Lines that make a server which starts on a base backup go on with the log of writes: all of it, or up to `until`. What the archive
/// has not got yet is taken from `beside`, the data of a server that was stopped.
pub(crate) fn recovery_settings(
    dir: &Path,
    beside: Option<&Path>,
    until: Option<jiff::Timestamp>,
) -> String {
    let kept = format!("{}/%f.gz", word(dir));
    let fetch_kept = format!("{{ test -f {kept} && gzip -dc {kept} > \"%p\"; }}");
    let fetch = match beside {
        Some(data) => format!("{fetch_kept} || cp {}/pg_wal/%f \"%p\"", word(data)),
        None => fetch_kept,
    };
    let target = until.map_or_else(String::new, |until| {
        // By number: a server that reads its configuration knows no names of zones yet, not even Z.
        let until = until.strftime("%Y-%m-%d %H:%M:%S%.6f+00");
        format!("recovery_target_time = '{until}'\nrecovery_target_action = 'promote'\n")
    });
    format!(
        "restore_command = {}\nrecovery_target_timeline = 'latest'\n{target}",
        setting(&fetch)
    )
}

/// Keeps a segment: it has its name only when all of it is on the disk. Commands run in the data directory.
fn keep(dir: &Path) -> String {
    let dir = word(dir);
    format!(
        "test ! -f {MARK} || {{ gzip -1c \"%p\" > {dir}/.%f && sync {dir}/.%f && mv {dir}/.%f {dir}/%f.gz; }}"
    )
}

/// A path as one word of a shell's line in which Postgres replaces what begins with a percent sign.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    format!("'{}'", text.replace('%', "%%").replace('\'', r"'\''"))
}

/// A text as a value in `postgresql.conf`.
fn setting(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_through_the_shell_and_the_configuration_as_it_is() {
        let dir = Path::new("/a b/it's 5%");
        assert_eq!(word(dir), r"'/a b/it'\''s 5%%'");
        assert_eq!(setting(&word(dir)), r"'''/a b/it''\\''''s 5%%'''");
    }
}
