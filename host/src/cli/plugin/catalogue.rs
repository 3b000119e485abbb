//! `nself plugin search`, `outdated` and `publish`, and the catalogue that they and `install` read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::{Span, Timestamp};
use serde_json::json;

use super::{
    super::{CliError, Context, Exit, Table},
    check, offline,
    signing::KeyArgs,
};
use crate::{
    catalogue::{
        self, ChooseError, FILE_NAME, INDEX_BYTES_MAX, Index, Place, PlaceError, PluginEntry,
        Release, Wanted, choose,
    },
    loader::{HostAbi, Sha256, SignatureFault, signature_of},
    minisign::{PublicKey, Signature},
    package::{ENDING, Package, unpack},
    whole_file::{PUBLIC, WholeFile},
};

/// `nself plugin search`
#[derive(Debug, Clone, Args)]
pub struct Search {
    /// Part of a plugin's id or of what it does [default: all]
    #[arg(default_value = "")]
    pub word: String,
}

/// `nself plugin publish`
#[derive(Debug, Clone, Args)]
pub struct Publish {
    /// Directory of archives; index.json and its signature are written into it
    pub directory: PathBuf,
    /// Withdraw a version: only who names it gets it from now on; can be given several times
    #[arg(long, value_name = "ID@VERSION")]
    pub yank: Vec<String>,
    #[command(flatten)]
    pub key: KeyArgs,
}

/// A catalogue that was read and is believed.
pub(super) struct Catalogue {
    /// Where it lies.
    pub(super) place: Place,
    /// What it says.
    pub(super) index: Index,
    /// Whether a trusted key stands for it.
    pub(super) signed: bool,
}

fn refused(message: impl Into<String>) -> CliError {
    CliError::new("CATALOGUE", Exit::BadData, message)
}

/// A download that failed, for the operator.
pub(super) fn unread(error: &PlaceError) -> CliError {
    let exit = match error {
        PlaceError::Fetch(_) | PlaceError::Tls(_) => Exit::Unavailable,
        PlaceError::Url(_) => Exit::Usage,
        PlaceError::File { .. } | PlaceError::Large { .. } => Exit::BadData,
    };
    CliError::of("PLUGIN_DOWNLOAD", exit, error)
        .with_help("check the address and the network, then try again: nothing was changed")
}

/// Runs what waits for a network.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    Ok(runtime.block_on(work))
}

/// Whether a catalogue is configured.
pub(super) fn is_configured(context: &Context) -> Result<bool, CliError> {
    Ok(context.config()?.0.plugins.catalogue.is_some())
}

