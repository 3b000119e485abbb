//! What each task does.
