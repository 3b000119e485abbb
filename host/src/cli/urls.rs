//! `nself urls`: its words.

/// List what can be reached where. Exit code 4 when something listed does not answer.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UrlsArgs {
    /// Only this one
    pub name: Option<String>,
}
