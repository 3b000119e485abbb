//! Archives of the project's database.

use crate::abi::{bytes::Bytes, interface::interface};

interface! {
    /// The host runs the database's own programs; what they write lies in the operator's folder of archives, which plugins cannot read.
    pub interface Dump: DumpProvider / DumpTable = "nself.dump/1" {
        /// Makes an archive and reads it back; then older ones of the same name go. `wanted` is JSON: `{"name": .., "keep": ..,
        /// "without_schemas": [..], "without_rows": [..]}`. Resolves with JSON: `{"file": .., "bytes": .., "sha256": .., "tables": ..,
        /// "removed": [..], "object": ..}`. `{"base_backup": {}}` asks for a base backup of the private cluster instead, and resolves
        /// with `{"id": .., "from": .., "bytes": .., "rows": ..}`.
        async fn make(wanted: Bytes) -> Bytes;
    }
}
