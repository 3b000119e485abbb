//! Places that answer what a test wants: GitHub's ways, and issuers that do wrong on purpose.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A server on loopback that answers by a function.
pub(super) struct Fake {
    pub(super) root: String,
    /// Connections so far.
    calls: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// What a fake is asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    /// Header block and body, as they came.
    pub(super) text: String,
}

/// What a fake answers.
pub(super) struct Told {
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) fn told(body: &Value) -> Told {
    Told {
        head: "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n".to_owned(),
        body: body.to_string(),
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Fake {
    /// `answer` is told the fake's own address, the path and everything else.
    pub(super) async fn open(
        answer: impl Fn(&str, &Asked) -> Told + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let root = format!("http://{address}");
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, own, answer) = (Arc::clone(&calls), root.clone(), Arc::new(answer));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (own, answer) = (own.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    serve(stream, |asked| answer(&own, asked)).await;
                });
            }
        });
        Self {
            root,
            calls,
            accepting,
        }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: impl Fn(&Asked) -> Told) {
    let mut text = Vec::new();
    while !is_whole(&text) {
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(length) if length > 0 => text.extend_from_slice(&part[..length]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let Told { head, body } = answer(&Asked { path, text });
    let length = body.len();
    let whole = format!("{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = stream.write_all(whole.as_bytes()).await;
}

fn is_whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

/// A key of an issuer.
pub(super) struct Key {
    der: Vec<u8>,
    pub(super) jwk: Value,
}

impl Key {
    pub(super) fn new(kid: &str) -> Self {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let pair = rcgen::KeyPair::generate().expect("a key pair");
        let point = pair.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let text = |number| URL_SAFE_NO_PAD.encode(number);
        Self {
            der: pair.serialize_der(),
            jwk: json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": kid, "alg": "ES256"}),
        }
    }

    pub(super) fn sign(&self, kid: &str, claims: &Value) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some(kid.to_owned());
        let key = jsonwebtoken::EncodingKey::from_ec_der(&self.der);
        jsonwebtoken::encode(&header, claims, &key).expect("a token")
    }
}

/// An issuer that signs whatever a test wants: its discovery document can be changed, and so can its keys.
pub(super) struct Issuer {
    pub(super) fake: Fake,
    pub(super) keys: Arc<Mutex<Vec<Value>>>,
    pub(super) asked_for_keys: Arc<AtomicUsize>,
}

impl Issuer {
    pub(super) async fn open(
        keys: Vec<Value>,
        change: impl Fn(&str, &mut Value) + Send + Sync + 'static,
    ) -> Self {
        let keys = Arc::new(Mutex::new(keys));
        let asked_for_keys = Arc::new(AtomicUsize::new(0));
        let (published, counted) = (Arc::clone(&keys), Arc::clone(&asked_for_keys));
        let fake = Fake::open(move |root, asked| match &*asked.path {
            "/.well-known/openid-configuration" => {
                let mut document = json!({
                    "issuer": root, "authorization_endpoint": format!("{root}/auth"),
                    "token_endpoint": format!("{root}/token"), "jwks_uri": format!("{root}/jwks"),
                });
                change(root, &mut document);
                told(&document)
            }
            "/jwks" => {
                counted.fetch_add(1, Ordering::SeqCst);
                let keys = published.lock().expect("nobody panicked with it").clone();
                told(&json!({"keys": keys}))
            }
            _ => Told {
                head: "HTTP/1.1 404 Not Found\r\n".to_owned(),
                body: String::new(),
            },
        })
        .await;
        Self {
            fake,
            keys,
            asked_for_keys,
        }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.fake.root
    }
}
