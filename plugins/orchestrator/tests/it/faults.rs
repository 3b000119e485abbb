//! What may happen to hosts, to the database and to its clock while workflows run. Judged by a ledger that the calls write, by the
//! events that were emitted, by the children that were started, and by the histories.

mod clocks;
mod given_up;
pub(crate) mod kills;
mod replicas;
mod server;
mod sleepers;
