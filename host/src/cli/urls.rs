//! `nself urls`

use std::fmt::Write;

use serde_json::{Value, json};

use super::{CliError, Context, Exit, client};
use crate::run::{Host, control};

/// List what can be reached where.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UrlsArgs {
    /// Only this one
    pub name: Option<String>,
}

pub(super) fn run(context: &Context, args: &UrlsArgs) -> Result<(), CliError> {
    let urls = client::request(context, "urls", Value::Null)?;
    let Some(name) = &args.name else {
        return context.output.answer(&urls, || text(&urls));
    };
    let found = urls
        .as_array()
        .into_iter()
        .flatten()
        .find(|url| url["name"] == json!(name));
    let found = found.ok_or_else(|| {
        CliError::new(
            "URL_UNKNOWN",
            Exit::Failed,
            format!("nothing here is called {name}"),
        )
        .with_help("list all: nself urls")
    })?;
    context.output.answer(found, || {
        format!("{}\n", found["url"].as_str().unwrap_or_default())
    })
}

/// The URLs of a host in this process.
pub(super) fn of(host: &Host) -> Value {
    control::urls(host)
}

/// One line per URL.
pub(super) fn text(urls: &Value) -> String {
    let mut text = String::new();
    for url in urls.as_array().into_iter().flatten() {
        let (name, url) = (
            url["name"].as_str().unwrap_or_default(),
            url["url"].as_str().unwrap_or_default(),
        );
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<12} {url}");
    }
    text
}
