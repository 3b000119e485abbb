//! The event log: emitted in a transaction, read by durable cursors.
