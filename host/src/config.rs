//! Configuration: the cascade, its validation, and where each value came from.
