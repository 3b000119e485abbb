//! HTTP: a file for each resource.

pub(crate) mod batches;
pub(crate) mod dead;
pub(crate) mod hasura;
pub(crate) mod jobs;
pub(crate) mod kinds;
pub(crate) mod leases;
pub(crate) mod limits;
pub(crate) mod live;
pub(crate) mod pull;
pub(crate) mod queues;
