//! `nself man`: what `--help` says, as pages for man(1).

use std::{fs, io, path::PathBuf};

use serde_json::json;

use super::{CliError, Context, Exit};

/// Write the manual: a page for `man` of each command
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "for oneself: nself man ~/.local/share/man/man1; for all: nself man /usr/local/share/man/man1
then: man nself, man nself-plugin-enable"
)]
pub(super) struct ManArgs {
    /// Where the pages go; made when it is not there
    directory: PathBuf,
}

pub(super) fn run(
    context: &Context,
    args: &ManArgs,
    command: clap::Command,
) -> Result<(), CliError> {
    let directory = &args.directory;
    let write = || -> io::Result<usize> {
        fs::create_dir_all(directory)?;
        clap_mangen::generate_to(command, directory)?;
        // Others have theirs in the same place.
        let is_ours =
            |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"nself");
        Ok(fs::read_dir(directory)?.flatten().filter(is_ours).count())
    };
    let pages = write().map_err(|error| {
        let message = format!("cannot write the manual into {}", directory.display());
        CliError::new("OUTPUT", Exit::CannotCreate, message)
            .with_cause(error.to_string())
            .with_help("choose a directory that can be written")
    })?;
    let answer = json!({"directory": directory, "pages": pages});
    context.output.answer(&answer, || {
        format!("{pages} pages in {}\n", directory.display())
    })
}
