//! From a file in the plugin directory to a loaded library: discover, check, open.
