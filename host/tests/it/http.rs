//! HTTP from outside: real sockets, handlers in the place of plugins.

mod conformance;
mod faults;
pub(crate) mod fixture;
mod limits;
mod proxy_protocol;
mod redirect;
mod routing;
mod shutdown;
mod surfaces;
mod tls;
