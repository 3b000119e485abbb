//! Who calls: token or key to principal, principal to verdict.
//!
//! The host verifies, it never issues: keys come from the configuration or from the plugin that signs
//! ([`Verifier::set_keys`]), and a token is worth exactly what its signature and claims say at this moment.

mod access;
mod api_key;
mod claims;
pub mod development;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod principal;
mod revocations;
mod ring;
mod verifier;

pub use access::{Gate, Verdict, check};
pub use api_key::{ApiKey, ApiKeyError, KEY_PREFIX, NewApiKey, key_digest};
pub(crate) use claims::EXP_MAX;
pub use principal::{Kind, Principal};
pub use ring::{KeyError, KeySet};
pub use verifier::{Clock, IdentityError, Receipt, Verifier, VerifierSettings};
