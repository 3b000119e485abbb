//! The programs of Postgres as a host finds them, with a `pg_dump` that does what the test says around the real one.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nself_plugin_testkit::postgres_program;
use tempfile::TempDir;

/// The real `pg_dump`, in a script.
pub(super) const REAL: &str = "\"$REAL_PG_DUMP\"";

/// Writes the beginning of a real archive and goes on without an end, until nobody reads any more.
pub(super) const HALF: &str =
    "{ \"$REAL_PG_DUMP\" \"$@\" | head -c 4096; while echo; do sleep 0.1; done; }";

/// A directory with the programs.
pub(super) struct Programs(TempDir);

impl Programs {
    /// The real ones.
    pub(super) fn real() -> Self {
        let directory = tempfile::tempdir().expect("there is room for programs");
        let programs = Self(directory);
        // Not a link: the host would follow it to all the real programs.
        let postgres = postgres_program("postgres");
        programs.script("postgres", &format!("exec '{}' \"$@\"", postgres.display()));
        let initdb = programs.directory().join("initdb");
        symlink(postgres_program("initdb"), initdb).expect("a link");
        programs.pg_restore();
        programs.pg_dump(&format!("exec {REAL} \"$@\""));
        programs
    }

    pub(super) fn directory(&self) -> &Path {
        self.0.path()
    }

    /// Lets `pg_dump` do that.
    pub(super) fn pg_dump(&self, script: &str) {
        self.script("pg_dump", script);
    }

    /// Takes one of them away.
    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.directory().join(name)).expect("it is there");
    }

    /// Puts the real `pg_restore` there.
    pub(super) fn pg_restore(&self) {
        let link = self.directory().join("pg_restore");
        symlink(postgres_program("pg_restore"), link).expect("a link");
    }

    fn script(&self, name: &str, script: &str) {
        let real: PathBuf = postgres_program("pg_dump");
        let new = self.directory().join(format!("{name}.new"));
        let path = "/usr/local/bin:/usr/bin:/bin";
        let text = format!(
            "#!/bin/sh\nPATH={path}\nREAL_PG_DUMP='{}'\n{script}\n",
            real.display()
        );
        fs::write(&new, text).expect("the directory is writable");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("it is ours");
        // In one step: the one that is there may be running.
        fs::rename(&new, self.directory().join(name)).expect("the directory is writable");
    }
}

/// Whether a file is an archive that is not whole yet.
pub(super) fn is_half(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|end| end == "part")
}

/// Names of the archives, whole or not, in their order.
pub(super) fn files(archives: &Path) -> Vec<String> {
    let entries = fs::read_dir(archives).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().expect("a name of ours"))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    names
}
