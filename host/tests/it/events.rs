//! See the module's tests below.
