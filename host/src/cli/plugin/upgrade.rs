//! `nself plugin upgrade` and `grant`: to the file in the plugin directory, to any other, or to a version of the catalogue.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{CliError, Context, Exit, client},
    catalogue, install, ms, names, offline, replaced,
};
use crate::catalogue::Wanted;

/// `nself plugin upgrade`
#[derive(Debug, Clone, Args)]
pub struct Upgrade {
    /// The plugin's id, with @VERSION for one of the catalogue, a file, or an archive or its address
    #[arg(value_name = "ID[@VERSION]|FILE|URL")]
    pub subject: String,
    /// Time for requests and tasks in flight on the old version, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
    /// Let another key stand for it than before, or none
    #[arg(long)]
    pub new_signer: bool,
}

pub(super) fn run(context: &Context, args: &Upgrade) -> Result<(), CliError> {
    let done = if install::is_elsewhere(&args.subject) {
        to_downloaded(context, args, &args.subject)
    } else if let Some(file) = file(&args.subject)? {
        to_file(context, args, &file)
    } else {
        to_newest(context, args)
    }?;
    context.output.answer(&done, || replaced(&done))
}

fn to_file(context: &Context, args: &Upgrade, file: &Path) -> Result<Value, CliError> {
    let request = json!({"file": file, "drain_ms": ms(args.drain), "new_signer": args.new_signer});
    client::request(context, "plugin.upgrade_file", request)
}

/// A file that was dropped in goes first; where there is none that is new, the catalogue is asked.
fn to_newest(context: &Context, args: &Upgrade) -> Result<Value, CliError> {
    let id = &args.subject;
    let request = json!({"id": id, "drain_ms": ms(args.drain), "new_signer": args.new_signer});
    let done = client::request(context, "plugin.upgrade", request);
    let nothing_new = match &done {
        Ok(done) => done["replaced"] != json!(true),
        Err(error) => error.code == "PLUGIN_NOT_FOUND",
    };
    if !nothing_new || !catalogue::is_configured(context)? {
        return done;
    }
    let (lock, _) = offline::open(context)?;
    let catalogue = catalogue::open(context)?;
    let wanted = Wanted::parse(id).map_err(|error| catalogue::not_chosen(&error))?;
    match catalogue.choose(&wanted) {
        Ok((_, release)) => {
            let locked = lock.plugins.get(id);
            if locked.is_some_and(|locked| locked.version >= release.version) {
                return done;
            }
            to_downloaded(context, args, &format!("{id}@{}", release.version))
        }
        // What runs is all that there is of it.
        Err(_) if done.is_ok() => done,
        Err(error) => Err(catalogue::not_chosen(&error)),
    }
}

fn to_downloaded(context: &Context, args: &Upgrade, subject: &str) -> Result<Value, CliError> {
    let downloaded = install::download(context, subject, None)?;
    let done = to_file(context, args, &downloaded.path);
    // What only lacks a consent waits for it: the refusal names the file.
    let waits =
        |error: &CliError| ["PLUGIN_NOT_GRANTED", "PLUGIN_SIGNER"].contains(&error.code.as_str());
    if !done.as_ref().is_err_and(waits) {
        install::forget(&downloaded.path);
    }
    done
}

pub(super) fn grant(context: &Context, subject: &str) -> Result<(), CliError> {
    let file = if install::is_elsewhere(subject) {
        Some(install::download(context, subject, None)?.path)
    } else {
        file(subject)?
    };
    let done = match file {
        Some(file) => client::request(context, "plugin.grant_file", json!({"file": file})),
        None => client::request(context, "plugin.grant", json!({"id": subject})),
    }?;
    context.output.answer(&done, || {
        format!(
            "granted to {}: {}; now: nself plugin upgrade {subject}\n",
            done["id"].as_str().unwrap_or_default(),
            names(&done["granted"])
        )
    })
}

/// The file that is meant, as the host finds it from anywhere; none when it is an id, which has neither `/` nor `.`.
fn file(subject: &str) -> Result<Option<PathBuf>, CliError> {
    if !subject.contains(['/', '.']) {
        return Ok(None);
    }
    let file = std::path::absolute(subject);
    file.map(Some)
        .map_err(|error| CliError::of("PLUGIN_NOT_FOUND", Exit::Failed, &error))
}
