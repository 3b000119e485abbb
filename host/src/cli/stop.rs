//! `nself stop`: its words.

/// Stop the host: accept nothing new, let what is in flight finish.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StopArgs {
    /// Time for what is in flight, seconds [default: shutdown.grace_ms]
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<u64>,
    /// Stop the private Postgres too, even when it is configured to stay
    #[arg(long)]
    pub database: bool,
}
