//! The port without TLS beside those that speak it.

use std::{net::SocketAddr, sync::Arc};

use super::RunError;
use crate::{
    config::Config,
    http::{Challenges, Redirect, Server, origin},
};

const SETTING: &str = "http.tls.redirect_port";

/// What the port answers, if there is to be one.
///
/// # Errors
///
/// When there is nothing to send callers on to.
pub(super) fn of(
    config: &Config,
    is_tls: bool,
    challenges: &Arc<Challenges>,
) -> Result<Option<Arc<Redirect>>, RunError> {
    if config.http.tls.redirect_port.is_none() {
        return Ok(None);
    }
    if !is_tls {
        return Err(RunError::Redirect(
            "no port speaks TLS: set http.tls.certificate and http.tls.key, or http.tls.acme.domains",
        ));
    }
    let url = config.http.public_url.as_deref();
    let origin = origin(url.unwrap_or_default());
    match origin {
        Ok(origin) if origin.starts_with("https://") => {
            Ok(Some(Redirect::new(origin, Arc::clone(challenges))))
        }
        Err(error) if url.is_some() => Err(error.into()),
        Ok(_) | Err(_) => Err(RunError::Redirect(
            "http.public_url does not say where callers are to be sent: set it to the host's address, such as https://home.example",
        )),
    }
}

/// Opens it.
///
/// # Errors
///
/// As for every port.
pub(super) async fn open(
    server: &Server,
    config: &Config,
    redirect: Option<Arc<Redirect>>,
) -> Result<(), RunError> {
    if let Some((redirect, port)) = redirect.zip(config.http.tls.redirect_port) {
        let address = SocketAddr::new(config.http.bind, port);
        server.listen_redirect(redirect, address, SETTING).await?;
    }
    Ok(())
}
