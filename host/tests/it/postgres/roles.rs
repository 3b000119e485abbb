//! One login per plugin.
