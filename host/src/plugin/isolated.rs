//! `isolation = "process"`: a plugin in a process of its own, the same file over the same boundary.
//!
//! The process is this program once more. It has one socket, to the host, and walls around everything else: no files but the
//! system's libraries, no network, no other programs. What the plugin asks of a capability is asked of the host, which checks it as
//! it does for a plugin in its own process; what the host asks of the plugin goes the other way. When the process ends, what it
//! was asked for fails, what it held is given up, and another one is started.
//!
//! ```text
//! host: Instance -> Isolated -> Remote<Instance> == link == Instance of the plugin's file   :child
//! host: Offer's capability   <- Object           == link == Remote<capability>  <- plugin   :child
//! ```

mod child;
mod context;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod instance;
mod link;
mod message;
mod offered;
mod process;
mod walls;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use self::child::{WORD, main};
pub use self::instance::{Isolated, Plan};

/// What a process is told before anything of the plugin runs in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Begin {
    /// The copy that the host has checked.
    file: PathBuf,
    /// The boundary that its manifest speaks.
    major: u32,
    needs: u32,
    /// Memory that it may write to.
    memory_bytes: u64,
    /// Whether it can tell the time by itself: then it does not ask for it.
    is_machines_clock: bool,
}

/// Number of the object that each side has from the start: the host's offer, and the file that can be made an instance of.
const ROOT: u64 = 0;
