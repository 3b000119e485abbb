//! Calls that say who makes them, to a server that asks for it; and what is kept of that, which is nothing.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::stage::{builder, definition, put, start, until};

/// What a request was: method and path, head, body.
type Asked = (String, String, String);

/// A server with a token endpoint, and with pages that want a proof.
struct Guarded {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Guarded {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, address, Arc::clone(&kept)));
            }
        });
        Self { address, asked }
    }

    /// Requests for a path so far.
    fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().expect("nobody panics");
        let those = asked.iter().filter(|(line, ..)| line.ends_with(path));
        those.cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut read = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4_096];
        let length = stream.read(&mut chunk).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        read.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = header(head, "content-length").and_then(|length| length.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let line = head.lines().next().unwrap_or_default();
    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
    let number = {
        let mut asked = asked.lock().expect("nobody panics");
        asked.push((line.clone(), head.clone(), body.clone()));
        let tokens = asked.iter().filter(|(line, ..)| line.starts_with("POST"));
        tokens.count()
    };
    let (status, more, answer) = answer(&line, &head, &body, number, address);
    let answer = answer.to_string();
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n{answer}",
        answer.len()
    );
    drop(stream.write_all(text.as_bytes()).await);
}

fn header(head: &str, wanted: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
    })
}

const CHALLENGE: &str =
    "www-authenticate: Digest realm=\"shop\", qop=\"auth\", algorithm=SHA-256, nonce=\"n0nce\"\r\n";

fn answer(
    line: &str,
    head: &str,
    body: &str,
    number: usize,
    address: SocketAddr,
) -> (u16, &'static str, Value) {
    let proof = header(head, "authorization").unwrap_or_default();
    let granted = json!({"access_token": format!("granted-0815-{number}"), "token_type": "Bearer", "expires_in": 3600});
    match line {
        "POST /oauth2/token" if body.contains("wrong") => {
            let told = json!({"error": "invalid_client", "error_description": "never-shown-4711"});
            (400, "", told)
        }
        "POST /oauth2/token" | "POST /oidc/token" => (200, "", granted),
        "GET /.well-known/openid-configuration" => {
            let endpoint = format!("http://{address}/oidc/token");
            (200, "", json!({"token_endpoint": endpoint}))
        }
        // The first token is taken back before its time.
        "GET /strict" if proof == "Bearer granted-0815-1" => (401, "", json!({})),
        "GET /open" | "GET /strict" if proof.starts_with("Bearer granted-0815-") => {
            (200, "", json!({"let": "in"}))
        }
        "GET /digest?a=1" if proof == digest(&proof) => (200, "", json!({"let": "in"})),
        "GET /digest?a=1" => (401, CHALLENGE, json!({})),
        _ => (401, "", json!({})),
    }
}

/// What the value of the header has to be, given what the client has added.
fn digest(value: &str) -> String {
    let hash = |text: String| {
        let bytes = Sha256::digest(text);
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let added = value.split("cnonce=\"").nth(1).unwrap_or_default();
    let added = added.split('"').next().unwrap_or_default();
    let who = hash("ann:shop:never-shown-4711".to_owned());
    let what = hash("GET:/digest?a=1".to_owned());
    let response = hash(format!("{who}:n0nce:00000001:{added}:auth:{what}"));
    format!(
        "Digest username=\"ann\", realm=\"shop\", nonce=\"n0nce\", uri=\"/digest?a=1\", algorithm=SHA-256, response=\"{response}\", \
         cnonce=\"{added}\", qop=auth, nc=00000001"
    )
}

async fn host(server: &Guarded) -> TestHost {
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        server.address
    );
    let secrets = json!({
        "shop": {"id": "nself", "secret": "never-shown-4711"},
        "wrong": {"id": "wrong", "secret": "never-shown-4711"},
    });
    let secrets = secrets.to_string();
    let host = builder()
        .config(&config)
        .secret("workflow-secrets", &secrets);
    host.start().await
}

