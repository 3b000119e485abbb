//! The second gate: every connection of a plugin's client is made here, to an address that has been checked.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::Service;

use super::{BoxError, Resolved, error::EgressError, list::EgressList};

/// Time for the TCP connection alone; a host that drops packets must not use up the whole exchange.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the first keep-alive probe, so that a dead peer does not stay in the pool.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Turns names into addresses.
pub trait Resolver: Send + Sync + 'static {
    /// Addresses of `name`, in the order of preference.
    fn resolve(&self, name: String) -> BoxFuture<'static, Resolved>;
}

/// Asks the system: `/etc/hosts`, then DNS, as `getaddrinfo` does.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: String) -> BoxFuture<'static, Resolved> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// Connects to what the list grants.
#[derive(Clone)]
pub(super) struct Guarded {
    list: Arc<EgressList>,
    resolver: Arc<dyn Resolver>,
}

impl Guarded {
    pub(super) fn new(list: Arc<EgressList>, resolver: Arc<dyn Resolver>) -> Self {
        Self { list, resolver }
    }
}

impl Service<Uri> for Guarded {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let guarded = self.clone();
        Box::pin(async move {
            let port = port(&uri);
            check(&guarded.list, uri.host().unwrap_or_default(), port)?;
            // One connector per connection: its resolver has to know the port, which hyper does not tell it.
            let mut connector = HttpConnector::new_with_resolver(Lookup { guarded, port });
            connector.enforce_http(false);
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
            connector.set_keepalive(Some(KEEPALIVE));
            Ok(connector.call(uri).await?)
        })
    }
}

/// The port that a connection for `uri` goes to.
pub(super) fn port(uri: &Uri) -> u16 {
    uri.port_u16()
        .unwrap_or(if uri.scheme() == Some(&http::uri::Scheme::HTTPS) {
            443
        } else {
            80
        })
}

/// Refuses a host that the list does not grant. `host` is as a URI has it: a name, or an address, IPv6 in brackets.
pub(super) fn check(list: &EgressList, host: &str, port: u16) -> Result<(), EgressError> {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    let granted = match address {
        Ok(address) => list.grants_literal(address, port),
        Err(_) => list.grants_name(host, port),
    };
    if granted {
        Ok(())
    } else {
        Err(EgressError::NotGranted {
            host: host.to_owned(),
            port,
        })
    }
}

/// Resolves once and leaves only what may be reached; hyper then connects to these addresses without asking again.
#[derive(Clone)]
struct Lookup {
    guarded: Guarded,
    port: u16,
}

impl Service<Name> for Lookup {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (Guarded { list, resolver }, port) = (self.guarded.clone(), self.port);
        Box::pin(async move {
            let found = resolver.resolve(name.as_str().to_owned()).await?;
            let (granted, refused): (Vec<_>, Vec<_>) = found
                .into_iter()
                .partition(|address| list.grants_resolved(name.as_str(), *address, port));
            match refused.first() {
                Some(&address) if granted.is_empty() => Err(EgressError::Private {
                    host: name.as_str().to_owned(),
                    address,
                }
                .into()),
                _ => Ok(granted
                    .into_iter()
                    .map(|address| SocketAddr::new(address, port))
                    .collect::<Vec<_>>()
                    .into_iter()),
            }
        })
    }
}
