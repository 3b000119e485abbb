//! `nself plugin pack`: one archive of everything that others need to install a plugin.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use semver::Version;
use serde_json::{Value, json};

use super::{
    super::{CliError, Context, Exit},
    signing::KeyArgs,
};
use crate::{
    loader::{Described, Sha256, describe, signature_of},
    minisign::{EXTENSION, SecretKey},
    package::{MANIFEST, Parts, SBOM, SUMS, sbom, unpack},
    whole_file::{PUBLIC, WholeFile},
};

/// `nself plugin pack`
#[derive(Debug, Clone, Args)]
pub struct Pack {
    /// The plugin's crate, built with cargo build --release, or plugin files, or both: then the files are packed with what
    /// the crate says
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Where the archive goes
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    #[command(flatten)]
    pub key: KeyArgs,
}

fn refused(message: impl Into<String>) -> CliError {
    CliError::new("PLUGIN_PACK", Exit::BadData, message)
}

fn unread(path: &Path, error: &io::Error) -> CliError {
    CliError::of("PLUGIN_PACK", Exit::BadData, error)
        .with_help(format!("make {} readable", path.display()))
}

pub(super) fn run(context: &Context, args: &Pack) -> Result<(), CliError> {
    let key = args.key.open()?;
    let (directories, mut files): (Vec<PathBuf>, Vec<PathBuf>) =
        args.paths.iter().cloned().partition(|path| path.is_dir());
    let mut beside = BTreeMap::new();
    match directories.as_slice() {
        [] => {
            let directory = files[0].parent().unwrap_or(Path::new("."));
            documents(directory, &mut beside)?;
        }
        [directory] => {
            let found = of_crate(directory, &mut beside)?;
            if files.is_empty() {
                files = found;
            }
        }
        _ => return Err(refused("one crate makes one archive").with_help("name one directory")),
    }
    let parts = parts(&files, beside, key.as_ref(), &args.key)?;
    let signature = key
        .map(|key| {
            let about = format!("plugin:{}\tversion:{}", parts.id, parts.version);
            let signed = key.sign(parts.sums().as_bytes(), &args.key.comment(SUMS, &about));
            signed.map(|signature| signature.to_string())
        })
        .transpose()
        .map_err(|error| CliError::of("SIGNING_KEY", Exit::Failed, &error))?;
    let is_signed = signature.is_some();
    let bad = |error: &dyn std::error::Error| CliError::of("PLUGIN_PACK", Exit::BadData, error);
    let archive = parts.archive(signature).map_err(|error| bad(&error))?;
    // What nobody could install is not handed out.
    let package = unpack(&archive).map_err(|error| bad(&error))?;
    let path = args.out.join(parts.file_name());
    WholeFile::write(&path, PUBLIC, &archive).map_err(|error| {
        CliError::of("PLUGIN_PACK", Exit::CannotCreate, &error)
            .with_help(format!("make {} writable", args.out.display()))
    })?;
    let answer = json!({
        "file": path, "sha256": Sha256::of(&archive).to_string(), "bytes": archive.len(), "id": package.id,
        "version": package.version, "targets": package.targets(), "signed": is_signed,
        "files": package.files.keys().collect::<Vec<_>>(),
    });
    context.output.answer(&answer, || {
        format!(
            "{}\nsha256 {}\nfor {}{}\n",
            path.display(),
            Sha256::of(&archive),
            package.targets().join(", "),
            if is_signed {
                ""
            } else {
                "; not signed: --key FILE"
            }
        )
    })
}

/// The plugin's files under their places in the archive, each with its signature, and what goes beside them.
fn parts(
    files: &[PathBuf],
    mut beside: BTreeMap<String, Vec<u8>>,
    key: Option<&SecretKey>,
    args: &KeyArgs,
) -> Result<Parts, CliError> {
    let mut plugin: Option<(String, Version)> = None;
    for file in files {
        let Described { manifest, bytes } = describe(file)
            .map_err(|refusal| CliError::of("PLUGIN_REFUSED", Exit::BadData, &refusal))?;
        let (id, version, target) = named(&manifest)
            .ok_or_else(|| refused(format!("{} does not say what it is", file.display())))?;
        match &plugin {
            None => {
                let text = serde_json::to_vec_pretty(&manifest);
                beside.insert(MANIFEST.to_owned(), text.unwrap_or_default());
                plugin = Some((id.clone(), version.clone()));
            }
            Some(first) if *first != (id.clone(), version.clone()) => {
                let (other, of) = first;
                let message = format!("{other} {of} and {id} {version} are not one plugin");
                return Err(refused(message).with_help("build all files from the same source"));
            }
            Some(_) => {}
        }
        let name = Parts::library(&target, &id);
        let signature = match key {
            Some(key) => {
                let about = format!("plugin:{id}\tversion:{version}\ttarget:{target}");
                let signed = key.sign(&bytes, &args.comment(&format!("{id}.so"), &about));
                let signed =
                    signed.map_err(|error| CliError::of("SIGNING_KEY", Exit::Failed, &error))?;
                Some(signed.to_string().into_bytes())
            }
            None => made_elsewhere(file)?,
        };
        if let Some(signature) = signature {
            beside.insert(format!("{name}.{EXTENSION}"), signature);
        }
        if beside.insert(name, bytes).is_some() {
            return Err(refused(format!("two files are for {target}"))
                .with_help("name the one that is meant"));
        }
    }
    let (id, version) = plugin.ok_or_else(|| {
        refused("no plugin file is built").with_help("cargo build --release, or name the files")
    })?;
    Ok(Parts {
        id,
        version,
        files: beside,
    })
}

