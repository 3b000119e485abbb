//! `nself.listen/1`: ports that are granted, and streams over them.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use nself::{
    capability::listen::{ListenCapability, ListenOptions, Ports},
    plugin::manifest::Requires,
};
use nself_plugin_api::abi::{
    capability::listen::{Listen, Listener},
    error::Error,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{grant, patiently};

/// Any free port in place of the manifest's.
fn options() -> ListenOptions {
    let mut options = ListenOptions::new(Ipv4Addr::LOCALHOST.into(), "plugins.probe.ports");
    options.ports = [(2525, 0), (2526, 0)].into();
    options
}

fn listen(ports: &Arc<Ports>, granted: &[u16], options: ListenOptions) -> Listen {
    let grant = grant(Requires {
        ports: granted.to_vec(),
        ..Requires::default()
    });
    ListenCapability::new(grant, Arc::clone(ports), options).into_handle()
}

fn alone(granted: &[u16], options: ListenOptions) -> Listen {
    listen(&Arc::default(), granted, options)
}

async fn connect(listener: &Listener) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, u16::try_from(listener.port()).unwrap()))
        .await
        .unwrap()
}

#[track_caller]
fn assert_error<T>(outcome: Result<T, Error>, code: &str, reason: &str) {
    let error = outcome
        .err()
        .unwrap_or_else(|| panic!("{reason}: it worked"));
    assert_eq!(error.code.to_text(), code, "{}", error.cause.to_text());
    assert!(
        error.cause.to_text().contains(reason),
        "{:?} lacks {reason:?}",
        error.cause.to_text()
    );
}

#[tokio::test]
async fn bytes_go_both_ways_until_both_ends_are_shut() {
    let listener = alone(&[2525], options()).bind(2525).await.unwrap();
    let mut peer = connect(&listener).await;
    let connection = patiently(listener.accept()).await.unwrap();
    assert_eq!(
        connection.peer().to_text(),
        peer.local_addr().unwrap().to_string()
    );

    peer.write_all(b"EHLO there").await.unwrap();
    assert_eq!(
        patiently(connection.read(4)).await.unwrap().as_slice(),
        b"EHLO"
    );
    assert_eq!(
        patiently(connection.read(1024)).await.unwrap().as_slice(),
        b" there"
    );
    patiently(connection.write(b"250 ok".as_slice().into()))
        .await
        .unwrap();
    patiently(connection.shutdown()).await.unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "250 ok");
    peer.write_all(b"QUIT").await.unwrap();
    drop(peer);
    assert_eq!(
        patiently(connection.read(0)).await.unwrap().as_slice(),
        b"Q",
        "no bytes at all would look like the end"
    );
    assert_eq!(
        patiently(connection.read(u32::MAX))
            .await
            .unwrap()
            .as_slice(),
        b"UIT"
    );
    assert_eq!(patiently(connection.read(9)).await.unwrap().as_slice(), b"");
}

