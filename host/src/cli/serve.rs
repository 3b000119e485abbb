//! `nself serve`: its words.

/// Run the host against an external Postgres (DATABASE_URL), as containers do: nothing local is started.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServeArgs {
    /// Gateway port [default: http.port, 3000]; 0 lets the system choose
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Do not apply pending migrations: fail when there are some
    #[arg(long)]
    pub no_migrate: bool,
}
