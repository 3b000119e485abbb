//! `nself serve`

use super::{
    CliError, Context,
    serving::{self, Serve},
};
use crate::run::DatabaseChoice;

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

pub(super) fn run(context: &Context, args: &ServeArgs) -> Result<(), CliError> {
    let (mut config, provenance) = context.config()?;
    if let Some(port) = args.port {
        config.http.port = port;
    }
    serving::run(
        context,
        Serve {
            config,
            provenance,
            database: DatabaseChoice::Url,
            migrate: !args.no_migrate,
        },
    )
}
