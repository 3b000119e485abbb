//! `nself completions`

use clap_complete::Shell;

use super::{CliError, Context};

/// Print what makes a shell complete the words of `nself`
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "bash: nself completions bash > ~/.local/share/bash-completion/completions/nself
zsh:  nself completions zsh > a directory of $fpath, as _nself
fish: nself completions fish > ~/.config/fish/completions/nself.fish"
)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

pub(super) fn run(
    context: &Context,
    args: &CompletionsArgs,
    mut command: clap::Command,
) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "nself", &mut script);
    context.output.chunk(&script).map(|_| ())
}
