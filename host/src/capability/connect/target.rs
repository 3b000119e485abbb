//! The first gate: a host and a port, as a plugin names them.

use std::{net::SocketAddr, sync::Arc};

use nself_plugin_api::abi::capability::connect::tls;
use rustls::pki_types::ServerName;

use super::error::ConnectError;
use crate::capability::http::{destination::Host, list::EgressList};

/// Longest host that an error repeats.
const SHOWN_CHARS_MAX: usize = 255;

/// A server that has passed the gate.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
    /// Who the server has to prove to be.
    pub(super) name: ServerName<'static>,
    pub(super) is_tls: bool,
    /// Host and port, for errors.
    pub(super) origin: Arc<str>,
}

impl Target {
    pub(super) fn check(
        list: &EgressList,
        host: &str,
        port: u32,
        tls: u32,
    ) -> Result<Self, ConnectError> {
        let is_tls = match tls {
            tls::NONE => false,
            tls::FIRST => true,
            _ => {
                return Err(ConnectError::Request {
                    reason: "asks for a protection that this host does not know",
                });
            }
        };
        let refused = || ConnectError::NotGranted {
            host: shown(host),
            port,
        };
        let host = Host::parse(host).ok_or_else(refused)?;
        let port = u16::try_from(port).ok().filter(|port| *port != 0);
        let port = port.ok_or_else(refused)?;
        let (is_granted, name, origin) = match &host {
            Host::Address(address) => (
                list.grants_literal(*address, port),
                Some(ServerName::IpAddress((*address).into())),
                SocketAddr::new(*address, port).to_string(),
            ),
            Host::Name(name) => (
                list.grants_name(name, port),
                ServerName::try_from(name.clone()).ok(),
                format!("{name}:{port}"),
            ),
        };
        let name = name.filter(|_| is_granted).ok_or_else(refused)?;
        Ok(Self {
            host,
            port,
            name,
            is_tls,
            origin: origin.into(),
        })
    }
}

/// A host as errors may have it: what is none may be anything.
fn shown(host: &str) -> String {
    let visible = host.chars().filter(|char| !char.is_control());
    visible.take(SHOWN_CHARS_MAX).collect()
}
