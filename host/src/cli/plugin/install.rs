//! `nself plugin install`: from an archive, an address or a name to a file in the plugin directory.
//!
//! Whatever it came from, it takes the same way: the archive is taken apart in memory, its file for this machine is judged by the
//! gates that the host itself has, and only then does it get its name in the plugin directory. None of its code runs before the
//! operator enables it.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{CliError, Context, Exit},
    catalogue::{self, Catalogue},
    check, enable, names,
    signing::admissible,
};
use crate::{
    catalogue::{Place, Release, Wanted},
    loader::{CheckedPlugin, Sha256, signature_of},
    package::{ARCHIVE_BYTES_MAX, Package, unpack},
    plugin::registry::Incoming,
    whole_file::{PUBLIC, WholeFile},
};

/// `nself plugin install`
#[derive(Debug, Clone, Args)]
pub struct Install {
    /// An archive, its address, or the name of a plugin of the catalogue, with @VERSION where not the newest is meant
    #[arg(value_name = "FILE|URL|NAME[@VERSION]")]
    pub subject: String,
    /// Grant what it asks for, and start it
    #[arg(long)]
    pub enable: bool,
    /// What the archive's SHA-256 must be
    #[arg(long, value_name = "HASH")]
    pub sha256: Option<Sha256>,
}

/// An archive that was fetched, and what was said of it before it came.
struct Fetched {
    bytes: Vec<u8>,
    place: Place,
    /// Whether its hash came from the operator or from a catalogue that is believed.
    vouched: bool,
    /// What the catalogue says of it.
    release: Option<(String, Release)>,
}

/// A plugin's file on this machine, judged, outside of the plugin directory.
pub(super) struct Downloaded {
    /// Where it lies, with its signature beside it.
    pub(super) path: PathBuf,
    /// What the gates found.
    pub(super) checked: CheckedPlugin,
}

fn refused(message: impl Into<String>) -> CliError {
    CliError::new("PLUGIN_ARCHIVE", Exit::BadData, message)
}

pub(super) fn run(context: &Context, args: &Install) -> Result<(), CliError> {
    let Downloaded { path, checked } = download(context, &args.subject, args.sha256.as_ref())?;
    let installed = place(context, &checked);
    forget(&path);
    let file = installed?;
    let manifest = &checked.manifest;
    let enabled = if args.enable {
        Some(enable::enable(context, &manifest.id)?)
    } else {
        None
    };
    let answer = json!({
        "id": manifest.id, "version": manifest.version, "file": file, "signer": check::signer(&checked),
        "asks": manifest.requires.shown(), "enabled": enabled,
    });
    context.output.answer(&answer, || {
        let signed = checked.signed.as_ref();
        let by = signed.map_or_else(
            || "not signed by anybody who is trusted here".to_owned(),
            |signed| format!("signed by {}", signed.signer),
        );
        let head = format!("installed {} {}, {by}\n", manifest.id, manifest.version);
        match &enabled {
            Some(enabled) => head + &enable::text(enabled),
            None => format!(
                "{head}it asks for: {}\nnext: nself plugin enable {}\n",
                names(&answer["asks"]),
                manifest.id
            ),
        }
    })
}

/// Whether a subject is something to be downloaded: an address, an archive, or a name with a version.
pub(super) fn is_elsewhere(subject: &str) -> bool {
    subject.contains("://")
        || is_archive(subject)
        || (subject.contains('@') && !subject.contains('/'))
}

fn is_archive(subject: &str) -> bool {
    [".tar.gz", ".tgz"]
        .iter()
        .any(|ending| subject.ends_with(ending))
}

