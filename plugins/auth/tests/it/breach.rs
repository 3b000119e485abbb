//! Passwords that have leaked elsewhere, asked for at a collection that does not learn them.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::stage::{PASSWORD, Stage};

/// SHA-1 of what leaked, in two parts.
const LEAKED: &str = "hunter2 and more";
const PREFIX: &str = "E6E02";
const REST: &str = "752ACAB13FDB18BD08D49D12F2FDB5CF1F6";

/// A collection on loopback; what it was asked.
async fn collection(status: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4_096];
            let length = stream.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            heard.lock().expect("nobody panicked").push(head);
            let body = format!("0018A45C4D1DEF81644B54AB7F969B88D65:3\r\n{REST}:7\r\n");
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            // A client that has gone learns nothing.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, asked)
}

async fn stage(port: u16) -> Stage {
    Stage::with(&format!(
        "[plugins.auth]\negress = [\"127.0.0.1:{port}\"]\n\
         [plugins.auth.config]\nsign_up = \"open\"\nbreach_check = true\nbreach_url = \"http://127.0.0.1:{port}\""
    ))
    .await
}

#[tokio::test]
async fn a_leaked_password_is_refused_wherever_one_is_set() {
    let (port, asked) = collection("200 OK").await;
    let stage = stage(port).await;
    let body = json!({"email": "eve@example.org", "password": LEAKED});
    let refused = stage.post("/auth/register", &body).await;
    assert_eq!((refused.status, &*refused.code()), (422, "PASSWORD_LEAKED"));
    let suggestions = refused.json()["details"]["suggestions"].clone();
    assert!(suggestions.as_array().is_some_and(|all| !all.is_empty()));
    let ada = stage.person("ada@example.org").await;
    let change = json!({"current_password": PASSWORD, "password": LEAKED});
    let refused = stage.post_as(&ada, "/auth/password/change", &change).await;
    assert_eq!(refused.code(), "PASSWORD_LEAKED");
    let made = stage
        .host
        .post("/auth/admin/users")
        .operator()
        .json(&body)
        .send()
        .await;
    assert_eq!(made.code(), "PASSWORD_LEAKED");
    let asked = asked.lock().expect("nobody panicked").clone();
    assert!(
        asked[0].starts_with(&format!("GET /range/{PREFIX} ")),
        "{}",
        asked[0]
    );
    let all = asked.join("").to_uppercase();
    assert!(
        !all.contains(REST) && !all.contains("HUNTER2"),
        "the rest is not sent"
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_collection_that_does_not_work_keeps_nobody_out() {
    let (broken, _) = collection("500 Internal Server Error").await;
    let unbound = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let closed = unbound.local_addr().expect("it is bound").port();
    drop(unbound);
    for port in [broken, closed] {
        let stage = stage(port).await;
        let body = json!({"email": "eve@example.org", "password": LEAKED});
        let _ = stage.post("/auth/register", &body).await.expect_status(201);
        stage.host.stop().await;
    }
}

#[tokio::test]
async fn nobody_is_asked_unless_that_is_wanted() {
    let (port, asked) = collection("200 OK").await;
    let stage = Stage::with(&format!(
        "[plugins.auth.config]\nsign_up = \"open\"\nbreach_url = \"http://127.0.0.1:{port}\""
    ))
    .await;
    let body = json!({"email": "eve@example.org", "password": LEAKED});
    let _ = stage.post("/auth/register", &body).await.expect_status(201);
    assert!(asked.lock().expect("nobody panicked").is_empty());
    stage.host.stop().await;
}