/// Shared policies, and a task for each address and policy.
fn calls(server: &Guarded, tasks: &[(&str, &str)]) -> String {
    let address = server.address;
    let shared = format!(
        "use:\n  secrets: [shop, wrong]\n  authentications:\n    \
         granted:\n      oauth2:\n        authority: http://{address}\n        grant: client_credentials\n        client: {{id: '${{ $secrets.shop.id }}', secret: '${{ $secrets.shop.secret }}', authentication: client_secret_basic}}\n        scopes: [api]\n    \
         found:\n      oidc:\n        authority: http://{address}\n        grant: password\n        client: {{id: nself}}\n        username: ann\n        password: '${{ $secrets.shop.secret }}'\n    \
         digested:\n      digest: {{username: ann, password: '${{ $secrets.shop.secret }}'}}\n    \
         refused:\n      oauth2:\n        authority: http://{address}\n        grant: client_credentials\n        client: {{id: '${{ $secrets.wrong.id }}', secret: '${{ $secrets.wrong.secret }}'}}\n"
    );
    let task = |(number, (path, policy)): (usize, &(&str, &str))| {
        format!(
            "  - ask{number}:\n      call: http\n      with:\n        method: get\n        endpoint:\n          uri: http://{address}{path}\n          authentication: {{use: {policy}}}\n"
        )
    };
    let tasks: String = tasks.iter().enumerate().map(task).collect();
    definition("guarded", &shared, &tasks)
}

/// Neither secrets nor tokens are anywhere. Digits alone would be found in times and ids, too.
pub(crate) async fn assert_nothing_is_kept(host: &TestHost) {
    let sql = host.sql().await;
    for word in ["shown-4711", "granted-0815"] {
        for table in [
            "orchestrator.instances",
            "orchestrator.history",
            "orchestrator.outcomes",
            "orchestrator.needs",
            "jobs.jobs",
        ] {
            let kept = format!("select count(*) from {table} t where t::text like '%{word}%'");
            let kept: i64 = sql.query_one(&kept, &[]).await.expect("it is asked").get(0);
            assert_eq!(kept, 0, "{word} in {table}");
        }
        let state = format!(
            "select count(*) from orchestrator.instances i where position('{word}' in convert_from(i.state, 'UTF8')) > 0"
        );
        let state: i64 = sql
            .query_one(&state, &[])
            .await
            .expect("it is asked")
            .get(0);
        assert_eq!(state, 0, "{word}");
        assert!(!host.log().contains(word), "{word}");
    }
}

#[tokio::test]
async fn calls_prove_who_makes_them_and_a_token_serves_until_it_is_refused() {
    let server = Guarded::open().await;
    let host = host(&server).await;
    let tasks = [
        ("/open", "granted"),
        ("/open", "granted"),
        ("/strict", "granted"),
        ("/open", "found"),
        ("/digest?a=1", "digested"),
    ];
    put(&host, "guarded", &calls(&server, &tasks)).await;
    let ended = start(&host, "guarded", json!({}), 25).await;
    let ended = until(&host, &ended["id"], "completed").await;
    assert_eq!(ended["output"], json!({"let": "in"}), "{ended}");
    // One for the first two, another one after it was refused.
    let tokens = server.asked("/oauth2/token");
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    let (_, head, body) = &tokens[0];
    assert_eq!(body, "grant_type=client_credentials&scope=api");
    let proof = header(head, "authorization");
    assert_eq!(
        proof.as_deref(),
        Some("Basic bnNlbGY6bmV2ZXItc2hvd24tNDcxMQ==")
    );
    let (_, _, body) = &server.asked("/oidc/token")[0];
    assert_eq!(
        body,
        "grant_type=password&username=ann&password=never-shown-4711&scope=openid&client_id=nself"
    );
    assert_eq!(server.asked("/digest?a=1").len(), 2);
    assert_nothing_is_kept(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn a_grant_that_is_refused_ends_the_task_with_a_word_and_no_secret() {
    let server = Guarded::open().await;
    let host = host(&server).await;
    put(&host, "guarded", &calls(&server, &[("/open", "refused")])).await;
    let ended = start(&host, "guarded", json!({}), 25).await;
    let ended = until(&host, &ended["id"], "faulted").await;
    assert_eq!(ended["error"]["status"], 401, "{ended}");
    let detail = "no token was granted: 400 (invalid_client)";
    assert_eq!(ended["error"]["detail"], detail, "{ended}");
    assert_nothing_is_kept(&host).await;
    host.stop().await;
}
