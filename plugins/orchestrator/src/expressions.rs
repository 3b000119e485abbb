//! Runtime expressions: jq, with limits on steps and sizes.
