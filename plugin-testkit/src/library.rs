//! The built file of a plugin: where cargo has put it, and what it declares.

use std::{
    env,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nself::{
    loader::{self, Host, HostAbi, System, Trust},
    plugin::manifest::Manifest,
};
use nself_plugin_api::abi::{self, entry::Capability};

/// A built plugin.
#[derive(Debug, Clone)]
pub struct Library {
    /// Its file.
    pub path: PathBuf,
    /// What it declares.
    pub manifest: Manifest,
}

/// Finds a plugin: by the name of its package, or by the path of its file (which ends in `.so`).
///
/// Cargo builds a package's library, and those of its dev-dependencies, before it runs the package's tests, and puts it
/// beside them.
///
/// # Panics
///
/// When there is no such file, or when the host would refuse it.
pub fn library(plugin: &str) -> Library {
    let path = if Path::new(plugin).extension().is_some_and(|ext| ext == "so") {
        PathBuf::from(plugin)
    } else {
        built(plugin)
    };
    let system = System::detect();
    let host = Host {
        version: env!("CARGO_PKG_VERSION"),
        abi: HostAbi {
            major: abi::MAJOR,
            minor: abi::MINOR,
        },
        capabilities: Capability::IDS,
        system: &system,
        trust: Trust::NONE,
    };
    let checked = loader::check(&path, &host).unwrap_or_else(|refusal| panic!("{refusal}"));
    Library {
        path,
        manifest: checked.manifest,
    }
}

/// The newest file of that package near the running test.
fn built(package: &str) -> PathBuf {
    let name = format!("lib{}.so", package.replace('-', "_"));
    let test = env::current_exe().expect("a test knows its own file");
    let near = test.ancestors().skip(1).take(2);
    let newest = near
        .flat_map(|folder| [folder.join(&name), folder.join("deps").join(&name)])
        .filter_map(|path| Some((modified(&path)?, path)))
        .max();
    let Some((_, path)) = newest else {
        panic!(
            "{name} is not beside {}: give the package the crate types cdylib and rlib, or build it with \
             `cargo build -p {package}`",
            test.display()
        );
    };
    path
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
