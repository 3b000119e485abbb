//! `nself token`

use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;
use uuid::Uuid;

use super::{CliError, Context, Exit};
use crate::{
    config::{Environment, secrets::Secrets},
    identity::development::{Bearer, DevelopmentIssuer},
    plugin::manifest::Role,
};

/// Make an access token for trying things out, in development only: until an identity provider is enabled, this is how
/// an authenticated request is made.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TokenArgs {
    /// Role in the family
    #[arg(long, value_enum, default_value_t = RoleName::Owner)]
    role: RoleName,
    /// The family [default: one that is always the same]
    #[arg(long, value_name = "UUID")]
    family: Option<Uuid>,
    /// The user [default: one that is always the same for the family and role]
    #[arg(long, value_name = "UUID")]
    user: Option<Uuid>,
    /// How long it is good for, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    ttl: u64,
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Owner,
    Admin,
    AdultMember,
    YouthMember,
    ChildMember,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Owner => Self::Owner,
            RoleName::Admin => Self::Admin,
            RoleName::AdultMember => Self::AdultMember,
            RoleName::YouthMember => Self::YouthMember,
            RoleName::ChildMember => Self::ChildMember,
        }
    }
}

/// The family of tokens that name none.
const FAMILY: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);

pub(super) fn run(context: &Context, args: &TokenArgs) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    if config.environment != Environment::Development {
        return Err(CliError::new(
            "DEVELOPMENT_ONLY",
            Exit::Permission,
            "tokens of this kind are accepted in development only",
        )
        .with_help("sign in through the identity provider, or use an API key"));
    }
    let secrets = Secrets::of(&config)?;
    let issuer = DevelopmentIssuer::open(&secrets)
        .map_err(|error| CliError::of("DEVELOPMENT_KEY", Exit::Failed, &error))?;
    let family = args.family.unwrap_or(FAMILY);
    let user_id = args.user.unwrap_or_else(|| {
        // Stable, so that what one token wrote the next one of the same role can read as its own.
        Uuid::from_u128(family.as_u128() ^ (u128::from(args.role as u8) + 1))
    });
    let bearer = Bearer {
        user_id,
        family: Some((family, args.role.into())),
        lifetime: Duration::from_secs(args.ttl),
    };
    let token = issuer
        .mint(&bearer)
        .map_err(|error| CliError::of("DEVELOPMENT_KEY", Exit::Failed, &error))?;
    let answer =
        json!({"token": token, "user_id": user_id, "family_id": family, "ttl_s": args.ttl});
    context.output.answer(&answer, || format!("{token}\n"))
}
