//! `nself.config/1`: what a plugin is told about itself and its host, and the secrets that it was granted.

use std::{borrow::Cow, path::PathBuf, sync::Arc};

use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::config::ConfigProvider,
    error::{Error, Outcome},
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Grant,
    crypto::is_private_key,
    error::{denied, error},
};
use crate::config::secrets;

/// What the host says about itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of the host.
    pub host: String,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// Address under which clients reach the gateway.
    pub public_url: String,
    /// The project's directory, where relative paths of a plugin's configuration start.
    pub directory: PathBuf,
}

/// Looks a secret up by name; called at each use, so that a changed one is seen.
pub type SecretSource =
    Arc<dyn Fn(&str) -> Result<Option<Vec<u8>>, secrets::SecretError> + Send + Sync>;

#[derive(Serialize)]
struct About<'a> {
    host: &'a str,
    environment: &'a str,
    public_url: &'a str,
    directory: Cow<'a, str>,
    plugin: &'a str,
    version: &'a str,
}

/// `nself.config/1` of one plugin instance.
pub struct ConfigCapability {
    grant: Grant,
    about: bytes::Bytes,
    secrets: SecretSource,
}

impl ConfigCapability {
    /// Facts and secrets for the plugin that holds `grant`.
    pub fn new(grant: Grant, facts: &Facts, secrets: SecretSource) -> Self {
        let about = About {
            host: &facts.host,
            environment: &facts.environment,
            public_url: &facts.public_url,
            directory: facts.directory.to_string_lossy(),
            plugin: &grant.plugin,
            version: &grant.version,
        };
        let about = serde_json::to_vec(&about)
            .expect("an object of strings is JSON")
            .into();
        Self {
            grant,
            about,
            secrets,
        }
    }

    fn find(&self, name: &str) -> Result<Bytes, SecretError> {
        let (plugin, name) = (&*self.grant.plugin, name.to_owned());
        if !self.grant.requires.secrets.contains(&name) {
            return Err(SecretError::NotGranted { name });
        }
        let found = (self.secrets)(&name).map_err(SecretError::Unusable)?;
        let Some(found) = found else {
            let plugin = plugin.to_owned();
            return Err(SecretError::Missing { name, plugin });
        };
        if is_private_key(&found) {
            drop(Zeroizing::new(found));
            return Err(SecretError::PrivateKey { name });
        }
        Ok(Bytes::secret(found))
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error("the secret {name:?}")]
    NotGranted { name: String },
    #[error(
        "the secret {name:?}, which plugin {plugin} asks for, has no value: set it and restart the plugin"
    )]
    Missing { name: String, plugin: String },
    #[error("{}", .0.line())]
    Unusable(secrets::SecretError),
    #[error("the secret {name:?} is a private key: it signs in the host, and is not handed out")]
    PrivateKey { name: String },
}

impl SecretError {
    fn for_plugin(&self, plugin: &str) -> Error {
        match self {
            Self::NotGranted { .. } => denied("SECRET_NOT_GRANTED", plugin, self),
            Self::Missing { .. } => error(
                500,
                "SECRET_MISSING",
                "a secret of this plugin is not set",
                self,
            ),
            Self::Unusable(refusal) => error(
                500,
                refusal.code(),
                "a secret of this plugin cannot be used",
                self,
            ),
            Self::PrivateKey { .. } => error(
                500,
                "SECRET_NOT_READABLE",
                "this plugin asked for a secret that nobody reads",
                self,
            ),
        }
    }
}

impl ConfigProvider for ConfigCapability {
    fn about(&self) -> Bytes {
        self.about.clone().into()
    }

    fn secret(&self, name: Str<'_>) -> Outcome<Bytes> {
        self.find(name.as_str())
            .map_err(|error| error.for_plugin(&self.grant.plugin))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::abi::capability::config::Config;

    use super::*;
    use crate::plugin::manifest::Requires;

    fn config() -> Config {
        let requires = Requires {
            secrets: ["api_key", "unset", "key", "loose"]
                .map(str::to_owned)
                .to_vec(),
            ..Requires::default()
        };
        let grant = Grant {
            plugin: "mail".into(),
            version: "1.2.3".into(),
            requires: Arc::new(requires),
            destinations: Arc::default(),
        };
        let facts = Facts {
            host: "0.1.0".to_owned(),
            environment: "development".to_owned(),
            public_url: "http://127.0.0.1:3000".to_owned(),
            directory: "/srv/home".into(),
        };
        let source: SecretSource = Arc::new(|name| match name {
            "unset" => Ok(None),
            "key" => Ok(Some(b"-----BEGIN PRIVATE KEY-----\n".to_vec())),
            "loose" => Err(secrets::SecretError::Loose {
                path: "/run/secrets/loose".into(),
                mode: 0o644,
                wanted: 0o600,
            }),
            _ => Ok(Some(format!("value of {name}").into_bytes())),
        });
        Config::new(Arc::new(ConfigCapability::new(grant, &facts, source)))
    }

    #[track_caller]
    fn check_refused(name: &str, code: &str, cause: &str) {
        let error = config().secret(name.into()).into_result().expect_err(name);
        assert_eq!(
            (
                error.code.to_text().as_str(),
                error.cause.to_text().as_str()
            ),
            (code, cause)
        );
    }

    #[test]
    fn a_plugin_is_told_who_it_is() {
        let about: serde_json::Value =
            serde_json::from_slice(config().about().as_slice()).expect("JSON");
        assert_eq!(
            about,
            serde_json::json!({
                "host": "0.1.0", "environment": "development", "public_url": "http://127.0.0.1:3000",
                "directory": "/srv/home",
                "plugin": "mail", "version": "1.2.3",
            })
        );
    }

    #[test]
    fn a_granted_secret_is_handed_out() {
        let secret = config()
            .secret("api_key".into())
            .into_result()
            .expect("granted");
        assert_eq!(secret.as_slice(), b"value of api_key");
    }

    #[test]
    fn another_secret_is_not() {
        check_refused(
            "database_owner",
            "SECRET_NOT_GRANTED",
            "plugin mail has not been granted the secret \"database_owner\": add it to the manifest's requirements, then `nself plugin grant mail`",
        );
    }

    #[test]
    fn a_secret_without_a_value_is_named() {
        check_refused(
            "unset",
            "SECRET_MISSING",
            "the secret \"unset\", which plugin mail asks for, has no value: set it and restart the plugin",
        );
    }

    #[test]
    fn a_secret_that_others_can_read_is_not_taken_for_a_missing_one() {
        check_refused(
            "loose",
            "SECRET_PERMISSIONS",
            "/run/secrets/loose can be reached by others (mode 644): chmod 600 '/run/secrets/loose'",
        );
    }

    #[test]
    fn a_private_key_is_not_handed_out() {
        check_refused(
            "key",
            "SECRET_NOT_READABLE",
            "the secret \"key\" is a private key: it signs in the host, and is not handed out",
        );
    }
}
