//! `nself version`

use nself_plugin_api::abi;
use serde::Serialize;

use super::{CliError, Context};

#[derive(Debug, Serialize)]
struct Facts {
    version: &'static str,
    target: String,
    rust_version: &'static str,
    abi: Abi,
}

/// The boundary that this host speaks. A plugin needs the same major, and at most the minor.
#[derive(Debug, Serialize)]
struct Abi {
    major: u32,
    minor: u32,
}

pub(super) fn run(context: &Context) -> Result<(), CliError> {
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        rust_version: env!("CARGO_PKG_RUST_VERSION"),
        abi: Abi {
            major: abi::MAJOR,
            minor: abi::MINOR,
        },
    };
    context.output.answer(&facts, || {
        format!(
            "nself {} ({})\nboundary to plugins {}.{}\n",
            facts.version, facts.target, facts.abi.major, facts.abi.minor
        )
    })
}
