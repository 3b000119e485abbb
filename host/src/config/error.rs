//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use super::{Environment, Origin};

/// What is wrong with the configuration. No variant carries a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is there and cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not TOML, or not a `.env` file.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// Its name.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Nothing reads this key.
    #[error("unknown key `{key}` in {origin}")]
    UnknownKey {
        /// Dotted, or the variable's name.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// The value is of another type or out of bounds.
    #[error("`{key}` in {origin} must be {expected}, got {got}")]
    WrongType {
        /// Dotted.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A secret that everybody knows, outside development.
    #[error("`{key}` in {origin} holds a well-known default secret, which is refused in {}", environment.as_str())]
    KnownSecret {
        /// Dotted.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// Which environment refuses it.
        environment: Environment,
    },
    /// `X` and `X_FILE` are both set.
    #[error("`{variable}` and `{variable}_FILE` are both set in {place}")]
    StatedTwice {
        /// The one without `_FILE`.
        variable: String,
        /// The file, or the process environment.
        place: String,
    },
    /// A file that was chosen by the environment names another one.
    #[error("{file} is read in {}, and sets the environment to {}", chosen.as_str(), stated.as_str())]
    EnvironmentMoved {
        /// The file.
        file: &'static str,
        /// Which environment chose the file.
        chosen: Environment,
        /// Which one it states.
        stated: Environment,
    },
    /// A plugin's own key does not match its schema.
    #[error("`{key}` in {origin} does not suit plugin {plugin}: {message}")]
    Plugin {
        /// The plugin's id.
        plugin: String,
        /// Dotted.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// What the schema expects, and what is there.
        message: String,
    },
    /// A plugin's schema is none.
    #[error("plugin {plugin} declares a configuration schema that is not valid: {message}")]
    PluginSchema {
        /// The plugin's id.
        plugin: String,
        /// What is wrong with it.
        message: String,
    },
    /// The checked values do not fit the types: the table of keys and the types disagree.
    #[error("the configuration does not fit")]
    Shape(#[source] serde_json::Error),
}

impl ConfigError {
    /// Its stable code; each has a page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "CONFIG_READ",
            Self::Syntax { .. } => "CONFIG_SYNTAX",
            Self::UnknownKey { .. } => "CONFIG_UNKNOWN_KEY",
            Self::WrongType { .. } | Self::Shape(_) => "CONFIG_WRONG_TYPE",
            Self::KnownSecret { .. } => "CONFIG_KNOWN_SECRET",
            Self::StatedTwice { .. } => "CONFIG_STATED_TWICE",
            Self::EnvironmentMoved { .. } => "CONFIG_ENVIRONMENT_MOVED",
            Self::Plugin { .. } => "CONFIG_PLUGIN",
            Self::PluginSchema { .. } => "CONFIG_PLUGIN_SCHEMA",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Read { .. } => "make the file readable for this user, or remove it".to_owned(),
            Self::UnknownKey {
                suggestion: Some(meant),
                ..
            } => format!("did you mean `{meant}`?"),
            Self::UnknownKey { .. } => "remove it; `nself config` lists every key".to_owned(),
            Self::KnownSecret { .. } => {
                "generate one (`openssl rand -hex 32`) and set it in .env.secrets".to_owned()
            }
            Self::StatedTwice { .. } => "keep one of the two".to_owned(),
            Self::EnvironmentMoved { file, .. } => format!("set ENV outside of {file}"),
            Self::PluginSchema { .. } => {
                "tell the plugin's author; the plugin cannot be configured".to_owned()
            }
            Self::Syntax { .. } | Self::WrongType { .. } | Self::Plugin { .. } | Self::Shape(_) => {
                "correct the value; docs/configuration.md describes each key".to_owned()
            }
        }
    }
}
