//! What a plugin is told when Postgres refuses or is away.

use deadpool_postgres::PoolError;
use nself_plugin_api::abi::error::Error;
use serde_json::json;
use tokio_postgres::error::SqlState;

use crate::capability::error::{error, unavailable};

/// A statement's failure. What Postgres says goes into the cause as JSON, where the plugin finds SQLSTATE and
/// constraint; not the detail, for it repeats values of the row.
pub(super) fn statement(failure: &tokio_postgres::Error) -> Error {
    let Some(db) = failure.as_db_error() else {
        // The socket broke, which the driver tells by its cause.
        let broken = std::error::Error::source(failure)
            .is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        return if failure.is_closed() || broken {
            away(failure)
        } else {
            error(
                500,
                "DATABASE_ERROR",
                "the database did not take the statement",
                failure,
            )
        };
    };
    let cause = json!({
        "sqlstate": db.code().code(), "message": db.message(),
        "constraint": db.constraint(), "schema": db.schema(), "table": db.table(), "column": db.column(),
    });
    match *db.code() {
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
            away(&cause)
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            unavailable("DATABASE_BUSY", "the database is busy", 1_000, cause)
        }
        SqlState::DISK_FULL => unavailable(
            "DATABASE_FULL",
            "the database has no room left",
            10_000,
            cause,
        ),
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => unavailable(
            "DATABASE_CONFLICT",
            "another request was faster, try again",
            100,
            cause,
        ),
        // Texts of Rust are UTF-8, so it is a NUL that a caller has sent: their fault.
        SqlState::CHARACTER_NOT_IN_REPERTOIRE | SqlState::UNTRANSLATABLE_CHARACTER => error(
            422,
            "TEXT_INVALID",
            "a text has a character in it that cannot be stored, such as NUL",
            cause,
        ),
        SqlState::QUERY_CANCELED => {
            error(504, "DATABASE_TIMEOUT", "the database took too long", cause)
        }
        _ => error(
            500,
            "DATABASE_ERROR",
            "the database refused the statement",
            cause,
        ),
    }
}

/// No connection was to be had.
pub(super) fn pool(failure: &PoolError) -> Error {
    let is_full = match failure {
        PoolError::Backend(backend) => backend.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
        PoolError::Timeout(_) => true,
        _ => false,
    };
    if is_full {
        unavailable("DATABASE_BUSY", "the database is busy", 1_000, failure)
    } else {
        // Whatever a server says that lets nobody in: for who asks, it is not there.
        away(failure)
    }
}

/// The database cannot be reached.
pub(super) fn away(cause: impl std::fmt::Display) -> Error {
    unavailable(
        "DATABASE_UNAVAILABLE",
        "the database cannot be reached",
        1_000,
        cause,
    )
}
