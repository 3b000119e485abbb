//! Projects in temporary directories, and copies of the plugin that are plugins of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use nself::{
    config::{Config, Variables, secrets::Secrets},
    run::{DatabaseChoice, Host, StartSettings},
};
use tempfile::TempDir;

use crate::{Failure, Result};

/// The plugin's id in its file.
const ID: &[u8] = b"bench00";

/// A project with an empty plugin directory.
pub(crate) struct Project {
    directory: TempDir,
}

impl Project {
    pub(crate) fn new() -> Result<Self> {
        Self::with("[database]\nplugin_pool_max = 2\n")
    }

    /// With this configuration, and what every measurement needs.
    pub(crate) fn with(settings: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::create_dir(directory.path().join("plugins.d"))?;
        // No limit that would be measured instead, and no port that somebody has.
        let text = "[http]\nport = 0\nplugin_ports = false\nrate_per_minute = 4000000000\n";
        fs::write(
            directory.path().join("nself.toml"),
            [text, settings].concat(),
        )?;
        Ok(Self { directory })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a plugin of the house into the directory.
    pub(crate) fn put_file(&self, id: &str) -> Result<()> {
        let file = beside_us(&format!("libnself_plugin_{id}.so"))?;
        let place = self.path().join("plugins.d").join(format!("{id}.so"));
        fs::copy(file, place)?;
        Ok(())
    }

    /// Puts the plugin with this number into the directory; another `edition` is another file of the same plugin.
    pub(crate) fn put(&self, number: usize, edition: u32) -> Result<String> {
        let id = format!("bench{number:02}");
        let path = self.path().join("plugins.d").join(format!("{id}.so"));
        // Renamed into place: the host may be looking.
        let draft = self.path().join("draft");
        fs::write(&draft, library(&id, edition)?)?;
        fs::rename(draft, path)?;
        Ok(id)
    }
}

/// The file of any plugin that was built beside us, in an edition as those of [`library`].
pub(crate) fn edition_of(id: &str, edition: u32) -> Result<Vec<u8>> {
    if id.as_bytes() == ID {
        return library(id, edition);
    }
    let mut bytes = fs::read(beside_us(&format!("libnself_plugin_{id}.so"))?)?;
    bytes.extend_from_slice(&edition.to_le_bytes());
    Ok(bytes)
}

/// The plugin's file with another id. The linker's tables do not notice: the name has the same length. `edition` stands
/// behind the last section, where nobody looks but the hash.
pub(crate) fn library(id: &str, edition: u32) -> Result<Vec<u8>> {
    let mut bytes = fs::read(beside_us("libnself_plugin_bench.so")?)?;
    let places: Vec<usize> = (0..bytes.len().saturating_sub(ID.len()))
        .filter(|at| bytes[*at..].starts_with(ID))
        .collect();
    for at in places {
        bytes[at..at + ID.len()].copy_from_slice(id.as_bytes());
    }
    bytes.extend_from_slice(&edition.to_le_bytes());
    Ok(bytes)
}

/// A file that cargo built into the directory of this program.
pub(crate) fn beside_us(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::from(format!(
        "{} is missing: build nself and all plugins with the same profile",
        path.display()
    )))
}

/// Starts a host in this process.
pub(crate) async fn start(directory: &Path, database_url: &str) -> Result<Host> {
    let variables = Variables::from([("DATABASE_URL".to_owned(), database_url.to_owned())]);
    let (config, provenance) = Config::load(directory, &variables)?;
    let secrets = Secrets::of(&config)?;
    let settings = StartSettings {
        config,
        provenance,
        secrets,
        database: DatabaseChoice::Url,
        migrate: true,
        progress: Arc::new(|_| {}),
    };
    Ok(Host::start(settings).await?)
}
