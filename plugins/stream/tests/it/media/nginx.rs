//! A real nginx in front of a real file: it lets in whom the host lets in.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use nself_plugin_api::uuid::Uuid;
use nself_plugin_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::home::Home;

/// Where Debian has it: not where everybody looks.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// nginx, which ends with this.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends with it, because it is none: `master_process off`.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The words of plugins/stream/README.md, "A media origin", with the places of this test.
fn configuration(folder: &Path, listen: SocketAddr, host: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {listen};
        location /media/ {{
            auth_request /verify;
            root {folder};
        }}
        location = /verify {{
            internal;
            proxy_pass http://{host}/v1/stream/verify;
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_pass_request_headers off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Original-URI $request_uri;
        }}
    }}
}}
"#
    )
}

async fn start(folder: &Path, host: SocketAddr) -> (Nginx, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let listen = listener.local_addr().expect("it has an address");
    drop(listener);
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration(folder, listen, host)).expect("the folder can be written");
    let started = PROGRAMS.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-p").arg(folder).arg("-c").arg(&file);
        // Before the file is read, it would write where only root may.
        command.args(["-e", "stderr"]);
        command.stdin(Stdio::null()).spawn().ok()
    });
    let mut nginx = Nginx(started.expect("the tests need nginx: apt-get install nginx-light"));
    eventually("nginx listens", async || {
        let ended = nginx.0.try_wait().expect("it can be asked");
        assert!(ended.is_none(), "nginx has ended: {ended:?}");
        TcpStream::connect(listen).await.ok().map(drop)
    })
    .await;
    (nginx, listen)
}

/// The status and the body of an answer.
async fn get(nginx: SocketAddr, address: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(nginx).await.expect("nginx listens");
    let request = format!("GET {address} HTTP/1.1\r\nhost: media\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.expect("a status"), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_serves_a_file_to_those_whose_address_plays() {
    let home = Home::new().await;
    let folder = tempfile::tempdir().expect("there is room");
    let media = folder.path().join("media");
    let other = Uuid::now_v7();
    fs::create_dir_all(media.join(home.film.to_string())).expect("there is room");
    fs::create_dir_all(media.join(other.to_string())).expect("there is room");
    for id in [home.film, other] {
        let file = media.join(id.to_string()).join("film.txt");
        fs::write(file, format!("the film {id}")).expect("there is room");
    }
    let (_nginx, at) = start(folder.path(), home.host.address()).await;
    let player = home.play(&home.owner()).await;
    let (place, words) = player.address.split_once('?').expect("it is signed");
    let film = format!("{place}/film.txt?{words}");
    assert_eq!(
        get(at, &film).await,
        (200, format!("the film {}", home.film))
    );
    for (address, expected) in [
        (format!("{place}/film.txt"), 401),
        (format!("/media/{other}/film.txt?{words}"), 401),
        (format!("{place}/../{other}/film.txt?{words}"), 403),
        (format!("{place}/%2e%2e/{other}/film.txt?{words}"), 403),
        (film.replace("expires=", "expires=1"), 401),
    ] {
        assert_eq!(get(at, &address).await.0, expected, "{address}");
    }
    let _ = home.say(&player, "end", "idle").await.expect_status(204);
    assert_eq!(get(at, &film).await.0, 403);
    home.host.stop().await;
}
