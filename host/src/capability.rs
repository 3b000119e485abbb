//! What plugins receive from the host: one file per capability.
