//! What may happen to hosts, connections and the database while there is work. Each test is judged by the ledger, a table that
//! only the handlers write: which attempt at which job began and ended where.

mod backlog;
mod clocks;
mod cuts;
mod kills;
mod ledger;
mod poison;
mod producers;
mod server;
mod shutdown;
mod slow_disk;
mod stale;
mod three_hosts;
