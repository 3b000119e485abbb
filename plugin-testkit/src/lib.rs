//! Placeholder until the boundary is written.