/// What a manifest says the file is: id, version, kind of machine.
fn named(manifest: &Value) -> Option<(String, Version, String)> {
    let id = manifest["id"].as_str()?.to_owned();
    let version = manifest["version"].as_str()?.parse().ok()?;
    let target = manifest["build"]["target"].as_str()?.to_owned();
    Some((id, version, target))
}

/// A signature that minisign has left beside the file.
fn made_elsewhere(file: &Path) -> Result<Option<Vec<u8>>, CliError> {
    let path = signature_of(file);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unread(&path, &error)),
    }
}

/// Licences and the page for readers, as they lie in a directory.
fn documents(directory: &Path, into: &mut BTreeMap<String, Vec<u8>>) -> Result<(), CliError> {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let entries = fs::read_dir(directory).map_err(|error| unread(directory, &error))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let upper = name.to_uppercase();
        let is_wanted = ["LICENSE", "LICENCE", "COPYING", "NOTICE"]
            .iter()
            .any(|start| upper.starts_with(start))
            || upper == "README.MD";
        if is_wanted && entry.path().is_file() && !into.contains_key(&name) {
            let bytes = fs::read(entry.path()).map_err(|error| unread(&entry.path(), &error))?;
            into.insert(name, bytes);
        }
    }
    Ok(())
}

/// What a crate gives: its documents, what it is built from, and where cargo has put its libraries.
fn of_crate(
    directory: &Path,
    into: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Vec<PathBuf>, CliError> {
    let metadata = metadata(directory)?;
    let root = metadata["resolve"]["root"].as_str();
    let packages = metadata["packages"].as_array();
    let package = packages
        .into_iter()
        .flatten()
        .find(|package| root.is_some() && package["id"].as_str() == root);
    let (Some(root), Some(package)) = (root, package) else {
        let message = format!("{} is no crate", directory.display());
        return Err(refused(message).with_help("name the directory with the plugin's Cargo.toml"));
    };
    documents(directory, into)?;
    if let Some(workspace) = metadata["workspace_root"].as_str() {
        // Crates of a workspace often share its licence; its page for readers is another one's.
        let mut shared = BTreeMap::new();
        documents(Path::new(workspace), &mut shared)?;
        shared.retain(|name, _| !name.to_uppercase().starts_with("README"));
        let has_own = into
            .keys()
            .any(|name| !name.to_uppercase().starts_with("README"));
        if !has_own {
            into.extend(shared);
        }
        let lock = fs::read_to_string(Path::new(workspace).join("Cargo.lock"));
        let bom = sbom::of(&metadata, &lock.unwrap_or_default(), root);
        let text = bom.and_then(|bom| serde_json::to_vec_pretty(&bom).ok());
        into.extend(text.map(|text| (SBOM.to_owned(), text)));
    }
    let target = metadata["target_directory"].as_str().unwrap_or_default();
    Ok(libraries(package, Path::new(target)))
}

/// The crate's libraries below cargo's target directory: for this machine, and for each other that was built for.
fn libraries(package: &Value, target: &Path) -> Vec<PathBuf> {
    let targets = package["targets"].as_array().into_iter().flatten();
    let is_plugin = |target: &&Value| {
        let kinds = target["crate_types"].as_array();
        kinds.into_iter().flatten().any(|kind| kind == "cdylib")
    };
    let Some(name) = targets.into_iter().find(is_plugin) else {
        return Vec::new();
    };
    let name = name["name"].as_str().unwrap_or_default().replace('-', "_");
    let below = fs::read_dir(target).into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = below.map(|entry| entry.path().join("release")).collect();
    places.push(target.join("release"));
    places.sort();
    let files = places
        .into_iter()
        .map(|place| place.join(format!("lib{name}.so")));
    files.filter(|file| file.is_file()).collect()
}

/// What cargo says of a crate and of everything that it needs on this machine.
fn metadata(directory: &Path) -> Result<Value, CliError> {
    let run = |program: &str, command: &mut Command| {
        let output = command.current_dir(directory).output().map_err(|error| {
            CliError::of("PLUGIN_PACK", Exit::Unavailable, &error)
                .with_help(format!("a crate takes {program}; plugin files do not"))
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = format!("{program} does not read {}", directory.display());
        Err(refused(message).with_cause(String::from_utf8_lossy(&output.stderr).trim()))
    };
    let rustc = run("rustc", Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    if let Some(host) = host {
        cargo.args(["--filter-platform", host]);
    }
    let text = run("cargo", &mut cargo)?;
    serde_json::from_str(&text).map_err(|error| CliError::of("PLUGIN_PACK", Exit::BadData, &error))
}
