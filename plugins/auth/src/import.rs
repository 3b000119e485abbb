//! Accounts from elsewhere: exports of Supabase, Nhost, Firebase, or one's own, row by row.
//!
//! A row says who it is, whether the address was proved, and how the password was hashed there; the hash is checked as it is
//! at the first sign-in and replaced then. A row whose address has an account already changes nothing, so an import that
//! broke off is simply sent again.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod hash;
mod json;
mod lines;
mod records;
mod row;

pub(crate) use self::{
    records::{Format, Records},
    row::{Account, Read, Reader, Refusal},
};
