//! Definitions: what is good, and what is wrong with the rest.
