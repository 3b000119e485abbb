//! What an engine is asked, seen by a server that writes it down, and what tokens it is told to trust.

use std::sync::{Arc, Mutex};

use nself::hasura::{diff, jwt, remote::Engine, tables};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{built, catalog};

/// One request as it came.
#[derive(Debug, Clone)]
struct Seen {
    /// Method and path.
    line: String,
    headers: String,
    body: Value,
}

/// Answers every request with what `answer` makes of it.
struct Recorder {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// Status, further headers, body.
type Answer = (u16, &'static str, Value);

impl Recorder {
    async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                tokio::spawn(async move {
                    if let Some((seen, mut socket)) = receive(socket).await {
                        let (status, more, body) = answer(&seen);
                        kept.lock().unwrap().push(seen);
                        let body = body.to_string();
                        let head = format!(
                            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
                            body.len()
                        );
                        let _ = socket.write_all((head + &body).as_bytes()).await;
                    }
                });
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn receive(mut socket: TcpStream) -> Option<(Seen, TcpStream)> {
    let mut bytes = vec![];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower.split("content-length: ").nth(1).map_or(0, |rest| {
                rest.split("\r\n")
                    .next()
                    .unwrap_or("0")
                    .parse()
                    .unwrap_or(0)
            });
            if body.len() >= length {
                let (line, headers) = lower.split_once("\r\n").unwrap_or((&lower, ""));
                let seen = Seen {
                    line: line.to_owned(),
                    headers: headers.to_owned(),
                    body: serde_json::from_str(body).unwrap_or_default(),
                };
                return Some((seen, socket));
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

#[tokio::test]
async fn apply_replaces_the_metadata_with_the_whole_document() {
    let document = built(&catalog().await);
    let hasura = Recorder::start(|_| {
        (
            200,
            "",
            json!({"is_consistent": true, "inconsistent_objects": []}),
        )
    })
    .await;
    let engine = Engine::new(&format!("{}/", hasura.url), Some("top-secret")).unwrap();
    engine.replace(&document).await.unwrap();
    let [seen] = hasura.seen().try_into().expect("one request");
    assert!(seen.line.starts_with("post /v1/metadata "), "{}", seen.line);
    assert!(
        seen.headers.contains("x-hasura-admin-secret: top-secret"),
        "{}",
        seen.headers
    );
    assert_eq!(seen.body["type"], "replace_metadata");
    assert_eq!(seen.body["version"], 2);
    let args = &seen.body["args"];
    assert_eq!(args["allow_inconsistent_metadata"], false);
    assert_eq!(args["metadata"]["version"], 3);
    assert_eq!(
        diff::lines(&document, &args["metadata"]),
        Vec::<String>::new()
    );
    assert!(tables(&args["metadata"]).len() > 40);
    // Whole, and not as its two halves on disk.
    let metadata = &args["metadata"];
    let actions = metadata["actions"].as_array().unwrap();
    let invite = actions
        .iter()
        .find(|one| one["name"] == "auth_invite")
        .unwrap();
    assert_eq!(
        invite["definition"]["arguments"][0],
        json!({"name": "id", "type": "uuid!"})
    );
    assert_eq!(invite["definition"]["output_type"], "AuthInviteOutput!");
    assert_eq!(invite["definition"]["forward_client_headers"], true);
    assert_eq!(
        invite["definition"]["request_transform"]["url"],
        "{{$base_url}}/auth/families/{{escapeUri($body.input.id)}}/invitations"
    );
    let objects = metadata["custom_types"]["objects"].as_array().unwrap();
    assert!(objects.iter().any(|one| one["name"] == "AuthInviteOutput"));
    let search = &metadata["sources"][0]["functions"][0];
    assert_eq!(
        search["configuration"]["session_argument"],
        "hasura_session"
    );
}

#[tokio::test]
async fn what_hasura_finds_wrong_is_told_and_the_secret_is_not() {
    let hasura = Recorder::start(|_| {
        (400, "", json!({
            "error": "cannot continue due to inconsistent metadata", "path": "$.args", "code": "unexpected",
            "internal": [{"name": "posts", "reason": "no such table"}],
        }))
    })
    .await;
    let engine = Engine::new(&hasura.url, Some("top-secret")).unwrap();
    let refusal = engine.replace(&json!({})).await.unwrap_err().to_string();
    for part in [
        "400",
        "inconsistent metadata",
        "$.args",
        "posts: no such table",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert!(!refusal.contains("top-secret"), "{refusal}");
}

#[tokio::test]
async fn a_hasura_that_is_not_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let refusal = Engine::new(&url, None)
        .unwrap()
        .export()
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("cannot be reached"), "{refusal}");
    let refusal = Engine::new("no address", None)
        .unwrap()
        .export()
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("is no address"), "{refusal}");
}

#[tokio::test]
async fn what_hasura_has_is_compared_with_what_is_written() {
    let document = built(&catalog().await);
    let mut has = document.clone();
    has["sources"][0]["tables"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    // Hasura leaves out what is empty.
    has.as_object_mut().unwrap().remove("cron_triggers");
    let hasura =
        Recorder::start(move |_| (200, "", json!({"resource_version": 7, "metadata": has}))).await;
    let exported = Engine::new(&hasura.url, None)
        .unwrap()
        .export()
        .await
        .unwrap();
    let [line] = diff::lines(&document, &exported)
        .try_into()
        .expect("one table");
    assert!(line.starts_with("- /sources/default/tables/"), "{line}");
    assert_eq!(hasura.seen()[0].body["type"], "export_metadata");
}

#[tokio::test]
async fn the_jwt_secret_follows_from_what_the_issuer_publishes() {
    const AGE: &str = "cache-control: public, max-age=300\r\n";
    let issuer = Recorder::start(|seen| {
        if seen.line.contains("/.well-known/jwks.json") {
            return (200, AGE, json!({"keys": [{"kid": "1", "alg": "ES256", "use": "sig", "kty": "EC"}]}));
        }
        (200, AGE, json!({"issuer": "https://home.example", "jwks_uri": "https://home.example/.well-known/jwks.json"}))
    })
    .await;
    let secret = jwt::secret(&issuer.url, None).await.unwrap();
    assert_eq!(
        secret["jwk_url"],
        "https://home.example/.well-known/jwks.json"
    );
    assert_eq!(secret["issuer"], "https://home.example");
    assert_eq!(secret["audience"], "hasura");
    let inside = jwt::secret(&issuer.url, Some("http://nself:3001/.well-known/jwks.json"))
        .await
        .unwrap();
    assert_eq!(inside["jwk_url"], "http://nself:3001/.well-known/jwks.json");
    assert!(secret.get("key").is_none(), "never both");
}
