//! `nself up`: its words.

/// Start everything: a private Postgres where none is configured, migrations, plugins, one gateway port.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UpArgs {
    /// Go to the background once everything is ready
    #[arg(long, short)]
    pub detach: bool,
    /// Gateway port [default: http.port, 3000]; 0 lets the system choose
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Download nothing: use the Postgres that is installed, or fail
    #[arg(long)]
    pub offline: bool,
    /// Leave the private Postgres running when the host stops
    #[arg(long)]
    pub keep_database: bool,
}
