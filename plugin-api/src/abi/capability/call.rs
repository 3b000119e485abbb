//! Calls of capabilities that another plugin provides.

use crate::abi::{
    bytes::{Bytes, Str},
    error::Outcome,
    interface::interface,
};

interface! {
    /// Calls by capability id (`mail.send/1`) and method name; payloads are JSON or bytes, as the capability says.
    pub interface Call: CallProvider / CallTable = "nself.call/1" {
        /// Calls `method` of `capability` and returns its answer.
        async fn call(capability: Str<'_>, method: Str<'_>, payload: Bytes) -> Bytes;
        /// 1 when an enabled plugin provides `capability`, whether it can be called at this moment or not; else 0. Since 1.2.
        sync fn is_provided(capability: Str<'_>) -> Outcome<u32>;
    }
}
