//! The PROXY protocol (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>): a balancer that speaks no HTTP says in front of
//! everything else, TLS included, who calls.
//!
//! Who is trusted has to say it: the document forbids to guess, and a balancer that has lost its setting would otherwise make all callers one. Who
//! is not must not, and is a caller as any other without it. A header has to be whole within the time for a request's head.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod header;
mod refusal;

use std::{io, net::SocketAddr};

use tokio::sync::watch;

pub(super) use self::refusal::Refusals;
use self::{
    header::{BYTES_MAX, Extent, Header},
    refusal::Refusal,
};
use super::{Settings, connection::Phase, timed::Timed};

/// Who calls, as far as the host can believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// The caller's address; the socket's own where the proxy speaks for itself or does not know.
    pub(super) peer: SocketAddr,
    /// Whether the caller came to the proxy by TLS.
    pub(super) is_tls: bool,
}

/// Takes what comes before everything else; nothing when no conversation comes of it. A connection that has said nothing when listeners drain
/// has asked for nothing and is let go.
pub(super) async fn receive(
    timed: &mut Timed,
    peer: SocketAddr,
    settings: &Settings,
    refusals: &Refusals,
    mut phase: watch::Receiver<Phase>,
) -> Option<Told> {
    let told = tokio::select! {
        biased;
        told = read(timed, peer, settings.trusts(peer.ip())) => told,
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return None,
    };
    told.map_err(|refusal| refusals.tell(peer, &refusal)).ok()
}

async fn read(timed: &mut Timed, peer: SocketAddr, is_trusted: bool) -> Result<Told, Refusal> {
    let mut window = vec![0; BYTES_MAX];
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let count = timed.peek(&mut window).await?;
        bytes.extend_from_slice(&window[..count]);
        if !is_trusted {
            // Whoever sends it in pieces is not understood as one who speaks HTTP or TLS either.
            return if header::begins(&bytes) {
                Err(Refusal::Stranger)
            } else {
                Ok(Told {
                    peer,
                    is_tls: false,
                })
            };
        }
        match header::extent(&bytes)? {
            Extent::Bytes(length) => {
                timed.discard(length - before).await?;
                let header = Header::parse(&bytes[..length])?;
                return Ok(Told {
                    peer: header.source.unwrap_or(peer),
                    is_tls: header.is_tls,
                });
            }
            // All of it is the header's, and it goes on.
            Extent::More if count > 0 => timed.discard(count).await?,
            Extent::More => return Err(Refusal::Gone(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}
