//! What the host's policy says about actions.

use crate::abi::{bytes::Str, error::Outcome, interface::interface};

interface! {
    /// Who may do what in a family, as routes and GraphQL have it.
    pub interface Policy: PolicyProvider / PolicyTable = "nself.policy/1" {
        /// The roles that may do this: bit 0 for the role with the number 1 at the boundary, and so on. An error for an
        /// action that the policy does not have.
        sync fn roles(action: Str<'_>) -> Outcome<u32>;
    }
}
