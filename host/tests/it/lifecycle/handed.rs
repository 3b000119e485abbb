//! A socket that outlives its host, as systemd holds one.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use super::caller::Caller;
use super::project::{PATIENCE, Project, until};

/// Whoever wants to hear how the host is.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn of(project: &Project) -> Self {
        let path = project.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    #[track_caller]
    fn hears(&self, word: &str) {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).unwrap();
        let said = String::from_utf8_lossy(&buffer[..length]);
        assert_eq!(said.trim_end(), word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_the_host_restarts_is_answered_by_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let project = Project::served_on(address).await;
    let manager = Manager::of(&project);
    let mut first = project
        .start_handed(listener.try_clone().unwrap(), &manager.path)
        .unwrap();
    manager.hears("READY=1");
    assert_eq!(first.address, address);
    let answer = first.caller().await.get("/livez").await;
    assert_eq!(answer.status, 200);
    project.nself(&["stop"]).done();
    manager.hears("STOPPING=1");
    assert!(first.ended().success());

    let mut early = Caller::connect(address).await.unwrap();
    let mut asked = tokio::spawn(async move { early.try_get("/livez").await });
    let waits = timeout(Duration::from_millis(200), &mut asked).await;
    waits.expect_err("nobody answers yet");
    let second = project
        .start_handed(listener.try_clone().unwrap(), &manager.path)
        .unwrap();
    manager.hears("READY=1");
    assert_eq!(asked.await.unwrap().unwrap().status, 200);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_on_another_address_is_named_and_one_of_another_kind_is_refused() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let project = Project::served_on(address).await;
    let manager = Manager::of(&project);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = other.local_addr().unwrap().to_string();
    let host = project.start_handed(other, &manager.path).unwrap();
    assert_eq!(host.address, address);
    until("the socket being named", || {
        host.logged(&["is not listened on", &elsewhere]) == 1
    });
    drop(host);

    let datagrams = UnixDatagram::unbound().unwrap();
    let refused = project.start_handed(datagrams, &manager.path).err();
    let refused = refused.expect("it is no TCP socket");
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(
        refused.stderr.contains("SOCKET_HANDED") || refused.stdout.contains("SOCKET_HANDED"),
        "{refused:?}"
    );
}