/// Fetches an archive, judges it, and puts its file for this machine where it can be installed or upgraded to.
pub(super) fn download(
    context: &Context,
    subject: &str,
    sha256: Option<&Sha256>,
) -> Result<Downloaded, CliError> {
    let fetched = fetch(context, subject, sha256)?;
    let package = unpack(&fetched.bytes).map_err(|error| {
        CliError::of("PLUGIN_ARCHIVE", Exit::BadData, &error)
            .with_help(format!("fetch {} again, or ask its author", fetched.place))
    })?;
    expected(&fetched, &package)?;
    let trust = check::trusted(context)?;
    if let Some(signature) = &package.signature {
        trust
            .judge(&package.sums, Ok(Some(signature.clone())))
            .map_err(|fault| refused(format!("the list of sums in {} {fault}", fetched.place)))?;
    }
    let target = catalogue::target();
    let (library, signature) = package.library(&target).ok_or_else(|| {
        let targets = package.targets().join(", ");
        refused(format!(
            "{} is for {targets}, and this machine is {target}",
            fetched.place
        ))
        .with_help("ask its author for an archive with a file for this machine")
    })?;
    let path = kept(context, &package, library, signature)?;
    let judged = admissible(context, &path).and_then(|checked| {
        agrees(&package, &checked)?;
        whose(&fetched, &checked)?;
        Ok(checked)
    });
    match judged {
        Ok(checked) => Ok(Downloaded { path, checked }),
        Err(error) => {
            forget(&path);
            Err(error)
        }
    }
}

fn fetch(context: &Context, subject: &str, sha256: Option<&Sha256>) -> Result<Fetched, CliError> {
    let directory = std::env::current_dir()
        .map_err(|error| CliError::of("PLUGIN_DOWNLOAD", Exit::Failed, &error))?;
    let is_place = subject.contains("://") || is_archive(subject) || subject.contains('/');
    let mut fetched = if is_place || Path::new(subject).is_file() {
        let place = Place::parse(subject, &directory).map_err(|error| catalogue::unread(&error))?;
        let bytes = read(context, &place, &place)?;
        Fetched {
            bytes,
            place,
            vouched: false,
            release: None,
        }
    } else {
        by_name(context, subject)?
    };
    if let Some(wanted) = sha256 {
        compare(&fetched, wanted, "--sha256")?;
        fetched.vouched = true;
    }
    Ok(fetched)
}

fn by_name(context: &Context, subject: &str) -> Result<Fetched, CliError> {
    let wanted = Wanted::parse(subject).map_err(|error| catalogue::not_chosen(&error))?;
    let catalogue = catalogue::open(context)?;
    let (_, release) = catalogue
        .choose(&wanted)
        .map_err(|error| catalogue::not_chosen(&error))?;
    of_release(context, &catalogue, &wanted.id, release)
}

fn of_release(
    context: &Context,
    catalogue: &Catalogue,
    id: &str,
    release: &Release,
) -> Result<Fetched, CliError> {
    let place = catalogue.place.join(&release.url);
    let place = place.map_err(|error| catalogue::unread(&error))?;
    let bytes = read(context, &place, &catalogue.place)?;
    let fetched = Fetched {
        bytes,
        place,
        vouched: catalogue.signed || !catalogue.place.is_open(),
        release: Some((id.to_owned(), release.clone())),
    };
    compare(&fetched, &release.sha256, "the catalogue")?;
    Ok(fetched)
}

fn read(context: &Context, place: &Place, named: &Place) -> Result<Vec<u8>, CliError> {
    let _progress = context.progress(&format!("reading {place}"));
    let read = catalogue::wait(place.read(named, ARCHIVE_BYTES_MAX))?;
    read.map_err(|error| catalogue::unread(&error))
}

fn compare(fetched: &Fetched, wanted: &Sha256, who: &str) -> Result<(), CliError> {
    let found = Sha256::of(&fetched.bytes);
    if found == *wanted {
        return Ok(());
    }
    let message = format!(
        "{} has sha256 {found}, and {who} says {wanted}",
        fetched.place
    );
    Err(refused(message)
        .with_help("it was changed or cut off on the way: try again, then ask who publishes it"))
}

/// What the catalogue promised is what came.
fn expected(fetched: &Fetched, package: &Package) -> Result<(), CliError> {
    let Some((id, release)) = &fetched.release else {
        return Ok(());
    };
    if (id, &release.version) == (&package.id, &package.version) {
        return Ok(());
    }
    Err(refused(format!(
        "{} holds {} {}, and the catalogue says {id} {}",
        fetched.place, package.id, package.version, release.version
    )))
}

