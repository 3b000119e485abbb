//! Postgres: the embedded cluster, pools and roles.
