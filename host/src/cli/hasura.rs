//! `nself hasura`: the metadata of the GraphQL engine, and what it verifies tokens with.

mod metadata;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{CliError, Context, Exit};
use crate::hasura::{jwt, remote::RemoteError};

/// The metadata of Hasura, and what it verifies tokens with.
#[derive(Debug, Clone, Args)]
pub struct HasuraArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: HasuraCommand,
}

/// What can be done for Hasura.
#[derive(Debug, Clone, Subcommand)]
pub enum HasuraCommand {
    /// The directory `hasura`, laid out as the Hasura CLI does
    Metadata(Metadata),
    /// Print HASURA_GRAPHQL_JWT_SECRET, from what the running host publishes
    JwtSecret(JwtSecret),
}

/// `nself hasura metadata`
#[derive(Debug, Clone, Args)]
pub struct Metadata {
    /// What to do.
    #[command(subcommand)]
    pub command: MetadataCommand,
}

/// What can be done with the metadata.
#[derive(Debug, Clone, Subcommand)]
pub enum MetadataCommand {
    /// Write it anew from the policy, the live schema and the enabled plugins
    Build,
    /// Look whether everything in it exists and nobody may more than the policy says. Exit code 65 when not
    Check,
    /// Check it, and hand it to Hasura. Its admin secret is read from HASURA_GRAPHQL_ADMIN_SECRET
    Apply(At),
    /// Show what differs from a fresh build, or with --endpoint from what Hasura has. Exit code 3 when something does
    Diff(At),
}

/// Which Hasura.
#[derive(Debug, Clone, Default, Args)]
pub struct At {
    /// Its address [default for apply: HASURA_GRAPHQL_ENDPOINT, else that of hasura/config.yaml]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
}

/// `nself hasura jwt-secret`
#[derive(Debug, Clone, Args)]
pub struct JwtSecret {
    /// Where the host answers
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    pub host: String,
    /// Where Hasura reaches the keys, when that is elsewhere
    #[arg(long, value_name = "URL")]
    pub jwk_url: Option<String>,
}

pub(super) fn run(context: &Context, args: &HasuraArgs) -> Result<(), CliError> {
    match &args.command {
        HasuraCommand::Metadata(Metadata { command }) => match command {
            MetadataCommand::Build => metadata::build(context),
            MetadataCommand::Check => metadata::check(context),
            MetadataCommand::Apply(at) => metadata::apply(context, at),
            MetadataCommand::Diff(at) => metadata::diff(context, at),
        },
        HasuraCommand::JwtSecret(args) => jwt_secret(context, args),
    }
}

fn jwt_secret(context: &Context, args: &JwtSecret) -> Result<(), CliError> {
    let derived = wait(jwt::secret(&args.host, args.jwk_url.as_deref()))?;
    let secret: Value = derived.map_err(|error| {
        CliError::of("HASURA_JWT_SECRET", Exit::Unavailable, &error).with_help(
            "start the host with the plugin that signs tokens: nself up, nself plugin list",
        )
    })?;
    context.output.answer(&secret, || format!("{secret}\n"))
}

/// Runs what waits for the network.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    Ok(runtime.block_on(work))
}

fn remote(error: &RemoteError) -> CliError {
    match error {
        RemoteError::Refused { .. } => CliError::of("HASURA_REFUSED", Exit::Failed, error),
        RemoteError::Address(_) | RemoteError::Secret => {
            CliError::of("HASURA_UNREACHABLE", Exit::Usage, error)
        }
        RemoteError::Unreachable { .. } | RemoteError::Answer { .. } => {
            CliError::of("HASURA_UNREACHABLE", Exit::Unavailable, error)
        }
    }
}