/// Reads the catalogue of the configuration, and believes it as far as `Catalogue` says.
pub(super) fn open(context: &Context) -> Result<Catalogue, CliError> {
    let (config, _) = context.config()?;
    let Some(text) = &config.plugins.catalogue else {
        return Err(CliError::new("CATALOGUE", Exit::Configuration, "no catalogue is configured")
            .with_help("set plugins.catalogue to the address of an index.json, or install a file or an address"));
    };
    let place = Place::parse(text, &config.directory).map_err(|error| unread(&error))?;
    let progress = context.progress(&format!("reading {place}"));
    let (content, signature) = wait(async {
        let content = place.read(&place, INDEX_BYTES_MAX).await;
        let signature = place.signature();
        let signature = signature
            .read(&place, crate::minisign::SIGNATURE_BYTES_MAX)
            .await;
        (content, signature)
    })?;
    drop(progress);
    let content = content.map_err(|error| unread(&error))?;
    let signature = match signature {
        Ok(text) => Some(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(unread(&error)),
    };
    let judged = check::trusted(context)?
        .judge(&content, Ok(signature))
        .map_err(|fault| not_believed(&place, &fault))?;
    if let Some(warning) = judged.warning {
        context
            .output
            .note(&format!("warning: the catalogue at {place} {warning}"));
    }
    let bad = |error: &dyn std::error::Error| {
        refused(format!("the catalogue at {place} is not believed")).with_cause(error.to_string())
    };
    let index = Index::read(&content, Timestamp::now()).map_err(|error| bad(&error))?;
    let signed = judged.signed.is_some();
    // Whoever stands on the way could say a serial that no true index reaches.
    if signed || !place.is_open() {
        let file = config.state_directory().join("catalogues.json");
        catalogue::note(&file, &place.to_string(), index.serial).map_err(|error| {
            bad(&error).with_help(format!(
                "tell who publishes it; if it began anew, remove {} to forget what was seen",
                file.display()
            ))
        })?;
    }
    Ok(Catalogue {
        place,
        index,
        signed,
    })
}

fn not_believed(place: &Place, fault: &SignatureFault) -> CliError {
    let error = refused(format!("the catalogue at {place} is not believed"));
    match fault {
        SignatureFault::Missing => error
            .with_cause("it is not signed")
            .with_help("ask who publishes it to sign it: nself plugin publish DIR --key FILE"),
        fault => error.with_cause(format!("it {fault}")),
    }
}

/// The boundary and the kind of machine that versions are chosen for.
pub(super) fn here() -> (HostAbi, String) {
    use nself_plugin_api::abi::{MAJOR, MINOR};
    let (major, minor) = (MAJOR, MINOR);
    (HostAbi { major, minor }, target())
}

/// What manifests call this kind of machine.
pub(super) fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// A refusal to choose, for the operator.
pub(super) fn not_chosen(error: &ChooseError) -> CliError {
    let error = CliError::of("CATALOGUE_VERSION", Exit::Failed, error);
    error.with_help("see what there is: nself plugin search")
}

impl Catalogue {
    /// The newest version of what is wanted that runs here.
    pub(super) fn choose(&self, wanted: &Wanted) -> Result<(&PluginEntry, &Release), ChooseError> {
        let (abi, target) = here();
        choose(&self.index, wanted, abi, &target)
    }
}

pub(super) fn search(context: &Context, args: &Search) -> Result<(), CliError> {
    let catalogue = open(context)?;
    let (lock, _) = offline::open(context)?;
    let word = args.word.to_lowercase();
    let mut found = Vec::new();
    for (id, entry) in &catalogue.index.plugins {
        let has = |text: &str| text.to_lowercase().contains(&word);
        if !has(id) && !has(&entry.description) {
            continue;
        }
        let wanted = Wanted::parse(id).map_err(|error| not_chosen(&error))?;
        let chosen = catalogue.choose(&wanted);
        let release = chosen.as_ref().ok().map(|(_, release)| *release);
        found.push(json!({
            "id": id, "version": release.map(|release| &release.version), "description": entry.description,
            "installed": lock.plugins.get(id).map(|locked| &locked.version),
            "signer": release.and_then(|release| release.signer.as_deref()),
            "reason": chosen.as_ref().err().map(ToString::to_string),
        }));
    }
    context.output.answer(&found, || {
        let mut table = Table::new(&["PLUGIN", "VERSION", "INSTALLED", "NOTE"]);
        for plugin in &found {
            let word = |key: &str| plugin[key].as_str().unwrap_or_default().to_owned();
            let note = plugin["reason"]
                .as_str()
                .map_or_else(|| word("description"), str::to_owned);
            table.row([word("id"), word("version"), word("installed"), note]);
        }
        if table.is_empty() {
            "no plugin of the catalogue matches\n".to_owned()
        } else {
            context.output.table(&table)
        }
    })
}

pub(super) fn outdated(context: &Context) -> Result<(), CliError> {
    let catalogue = open(context)?;
    let (lock, _) = offline::open(context)?;
    let mut found = Vec::new();
    for (id, locked) in &lock.plugins {
        let Some(entry) = catalogue.index.plugins.get(id) else {
            continue;
        };
        let wanted = Wanted::parse(id).map_err(|error| not_chosen(&error))?;
        let chosen = catalogue
            .choose(&wanted)
            .ok()
            .map(|(_, release)| &release.version);
        let newer = chosen.filter(|version| **version > locked.version);
        let stable = entry
            .versions
            .iter()
            .filter(|release| release.version.pre.is_empty() && !release.yanked);
        let newest = stable.map(|release| &release.version).max();
        let beyond = newest.filter(|newest| {
            chosen.is_none_or(|chosen| *newest > chosen) && **newest > locked.version
        });
        if newer.is_some() || beyond.is_some() {
            found.push(json!({"id": id, "version": locked.version, "available": newer, "needs_newer_host": beyond}));
        }
    }
    let outdated = found
        .iter()
        .filter(|plugin| !plugin["available"].is_null())
        .count();
    context.output.answer(&found, || {
        let mut table = Table::new(&["PLUGIN", "VERSION", "AVAILABLE", "NOTE"]);
        for plugin in &found {
            let word = |key: &str| plugin[key].as_str().unwrap_or_default().to_owned();
            let note = match plugin["needs_newer_host"].as_str() {
                Some(version) => format!("{version} does not run on this host"),
                None => format!("nself plugin upgrade {}", word("id")),
            };
            table.row([word("id"), word("version"), word("available"), note]);
        }
        if table.is_empty() {
            "everything is as new as the catalogue\n".to_owned()
        } else {
            context.output.table(&table)
        }
    })?;
    if outdated == 0 {
        return Ok(());
    }
    let message = format!("{outdated} plugins have a newer version");
    Err(
        CliError::new("PLUGIN_OUTDATED", Exit::ChangesNeeded, message)
            .with_help("nself plugin upgrade ID"),
    )
}

pub(super) fn publish(context: &Context, args: &Publish) -> Result<(), CliError> {
    let key = args.key.open()?;
    let path = args.directory.join(FILE_NAME);
    let before = fs::read(&path).ok();
    let before: Option<Index> = before
        .map(|bytes| serde_json::from_slice(&bytes))
        .transpose()
        .map_err(|error| {
            refused(format!("{} does not read: {error}", path.display()))
                .with_help("restore it: its serial must go on growing")
        })?;
    let public = key.as_ref().map(crate::minisign::SecretKey::public);
    let mut plugins = archives(&args.directory, public.as_ref(), before.as_ref())?;
    for name in &args.yank {
        yank(&mut plugins, name)?;
    }
    let expires = args.key.expires.map(|days| {
        let hours = Span::new().hours(i64::try_from(days).unwrap_or(36_500) * 24);
        Timestamp::now()
            .checked_add(hours)
            .unwrap_or(Timestamp::MAX)
    });
    let mut index = Index {
        schema: 1,
        serial: before.as_ref().map_or(1, |before| before.serial),
        expires,
        plugins,
    };
    if before.as_ref().is_some_and(|before| *before != index) {
        index.serial += 1;
    }
    let mut text = serde_json::to_vec_pretty(&index)
        .map_err(|error| CliError::of("CATALOGUE", Exit::Failed, &error))?;
    text.push(b'\n');
    let failed = |error: &dyn std::error::Error| {
        CliError::of("CATALOGUE", Exit::CannotCreate, error)
            .with_help(format!("make {} writable", args.directory.display()))
    };
    let beside = signature_of(&path);
    if let Some(key) = &key {
        let about = format!("serial:{}", index.serial);
        let signed = key.sign(&text, &args.key.comment(FILE_NAME, &about));
        let signed = signed.map_err(|error| CliError::of("SIGNING_KEY", Exit::Failed, &error))?;
        WholeFile::write(&beside, PUBLIC, signed.to_string().as_bytes())
            .map_err(|error| failed(&error))?;
    } else {
        // The one of the index before is of no use to this one.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(&error));
            }
            _ => {}
        }
    }
    WholeFile::write(&path, PUBLIC, &text).map_err(|error| failed(&error))?;
    let versions: usize = index
        .plugins
        .values()
        .map(|entry| entry.versions.len())
        .sum();
    let answer = json!({
        "file": path, "serial": index.serial, "plugins": index.plugins.len(), "versions": versions, "signed": key.is_some(),
    });
    context.output.answer(&answer, || {
        let signed = if key.is_some() {
            "signed"
        } else {
            "not signed"
        };
        format!(
            "{}: serial {}, {versions} versions, {signed}\n",
            path.display(),
            index.serial
        )
    })
}

