//! Whose signatures count here: the keys that the configuration lists, and the one that this machine has made for itself.

use std::{fs, io, path::PathBuf};

use tracing::warn;

use crate::{
    config::{Config, Environment, SignaturePolicy},
    loader::{OWN_NAME, Policy, Trust, TrustedKey},
    minisign::PublicKey,
};

/// The files of the machine's own key, which signs what is built or vouched for here. Who can write into the state directory
/// can put anything into the store beside them, so it is trusted without being listed.
pub fn own_key(config: &Config) -> (PathBuf, PathBuf) {
    let state = config.state_directory();
    (state.join("signing.key"), state.join("signing.pub"))
}

/// A key of the configuration's list: the key, and after a space what its holder is called.
///
/// # Errors
///
/// When it does not begin with a public key.
pub fn listed(entry: &str) -> Result<TrustedKey, crate::minisign::PublicKeyError> {
    let (key, name) = entry.split_once(' ').unwrap_or((entry, ""));
    let name = name.trim().to_owned();
    Ok(TrustedKey {
        key: key.parse()?,
        name,
        own: false,
    })
}

/// Everything that is trusted in a project.
pub fn of(config: &Config) -> Trust {
    let by_default = match config.environment {
        Environment::Development => SignaturePolicy::Off,
        Environment::Staging | Environment::Production => SignaturePolicy::Warn,
    };
    let policy = match config.plugins.signatures.unwrap_or(by_default) {
        SignaturePolicy::Off => Policy::Off,
        SignaturePolicy::Warn => Policy::Warn,
        SignaturePolicy::Require => Policy::Require,
    };
    // Read when the configuration is: what is no key does not come this far.
    let entries = config.plugins.trust.iter();
    let mut keys: Vec<TrustedKey> = entries.filter_map(|entry| listed(entry).ok()).collect();
    keys.extend(own(config).map(|key| TrustedKey {
        key,
        name: OWN_NAME.to_owned(),
        own: true,
    }));
    Trust { policy, keys }
}

/// The public half of the machine's own key, once it has one.
fn own(config: &Config) -> Option<PublicKey> {
    let (_, path) = own_key(config);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(%error, "cannot read the machine's own signing key");
            return None;
        }
    };
    let key = text.parse();
    if key.is_err() {
        warn!("{} is no public key: remove it", path.display());
    }
    key.ok()
}
