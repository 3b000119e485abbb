//! A project: a directory with `nself.toml`. Finding one, and making one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::secrets::{self, SecretError, Secrets};
use super::{FILE_NAME, Plugins};

/// The scope that makes an API key an operator's.
pub const OPERATOR_SCOPE: &str = "operator";

/// Where the host keeps what it makes, inside the project's directory.
pub const STATE_DIRECTORY: &str = ".nself";

/// Bytes of a generated secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// What version control must not see.
const IGNORED: &[&str] = &[
    "/.nself/",
    "/plugins.d/",
    "/backups/",
    ".env",
    ".env.secrets",
];

/// What a new project starts with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Template {
    /// The plugins of a family backend, each with its port.
    #[default]
    Family,
    /// Nothing but a name.
    Blank,
}

/// What [`init`] did. Paths are relative to the project's directory; secrets are named, never shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InitReport {
    /// The project's directory.
    pub directory: PathBuf,
    /// What was made.
    pub created: Vec<String>,
    /// What was there already, and stays as it was.
    pub kept: Vec<String>,
    /// Secrets that were generated.
    pub secrets: Vec<String>,
}

/// Why a project could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file or directory could not be made.
    #[error("cannot create {}", path.display())]
    Create {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The secrets could not be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The project that `start` is in: the nearest directory upwards with a `nself.toml`.
pub fn find(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|directory| directory.join(FILE_NAME).is_file())
        .map(Path::to_owned)
}

/// The checkout of this repository that `start` is in.
pub fn checkout(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|directory| is_checkout(directory))
        .map(Path::to_owned)
}

/// Whether `directory` is a checkout of this repository: it holds what plugins are built against.
pub fn is_checkout(directory: &Path) -> bool {
    let manifest = fs::read_to_string(directory.join("plugin-api/Cargo.toml"));
    manifest.is_ok_and(|text| text.contains("name = \"nself-plugin-api\""))
}

/// Name of the API key that a new project begins with.
pub const FIRST_KEY: &str = "operator";

/// The lines of `nself.toml` that let an API key in. Only its digest is kept: the key has so much randomness that
/// nobody finds it from there, so the file may be committed.
pub fn api_key_lines(name: &str, sha256: &str, scopes: &[String]) -> String {
    let scopes: Vec<toml::Value> = scopes.iter().map(|scope| scope.as_str().into()).collect();
    format!(
        "\n[identity.api_keys.{name}]\nsha256 = \"{sha256}\"\nscopes = {}\n",
        toml::Value::from(scopes)
    )
}

/// Makes a project in `directory`. What is there is never changed, except that `.gitignore` gets the lines it lacks.
/// `operator_sha256` is the digest of the operator's first API key; a project that is there already does not take it.
pub fn init(
    directory: &Path,
    template: Template,
    operator_sha256: Option<&str>,
) -> Result<InitReport, InitError> {
    let mut report = InitReport {
        directory: directory.to_owned(),
        ..InitReport::default()
    };
    fs::create_dir_all(directory).map_err(|source| InitError::Create {
        path: directory.to_owned(),
        source,
    })?;
    let mut first = first_file(&name_of(directory), template);
    if let Some(sha256) = operator_sha256 {
        let scope = OPERATOR_SCOPE.to_owned();
        first += &api_key_lines(FIRST_KEY, sha256, &[scope]);
    }
    write_new(directory, FILE_NAME, &first, &mut report)?;
    ignore(directory, &mut report)?;
    private(directory, STATE_DIRECTORY, &mut report)?;
    let plugins = Plugins::default().directory;
    private(directory, &plugins.to_string_lossy(), &mut report)?;

    let store = Secrets::open(&directory.join(STATE_DIRECTORY))?;
    for name in [secrets::DATABASE_PASSWORD, secrets::MASTER_KEY] {
        if store.get(name)?.is_none() {
            store.get_or_generate(name, SECRET_BYTES)?;
            report.secrets.push(name.to_owned());
        }
    }
    Ok(report)
}

/// The directory's own name, for people; `nself` for one that has none.
pub(super) fn name_of(directory: &Path) -> String {
    let absolute = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    absolute.file_name().map_or_else(
        || "nself".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn first_file(name: &str, template: Template) -> String {
    let text = match template {
        Template::Family => include_str!("project/family.toml"),
        Template::Blank => include_str!("project/blank.toml"),
    };
    // Printed by the toml crate: a directory may be called `my "family"`.
    text.replace("\"NAME\"", &toml::Value::from(name).to_string())
}

fn write_new(
    directory: &Path,
    name: &str,
    text: &str,
    report: &mut InitReport,
) -> Result<(), InitError> {
    let path = directory.join(name);
    match File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => report.created.push(name.to_owned()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => report.kept.push(name.to_owned()),
        Err(source) => return Err(InitError::Create { path, source }),
    }
    Ok(())
}

fn ignore(directory: &Path, report: &mut InitReport) -> Result<(), InitError> {
    let path = directory.join(".gitignore");
    let failed = |source| InitError::Create {
        path: path.clone(),
        source,
    };
    let existing = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let bare = |line: &str| line.trim().trim_matches('/').to_owned();
    let has = |wanted: &str| existing.lines().any(|line| bare(line) == bare(wanted));
    let missing: Vec<&str> = IGNORED.iter().copied().filter(|line| !has(line)).collect();
    if missing.is_empty() {
        report.kept.push(".gitignore".to_owned());
        return Ok(());
    }
    let separator = if existing.is_empty() || existing.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let lines = format!("{separator}{}\n", missing.join("\n"));
    let file = OpenOptions::new().append(true).create(true).open(&path);
    file.and_then(|mut file| file.write_all(lines.as_bytes()))
        .map_err(failed)?;
    report.created.push(".gitignore".to_owned());
    Ok(())
}

fn private(directory: &Path, name: &str, report: &mut InitReport) -> Result<(), InitError> {
    let path = directory.join(name);
    if path.is_dir() {
        report.kept.push(format!("{name}/"));
        return Ok(());
    }
    secrets::private_directory(&path)?;
    report.created.push(format!("{name}/"));
    Ok(())
}
