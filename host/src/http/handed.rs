//! Sockets that the host is handed at its start: whoever started it listens already, and goes on while it is restarted, so that
//! nobody who comes meanwhile is refused (sd_listen_fds(3), which is systemd's and others').

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use listenfd::ListenFd;

/// What this process was handed.
static HANDED: OnceLock<Vec<Handed>> = OnceLock::new();

struct Handed {
    listener: TcpListener,
    address: SocketAddr,
    is_used: AtomicBool,
}

/// Takes over what the process was handed, so that programs that it starts are not. Called once, before anything else: it changes
/// the environment.
///
/// # Errors
///
/// When one of them is no TCP socket.
pub(crate) fn take_over() -> io::Result<()> {
    let mut given = ListenFd::from_env();
    let mut handed = Vec::new();
    for number in 0..given.len() {
        if let Some(listener) = given.take_tcp_listener(number)? {
            listener.set_nonblocking(true)?;
            handed.push(Handed {
                address: listener.local_addr()?,
                listener,
                is_used: AtomicBool::new(false),
            });
        }
    }
    // Who comes first has taken over.
    let _ = HANDED.set(handed);
    Ok(())
}

fn all() -> impl Iterator<Item = &'static Handed> {
    HANDED.get().into_iter().flatten()
}

/// A listener on this address, if one was handed over: the process keeps its own, as the port may be closed and opened again.
pub(super) fn listener(address: SocketAddr) -> Option<io::Result<TcpListener>> {
    let handed = all().find(|handed| handed.address == address)?;
    handed.is_used.store(true, Ordering::Relaxed);
    Some(handed.listener.try_clone())
}

/// Those that nobody has asked for: whoever comes there waits for ever.
pub(crate) fn unused() -> impl Iterator<Item = SocketAddr> {
    let unused = all().filter(|handed| !handed.is_used.load(Ordering::Relaxed));
    unused.map(|handed| handed.address)
}
