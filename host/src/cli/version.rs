//! `nself version`

use serde::Serialize;

use super::{CliError, Context};

#[derive(Debug, Serialize)]
struct Facts {
    version: &'static str,
    target: String,
    rust_version: &'static str,
}

pub(super) fn run(context: &Context) -> Result<(), CliError> {
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        rust_version: env!("CARGO_PKG_RUST_VERSION"),
    };
    context.output.answer(&facts, || {
        format!("nself {} ({})\n", facts.version, facts.target)
    })
}
