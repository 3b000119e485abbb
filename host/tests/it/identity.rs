//! Who calls: real keys, real signatures, and everything that must not pass.

mod access;
mod issuer;
mod requests;
mod tokens;
