//! The crate of a plugin, built by cargo.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
};

use serde_json::Value;

use super::{
    super::super::{CliError, Exit},
    sources::Sources,
};

/// A crate that makes one shared library.
pub(super) struct Library {
    /// Absolute, as cargo names it.
    manifest: PathBuf,
    is_release: bool,
    /// Where it was built to the last time.
    built: Option<PathBuf>,
}

impl Library {
    pub(super) fn open(directory: &Path, is_release: bool) -> Result<Self, CliError> {
        let manifest = directory.join("Cargo.toml").canonicalize();
        let manifest = manifest.map_err(|error| {
            let message = format!("{} is no crate", directory.display());
            CliError::new("PLUGIN_CRATE", Exit::Usage, message)
                .with_cause(format!("Cargo.toml: {error}"))
                .with_help("go to the plugin's directory, or name it: nself plugin dev DIR")
        })?;
        Ok(Self {
            manifest,
            is_release,
            built: None,
        })
    }

    /// Everything that it is built from, as far as that is known: before the first build, what lies in its directory.
    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources::below(self.manifest.parent().unwrap_or(&self.manifest));
        if let Some(built) = &self.built {
            sources.add_dependencies(&built.with_extension("d"));
        }
        sources
    }

    /// The library's file; none when it does not build, which the compiler has told on standard error.
    pub(super) fn build(&mut self) -> Result<Option<PathBuf>, CliError> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--lib", "--message-format=json-render-diagnostics"])
            .arg("--manifest-path")
            .arg(&self.manifest)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if self.is_release {
            cargo.arg("--release");
        }
        let failed = |error: std::io::Error| {
            CliError::new("PLUGIN_CRATE", Exit::Unavailable, "cannot run cargo")
                .with_cause(error.to_string())
                .with_help("install Rust: https://rustup.rs, or your distribution's package")
        };
        let mut running = cargo.spawn().map_err(failed)?;
        let messages = running.stdout.take().expect("it was asked for");
        let file = self.artifact(messages);
        if !running.wait().map_err(failed)?.success() {
            return Ok(None);
        }
        let Some(file) = file else {
            let message = format!("{} makes no shared library", self.manifest.display());
            return Err(CliError::new("PLUGIN_CRATE", Exit::BadData, message)
                .with_help("a plugin's crate has: [lib] crate-type = [\"cdylib\"]"));
        };
        self.built = Some(file.clone());
        Ok(Some(file))
    }

    /// Of what cargo says that it has made, the shared library of this crate.
    fn artifact(&self, messages: ChildStdout) -> Option<PathBuf> {
        let lines = BufReader::new(messages).lines().map_while(Result::ok);
        let messages = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        messages.filter_map(|message| self.file_of(&message)).last()
    }

    fn file_of(&self, message: &Value) -> Option<PathBuf> {
        let is_cdylib = |kinds: &Value| {
            let mut kinds = kinds.as_array().into_iter().flatten();
            kinds.any(|kind| kind == "cdylib")
        };
        let manifest = fs::canonicalize(message["manifest_path"].as_str()?).ok()?;
        if message["reason"] != "compiler-artifact"
            || !is_cdylib(&message["target"]["crate_types"])
            || manifest != self.manifest
        {
            return None;
        }
        let mut files = message["filenames"].as_array()?.iter();
        let shared = |file: &&Value| {
            let extension = Path::new(file.as_str().unwrap_or_default()).extension();
            extension.is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION)
        };
        files.find(shared)?.as_str().map(PathBuf::from)
    }
}
