//! `nself status`: its words.

/// Show each part: state, version, memory, restarts. Exit code 4 when something does not run.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StatusArgs {
    /// Print nothing: the exit code tells
    #[arg(long, short)]
    pub quiet: bool,
}