#[tokio::test]
async fn much_data_passes_in_both_directions_at_once() {
    const BYTES: usize = 8 * 1024 * 1024;
    let listener = alone(&[2525], options()).bind(2525).await.unwrap();
    let (mut peer_read, mut peer_write) = connect(&listener).await.into_split();
    let connection = patiently(listener.accept()).await.unwrap();
    let peer_sends = async {
        peer_write.write_all(&vec![7; BYTES]).await.unwrap();
        peer_write.shutdown().await.unwrap();
    };
    let peer_receives = async {
        let mut all = Vec::new();
        peer_read.read_to_end(&mut all).await.unwrap();
        all
    };
    let echo = async {
        loop {
            let chunk = connection.read(u32::MAX).await.unwrap();
            if chunk.as_slice().is_empty() {
                break connection.shutdown().await.unwrap();
            }
            connection.write(chunk).await.unwrap();
        }
    };
    let ((), received, ()) =
        patiently(async { tokio::join!(peer_sends, peer_receives, echo) }).await;
    assert!(received.len() == BYTES && received.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn only_granted_ports_are_bound() {
    let reason = "plugin probe has not been granted port 25";
    assert_error(
        alone(&[2525], options()).bind(25).await,
        "PORT_NOT_GRANTED",
        reason,
    );
    assert_error(
        alone(&[2525], options()).bind(2525 + 65_536).await,
        "PORT_NOT_GRANTED",
        "port 68061",
    );
    assert_error(
        alone(&[2525, 2526], options()).bind(0).await,
        "PORT_NOT_GRANTED",
        "it lists 2",
    );
    assert_error(
        alone(&[], options()).bind(0).await,
        "PORT_NOT_GRANTED",
        "it lists 0",
    );
    assert!(
        alone(&[2525], options()).bind(0).await.unwrap().port() > 0,
        "0 is the only one"
    );
}

#[tokio::test]
async fn a_taken_port_names_itself_and_the_setting() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = other.local_addr().unwrap().port();
    let options = ListenOptions {
        ports: [(2525, taken)].into(),
        ..options()
    };
    let listen = alone(&[2525], options);
    let reason = format!(
        "port {taken} at 127.0.0.1 is taken: stop what holds it, or give plugin probe another one with `2525 = <port>` under [plugins.probe.ports]"
    );
    assert_error(listen.bind(2525).await, "PORT_TAKEN", &reason);
    drop(other);
    assert_eq!(listen.bind(2525).await.unwrap().port(), u32::from(taken));
    let elsewhere = ListenOptions {
        address: Ipv4Addr::new(192, 0, 2, 1).into(),
        ..self::options()
    };
    assert_error(
        alone(&[2525], elsewhere).bind(2525).await,
        "PORT_FAILED",
        "cannot bind port 0 at 192.0.2.1",
    );
}

#[tokio::test]
async fn a_dropped_listener_frees_its_port() {
    let listen = alone(&[2525], options());
    let listener = listen.bind(2525).await.unwrap();
    let address = (Ipv4Addr::LOCALHOST, u16::try_from(listener.port()).unwrap());
    drop(listener);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn two_generations_share_the_socket_over_an_upgrade() {
    let ports = Arc::default();
    let old = listen(&ports, &[2525], options()).bind(2525).await.unwrap();
    let new = listen(&ports, &[2525], options()).bind(2525).await.unwrap();
    assert_eq!(old.port(), new.port());
    let _peer = connect(&old).await;
    drop(old);
    patiently(new.accept()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_connection_closes() {
    let listener = alone(&[2525], options()).bind(2525).await.unwrap();
    let mut peer = connect(&listener).await;
    drop(patiently(listener.accept()).await.unwrap());
    assert_eq!(patiently(peer.read(&mut [0; 8])).await.unwrap(), 0);
}

#[tokio::test]
async fn more_connections_than_the_limit_wait_their_turn() {
    let listener = alone(
        &[2525],
        ListenOptions {
            connections_max: 1,
            ..options()
        },
    )
    .bind(2525)
    .await
    .unwrap();
    let (_first, _second) = (connect(&listener).await, connect(&listener).await);
    let connection = patiently(listener.accept()).await.unwrap();
    let mut waiting = Box::pin(listener.accept());
    assert!((&mut waiting).now_or_never().is_none());
    drop(connection);
    patiently(waiting).await.unwrap();
}

#[tokio::test]
async fn a_silent_peer_does_not_keep_its_place_forever() {
    let options = ListenOptions {
        idle_max: Duration::from_millis(50),
        ..options()
    };
    let listener = alone(&[2525], options).bind(2525).await.unwrap();
    let peer = connect(&listener).await;
    let connection = patiently(listener.accept()).await.unwrap();
    assert_error(
        patiently(connection.read(1)).await,
        "CONNECTION_IDLE",
        "nothing moved for 50 ms",
    );
    // One that does not read: the buffers between the two fill up.
    let flood = async {
        loop {
            connection.write(vec![0; 1024 * 1024].into()).await?;
        }
    };
    let outcome: Result<(), Error> = patiently(flood).await;
    assert_error(outcome, "CONNECTION_IDLE", "nothing moved for 50 ms");
    drop(peer);
    assert_error(
        patiently(connection.write(vec![0; 1024].into())).await,
        "CONNECTION_BROKEN",
        "connection of 127.0.0.1",
    );
}