fn yank(plugins: &mut BTreeMap<String, PluginEntry>, name: &str) -> Result<(), CliError> {
    let (id, version) = name.split_once('@').unwrap_or((name, ""));
    let versions = plugins
        .get_mut(id)
        .into_iter()
        .flat_map(|entry| &mut entry.versions);
    let mut matching = versions.filter(|release| release.version.to_string() == version);
    match matching.next() {
        Some(release) => {
            release.yanked = true;
            Ok(())
        }
        None => Err(refused(format!("there is no {name} to withdraw"))),
    }
}

/// The archives of a directory as an index has them. What was withdrawn before stays withdrawn.
fn archives(
    directory: &Path,
    key: Option<&PublicKey>,
    before: Option<&Index>,
) -> Result<BTreeMap<String, PluginEntry>, CliError> {
    let entries = fs::read_dir(directory)
        .map_err(|error| CliError::of("CATALOGUE", Exit::BadData, &error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(ENDING))
        .collect();
    names.sort();
    let mut plugins: BTreeMap<String, PluginEntry> = BTreeMap::new();
    for name in names {
        let bytes = fs::read(directory.join(&name))
            .map_err(|error| CliError::of("CATALOGUE", Exit::BadData, &error).with_cause(&name))?;
        let package = unpack(&bytes).map_err(|error| {
            CliError::of("PLUGIN_ARCHIVE", Exit::BadData, &error)
                .with_help(format!("pack {name} again"))
        })?;
        let mut release = release(&package, name, &bytes, key)?;
        let of_before = before.and_then(|before| before.plugins.get(&package.id));
        let mut of_before = of_before.into_iter().flat_map(|entry| &entry.versions);
        release.yanked = of_before.any(|other| other.version == release.version && other.yanked);
        let entry = plugins.entry(package.id.clone()).or_default();
        if entry
            .versions
            .iter()
            .any(|other| other.version == release.version)
        {
            return Err(refused(format!(
                "{} {} is there twice",
                package.id, release.version
            )));
        }
        if entry
            .versions
            .iter()
            .all(|other| other.version < release.version)
        {
            let description = package.manifest["description"].as_str();
            description
                .unwrap_or_default()
                .clone_into(&mut entry.description);
        }
        entry.versions.push(release);
        entry
            .versions
            .sort_by(|one, other| one.version.cmp(&other.version));
    }
    Ok(plugins)
}

fn release(
    package: &Package,
    url: String,
    bytes: &[u8],
    key: Option<&PublicKey>,
) -> Result<Release, CliError> {
    let abi = serde_json::from_value(package.manifest["abi"].clone());
    let abi = abi.map_err(|error| CliError::of("PLUGIN_ARCHIVE", Exit::BadData, &error))?;
    let targets = package.targets();
    let is_signed = |target: &&str| {
        let signed = package.library(target).and_then(|(content, signature)| {
            let signature: Signature = str::from_utf8(signature?).ok()?.parse().ok()?;
            signature.verify(key?, content).ok()
        });
        signed.is_some()
    };
    let signer = key.filter(|_| targets.iter().all(is_signed));
    Ok(Release {
        version: package.version.clone(),
        url,
        sha256: Sha256::of(bytes),
        bytes: bytes.len() as u64,
        abi,
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        signer: signer.map(ToString::to_string),
        yanked: false,
    })
}
