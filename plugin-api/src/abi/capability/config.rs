//! What the plugin is told about itself, and its secrets.

use crate::abi::{
    bytes::{Bytes, Str},
    error::Outcome,
    interface::interface,
};

interface! {
    /// Facts and secrets.
    pub interface Config: ConfigProvider / ConfigTable = "nself.config/1" {
        /// JSON: `{"host": version, "environment": .., "public_url": .., "directory": the project's, "plugin": id, "version": ..}`.
        sync fn about() -> Bytes;
        /// The secret of that name; an error when the manifest does not ask for it.
        sync fn secret(name: Str<'_>) -> Outcome<Bytes>;
    }
}
