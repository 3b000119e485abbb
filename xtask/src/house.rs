//! The workspace: where it is, which files and crates it has.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Failure, program};

/// The workspace's root.
#[derive(Debug, Clone)]
pub(crate) struct House {
    root: PathBuf,
}

/// A crate of the house.
#[derive(Debug, Clone)]
pub(crate) struct Crate {
    /// Its folder, relative to the root.
    pub(crate) folder: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest: toml::Table,
}

impl House {
    /// The workspace that this program was built in.
    pub(crate) fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask is a folder of the workspace");
        Self {
            root: root.to_owned(),
        }
    }

    /// A path in it.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Where cargo builds with the profile `dev`.
    pub(crate) fn debug_dir(&self) -> PathBuf {
        self.target_dir().join("debug")
    }

    /// Where cargo builds with the profile `release`.
    pub(crate) fn release_dir(&self) -> PathBuf {
        self.target_dir().join("release")
    }

    fn target_dir(&self) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        self.root.join(target)
    }

    /// The built host.
    pub(crate) fn nself(&self) -> PathBuf {
        self.debug_dir().join("nself")
    }

    /// A command that runs in the root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Failure::File`] with what the system said.
    pub(crate) fn read(&self, relative: &str) -> Result<String, Failure> {
        fs::read_to_string(self.path(relative)).map_err(|error| Failure::File {
            path: relative.to_owned(),
            problem: error.to_string(),
        })
    }

    /// Files that git knows, or would know after `git add`: nothing that it ignores. Relative paths, sorted.
    ///
    /// # Errors
    ///
    /// [`Failure::Program`] without git.
    pub(crate) fn files(&self) -> Result<Vec<String>, Failure> {
        let list = program::output(self.command("git").args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ]))?;
        let mut files: Vec<String> = list
            .lines()
            .filter(|file| self.path(file).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        Ok(files)
    }

    /// All crates below the root.
    ///
    /// # Errors
    ///
    /// [`Failure::File`] for a `Cargo.toml` that does not read as one.
    pub(crate) fn crates(&self) -> Result<Vec<Crate>, Failure> {
        let files = self.files()?;
        let manifests = files.iter().filter_map(|file| {
            let folder = file.strip_suffix("/Cargo.toml")?;
            Some((file, folder))
        });
        manifests
            .map(|(file, folder)| {
                let manifest =
                    self.read(file)?
                        .parse()
                        .map_err(|error: toml::de::Error| Failure::File {
                            path: file.clone(),
                            problem: error.message().to_owned(),
                        })?;
                Ok(Crate {
                    folder: folder.to_owned(),
                    manifest,
                })
            })
            .collect()
    }
}

impl Crate {
    /// The package's name.
    pub(crate) fn name(&self) -> &str {
        let package = self.manifest.get("package");
        package
            .and_then(|package| package.get("name"))
            .and_then(toml::Value::as_str)
            .unwrap_or_default()
    }

    /// Whether it makes a file that a host can load.
    pub(crate) fn is_cdylib(&self) -> bool {
        let kinds = self
            .manifest
            .get("lib")
            .and_then(|lib| lib.get("crate-type"));
        kinds
            .and_then(toml::Value::as_array)
            .is_some_and(|kinds| kinds.iter().any(|kind| kind.as_str() == Some("cdylib")))
    }

    /// The plugin's id, when it is one: the name of its folder below `plugins/`.
    pub(crate) fn plugin_id(&self) -> Option<&str> {
        self.folder
            .strip_prefix("plugins/")
            .filter(|_| self.is_cdylib())
    }

    /// Names in one of its dependency tables: `dependencies`, `dev-dependencies`, `build-dependencies`.
    pub(crate) fn dependencies(&self, table: &str) -> Vec<&str> {
        let table = self.manifest.get(table).and_then(toml::Value::as_table);
        table
            .into_iter()
            .flat_map(|table| table.keys().map(String::as_str))
            .collect()
    }
}
