//! What ends or interrupts the reading of the log.

/// Why events are not delivered right now.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A subscriber's type is not a pattern.
    #[error(
        "`{pattern}` is not a pattern of event types: write a type such as `family.member_joined`, a prefix such as `family.*`, or `*`"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// Another replica has taken over, or could have: whatever was handled since the last acknowledgement comes again there.
    #[error("the lease of subscriber {subscriber} is lost")]
    LeaseLost {
        /// Whose lease.
        subscriber: String,
    },
    /// No connection to the database.
    #[error("cannot get a connection for events")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// The database failed.
    #[error("cannot read or write the event log")]
    Database(#[from] tokio_postgres::Error),
}
