//! What plugin authors build against: the stable ABI and the safe API over it.

pub mod abi;
pub mod error;
#[doc(hidden)]
pub mod json;
pub mod schema;

pub use error::{Error, Result};
pub use nself_plugin_macros::Schema;
pub use schema::Schema;