/// The manifest beside the file says what the file says: who read the one has read the other.
fn agrees(package: &Package, checked: &CheckedPlugin) -> Result<(), CliError> {
    let described = crate::loader::describe(&checked.path)
        .map_err(|refusal| CliError::of("PLUGIN_REFUSED", Exit::BadData, &refusal))?;
    let without_build = |manifest: &Value| {
        let mut manifest = manifest.clone();
        // Each kind of machine has its own.
        manifest["build"] = Value::Null;
        manifest
    };
    if without_build(&described.manifest) == without_build(&package.manifest) {
        return Ok(());
    }
    let (id, version) = (&package.id, &package.version);
    Err(refused(format!(
        "the manifest.json of {id} {version} is not that of its file"
    ))
    .with_help("tell its author: nself plugin pack writes it"))
}

/// Somebody stands for the content: who signed it, who said its hash, or the line that it came by.
fn whose(fetched: &Fetched, checked: &CheckedPlugin) -> Result<(), CliError> {
    let signer = checked.signed.as_ref().map(|signed| signed.signer.key);
    if let (Some((_, release)), Some(signer)) = (&fetched.release, signer)
        && release
            .signer
            .as_ref()
            .is_some_and(|promised| *promised != signer.to_string())
    {
        return Err(refused(format!(
            "{} is signed by another key than the catalogue says",
            fetched.place
        )));
    }
    if checked.signed.is_some() || fetched.vouched || !fetched.place.is_open() {
        return Ok(());
    }
    Err(refused(format!(
        "{} came unencrypted, and nobody who is trusted has signed it",
        fetched.place
    ))
    .with_help("fetch it by https, trust its author's key, or say what it must be: --sha256 HASH"))
}

/// Writes the file for this machine where it waits for being installed; nothing looks for plugins there.
fn kept(
    context: &Context,
    package: &Package,
    library: &[u8],
    signature: Option<&[u8]>,
) -> Result<PathBuf, CliError> {
    let (config, _) = context.config()?;
    let directory = config.state_directory().join("downloads");
    let name = format!(
        "{}-{}-{}.so",
        package.id,
        package.version,
        Sha256::of(library).short()
    );
    let path = directory.join(name);
    let write = || {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&directory)?;
        forget(&path);
        if let Some(signature) = signature {
            WholeFile::write(&signature_of(&path), PUBLIC, signature)?;
        }
        WholeFile::write(&path, PUBLIC, library)
    };
    write().map_err(|error| {
        CliError::of("PLUGIN_FILE", Exit::CannotCreate, &error)
            .with_help(format!("make {} writable", directory.display()))
    })?;
    Ok(path)
}

/// Removes what waited. Best effort: it is in nobody's way.
pub(super) fn forget(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(signature_of(path));
}

/// Gives a judged file its place in the plugin directory, unless a plugin of its name has one.
fn place(context: &Context, checked: &CheckedPlugin) -> Result<PathBuf, CliError> {
    let (config, _) = context.config()?;
    let id = &checked.manifest.id;
    let target = config.plugins_directory().join(format!("{id}.so"));
    let (there, _) = check::checked(context)?;
    let namesake = there.iter().find(|plugin| plugin.manifest.id == *id);
    if let Some(namesake) = namesake {
        let message = format!(
            "{id} {} is there already: {}",
            namesake.manifest.version,
            namesake.path.display()
        );
        return Err(
            CliError::new("PLUGIN_INSTALLED", Exit::Failed, message).with_help(format!(
                "exchange it: nself plugin upgrade {id}@{}",
                checked.manifest.version
            )),
        );
    }
    if target.symlink_metadata().is_ok() {
        let message = format!("{} is in the way", target.display());
        return Err(CliError::new("PLUGIN_INSTALLED", Exit::Failed, message)
            .with_help("move it away first"));
    }
    let incoming = Incoming::new(target.clone(), checked)?;
    incoming.place()?;
    Ok(target)
}
