//! Migrations: planned, locked, applied one transaction each, recorded.
