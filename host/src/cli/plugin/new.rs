//! `nself plugin new`: a plugin crate of one's own, made from `plugins/hello`.

mod manifest;
mod name;
mod template;

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::super::{CliError, Context, Exit};
use crate::config::project;
use name::Name;

/// `nself plugin new`
#[derive(Debug, Clone, clap::Args)]
pub struct New {
    /// The plugin's id, also the name of its schema: lower-case letters, digits and `_`
    pub name: String,
    /// The crate's directory [default: plugins/NAME in a checkout of nself, else NAME]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// A checkout of nself, which holds what plugins are built against [default: the one that this is in]
    #[arg(long, value_name = "DIR")]
    pub checkout: Option<PathBuf>,
}

/// Where the new crate stands, and what it leans on.
struct Place {
    /// Absolute.
    directory: PathBuf,
    /// Absolute.
    checkout: PathBuf,
    /// Whether the workspace of the checkout holds it.
    is_member: bool,
}

pub(super) fn run(context: &Context, args: &New) -> Result<(), CliError> {
    let name = Name::parse(&args.name)?;
    let place = Place::choose(args, &name)?;
    let mut files = template::files(&name);
    if !place.is_member {
        manifest::stand_alone(&mut files, &place.checkout)?;
    }
    write(&place.directory, &files)?;
    let directory = shown(&place.directory);
    let answer = json!({
        "id": name.id, "crate": name.crate_name(), "directory": place.directory,
        "files": files.iter().map(|(path, _)| path).collect::<Vec<_>>(),
    });
    context.output.answer(&answer, || {
        let (id, library) = (
            &name.id,
            format!("lib{}.so", name.crate_name().replace('-', "_")),
        );
        let (enter, package) = if place.is_member {
            (String::new(), format!(" -p {}", name.crate_name()))
        } else {
            (format!("cd '{directory}' && "), String::new())
        };
        format!(
            "made the plugin {id} in {directory}\n\
             test it:   {enter}cargo test{package}\n\
             build it:  {enter}cargo build{package}\n\
             offer it:  install -m 0644 target/debug/{library} PROJECT/plugins.d/{id}.so\n\
             start it:  nself plugin enable {id}\n"
        )
    })
}

impl Place {
    fn choose(args: &New, name: &Name) -> Result<Self, CliError> {
        let current =
            std::env::current_dir().map_err(|error| cannot_create(Path::new("."), &error))?;
        let checkout = match &args.checkout {
            Some(stated) => absolute(&current, stated).filter(|path| project::is_checkout(path)),
            None => project::checkout(&current),
        };
        let Some(checkout) = checkout else {
            let message = match &args.checkout {
                Some(stated) => format!("{} is no checkout of nself", stated.display()),
                None => {
                    "a plugin is built against a checkout of nself, and this is in none".to_owned()
                }
            };
            let help = "clone the repository of nself, then: nself plugin new NAME --checkout DIR";
            return Err(CliError::new("PLUGIN_CHECKOUT", Exit::Usage, message).with_help(help));
        };
        let directory = match (&args.to, &args.checkout) {
            (Some(to), _) => current.join(to),
            (None, None) => checkout.join("plugins").join(&name.id),
            (None, Some(_)) => current.join(&name.id),
        };
        let is_member = directory.parent() == Some(&checkout.join("plugins"));
        Ok(Self {
            directory,
            checkout,
            is_member,
        })
    }
}

fn absolute(current: &Path, path: &Path) -> Option<PathBuf> {
    current.join(path).canonicalize().ok()
}

/// Writes the files beside their place and moves them there: the directory is there whole, or not at all.
fn write(directory: &Path, files: &[(String, String)]) -> Result<(), CliError> {
    let failed = |error: io::Error| cannot_create(directory, &error);
    if fs::symlink_metadata(directory).is_ok() {
        let message = format!("{} is there already", directory.display());
        return Err(CliError::new("PLUGIN_EXISTS", Exit::CannotCreate, message)
            .with_help("choose another name, or another place: --to DIR"));
    }
    let parent = directory.parent().unwrap_or(directory);
    fs::create_dir_all(parent).map_err(failed)?;
    // Goes away by itself when something fails before the end.
    let building = tempfile::Builder::new()
        .prefix(".new-plugin-")
        .tempdir_in(parent)
        .map_err(failed)?;
    for (path, text) in files {
        let path = building.path().join(path);
        let folder = path.parent().expect("a file stands in a folder");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text))
            .map_err(failed)?;
    }
    // A temporary directory is private; a crate is not.
    fs::set_permissions(building.path(), fs::Permissions::from_mode(0o755)).map_err(failed)?;
    fs::rename(building.path(), directory).map_err(failed)
}

fn cannot_create(directory: &Path, error: &io::Error) -> CliError {
    let exit = match error.kind() {
        ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::CannotCreate,
    };
    let message = format!("cannot make {}", directory.display());
    CliError::new("PLUGIN_CREATE", exit, message)
        .with_cause(error.to_string())
        .with_help("check the disk and the permissions, or choose another place: --to DIR")
}

/// Relative to where the user is, when it is below.
fn shown(directory: &Path) -> String {
    let current = std::env::current_dir().unwrap_or_default();
    let relative = directory.strip_prefix(&current).unwrap_or(directory);
    relative.display().to_string()
}
