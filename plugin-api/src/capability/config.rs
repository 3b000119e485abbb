//! What the host says about itself and this plugin.

use std::{path::PathBuf, sync::Arc};

use serde::Deserialize;

use super::granted;
use crate::{
    cx::Handles,
    error::{Error, Result},
};

/// Facts about host and plugin.
pub struct About<'a>(pub(crate) &'a Arc<Handles>);

/// The facts.
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    /// Version of the host.
    pub host: String,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// Address under which clients reach the gateway.
    pub public_url: String,
    /// The project's directory, where relative paths of the plugin's configuration start. Empty on hosts that do not say.
    #[serde(default)]
    pub directory: PathBuf,
    /// Id of this plugin.
    pub plugin: String,
    /// Version of this plugin.
    pub version: String,
}

impl About<'_> {
    /// The facts.
    ///
    /// # Errors
    ///
    /// When the plugin lacks `nself.config/1`.
    pub fn facts(&self) -> Result<Facts> {
        let about = granted!(self, config, "nself.config/1")?.about();
        serde_json::from_slice(about.as_slice()).map_err(Error::internal)
    }
}
