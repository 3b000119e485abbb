//! What the tests have in common: a host with the plugin, clients that speak the protocol frame by frame, families in the
//! database, and ways to publish.

use std::{collections::VecDeque, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually, within};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};
use tokio_postgres::Client as Sql;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Bytes that the kernel keeps of what a client has not read, where it is to be little.
const NARROW: u32 = 64 << 10;

/// A host with the plugin.
pub(crate) fn builder() -> TestHostBuilder {
    TestHost::builder().plugin("nself-plugin-stream")
}

pub(crate) async fn host() -> TestHost {
    builder().start().await
}

/// A connection, which answers pings and keeps what it is told until somebody asks.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    next_id: u32,
    lines: VecDeque<Value>,
    pushes: VecDeque<Value>,
}

/// The end of a connection.
pub(crate) type End = (u16, String);

impl Client {
    /// Opens a connection that has not said whose it is.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the host listens");
        Self::over(address, stream).await
    }

    /// The same over a connection that is there.
    async fn over(address: SocketAddr, stream: TcpStream) -> Self {
        let url = format!("ws://{address}/connection/websocket");
        let opened = within("the handshake", client_async(url, stream)).await;
        let (socket, _) = opened.expect("a WebSocket opens");
        Self {
            socket,
            next_id: 1,
            lines: VecDeque::new(),
            pushes: VecDeque::new(),
        }
    }

    /// Opens a connection and says whose it is.
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> Self {
        Self::open(address).await.begin(token).await
    }

    /// The same of one for which the kernel keeps little that it has not read.
    pub(crate) async fn connect_narrow(address: SocketAddr, token: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        let narrowed = socket.set_recv_buffer_size(NARROW);
        narrowed.expect("a socket has a size");
        let stream = socket.connect(address).await.expect("the host listens");
        Self::over(address, stream).await.begin(token).await
    }

    async fn begin(self, token: &str) -> Self {
        let mut client = self;
        let connected = client.ask("connect", json!({"token": token})).await;
        assert!(connected["connect"]["client"].is_string(), "{connected}");
        client
    }

    /// The bytes that come, for who has nothing to say any more and has been sent nothing yet.
    pub(crate) fn into_bytes(self) -> TcpStream {
        self.socket.into_inner()
    }

    /// Sends a text as it is.
    pub(crate) async fn say(&mut self, text: &str) {
        let sent = self.socket.send(Message::text(text)).await;
        sent.expect("it can be sent");
    }

    /// Sends bytes that are not a frame by anybody's making but the test's. Who is closed meanwhile need not take them.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.try_raw(bytes).await;
    }

    /// The same; false when it is closed.
    pub(crate) async fn try_raw(&mut self, bytes: &[u8]) -> bool {
        self.socket.get_mut().write_all(bytes).await.is_ok()
    }

    /// Sends a command; its id.
    pub(crate) async fn command(&mut self, method: &str, request: Value) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.say(&json!({"id": id, method: request}).to_string())
            .await;
        id
    }

    /// Sends a command, and waits for its answer.
    pub(crate) async fn ask(&mut self, method: &str, request: Value) -> Value {
        let id = self.command(method, request).await;
        self.answer(id).await
    }

    /// The answer to a command; pushes before it are kept.
    pub(crate) async fn answer(&mut self, id: u32) -> Value {
        loop {
            let line = self.line().await;
            let line = line.unwrap_or_else(|end| panic!("answer {id}: closed with {end:?}"));
            if line["id"] == id {
                return line;
            }
            assert!(line["push"].is_object(), "{line} before the answer {id}");
            self.pushes.push_back(line["push"].clone());
        }
    }

    /// Subscribes, which must succeed; the result.
    pub(crate) async fn subscribe(&mut self, channel: &str) -> Value {
        self.subscribe_with(json!({"channel": channel})).await
    }

    pub(crate) async fn subscribe_with(&mut self, request: Value) -> Value {
        let answer = self.ask("subscribe", request).await;
        assert!(answer["subscribe"].is_object(), "{answer}");
        answer["subscribe"].clone()
    }

    /// The next push.
    pub(crate) async fn push(&mut self) -> Value {
        if let Some(push) = self.pushes.pop_front() {
            return push;
        }
        let line = self.line().await;
        let line = line.unwrap_or_else(|end| panic!("a push: closed with {end:?}"));
        assert!(line["push"].is_object(), "{line} where a push was expected");
        line["push"].clone()
    }

    /// The next publication.
    pub(crate) async fn publication(&mut self) -> Value {
        let push = self.push().await;
        assert!(push["pub"].is_object(), "{push}");
        push["pub"].clone()
    }

    /// The next publication, or the end of the connection.
    pub(crate) async fn publication_or_end(&mut self) -> Result<Value, End> {
        let push = match self.pushes.pop_front() {
            Some(push) => push,
            None => self.line().await?["push"].take(),
        };
        assert!(push["pub"].is_object(), "{push}");
        Ok(push["pub"].clone())
    }

    /// The code of the error that a command is answered with.
    pub(crate) async fn refusal(&mut self, method: &str, request: Value) -> Value {
        let answer = self.ask(method, request).await;
        answer["error"]["code"].clone()
    }

    /// Waits for the end of the connection.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            match self.line().await {
                Ok(line) => self.pushes.push_back(line["push"].clone()),
                Err(end) => return end,
            }
        }
    }

    /// What the next frame says that is no ping, line by line.
    pub(crate) async fn next_frame(&mut self) -> Vec<Value> {
        loop {
            let text = within("a frame", self.frame()).await;
            let text = text.expect("the connection goes on").unwrap_or_default();
            if text == "{}" {
                self.say("{}").await;
            } else if !text.is_empty() {
                let lines = text
                    .lines()
                    .map(|line| line.parse::<Value>().expect("JSON"));
                return lines.collect();
            }
        }
    }

    /// Waits for a ping, and answers it.
    pub(crate) async fn ping(&mut self) {
        self.frame_of_pings().await.expect("the connection goes on");
        self.say("{}").await;
    }

    /// Waits for the end, and answers no ping before.
    pub(crate) async fn end_without_pong(&mut self) -> End {
        loop {
            if let Err(end) = self.frame_of_pings().await {
                return end;
            }
        }
    }

    async fn frame_of_pings(&mut self) -> Result<(), End> {
        if let Some(text) = within("a ping", self.frame()).await? {
            assert_eq!(text, "{}");
        }
        Ok(())
    }

    /// Whether a command is answered and not the end.
    pub(crate) async fn is_answered(&mut self, id: u32) -> bool {
        self.line().await.is_ok_and(|line| line["id"] == id)
    }

    /// Whether the answer to a connect lets it in.
    pub(crate) async fn is_connected(&mut self, id: u32) -> bool {
        let line = self.line().await;
        line.is_ok_and(|line| line["id"] == id && line["connect"].is_object())
    }

    /// Waits for the end; all that it was told until then and nobody has asked for.
    pub(crate) async fn rest(mut self) -> VecDeque<Value> {
        self.end().await;
        self.pushes
    }

    /// What it was told and nobody has asked for.
    pub(crate) fn rest_now(&self) -> &VecDeque<Value> {
        &self.pushes
    }

    /// Closes it, and waits until the host has taken that.
    pub(crate) async fn close(mut self) {
        // Who is closed already cannot close.
        let _ = self.socket.close(None).await;
        self.end().await;
    }

    /// The answer to a command, or the end of the connection.
    pub(crate) async fn answer_or_end(&mut self, id: u32) -> Result<Value, End> {
        let line = self.line().await?;
        assert_eq!(line["id"], id, "{line}");
        Ok(line)
    }

    /// The next line that is no ping. The error is the end.
    async fn line(&mut self) -> Result<Value, End> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                if line == json!({}) {
                    self.say("{}").await;
                    continue;
                }
                return Ok(line);
            }
            if let Some(text) = within("a frame", self.frame()).await? {
                let lines = text
                    .lines()
                    .map(|line| line.parse::<Value>().expect("JSON"));
                self.lines.extend(lines);
            }
        }
    }

    /// The text of the next frame, if it has one.
    async fn frame(&mut self) -> Result<Option<String>, End> {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => Ok(Some(text.to_string())),
            Some(Ok(Message::Close(frame))) => Err(frame.map_or((1005, String::new()), |frame| {
                (frame.code.into(), frame.reason.to_string())
            })),
            Some(Ok(_)) => Ok(None),
            Some(Err(error)) => Err((1006, error.to_string())),
            None => Err((1006, "the stream has ended".to_owned())),
        }
    }
}

/// Publishes by SQL, in a transaction of its own.
pub(crate) async fn publish(sql: &Sql, channel: &str, data: Value) {
    let published = sql
        .execute("select stream.publish($1, $2)", &[&channel, &data])
        .await;
    published.unwrap_or_else(|error| panic!("{channel}: {error:?}"));
}

/// What a query counts.
pub(crate) async fn count(sql: &Sql, query: &str) -> i64 {
    let row = sql.query_one(query, &[]).await;
    row.unwrap_or_else(|error| panic!("{query}: {error:?}"))
        .get(0)
}

/// Waits until that query counts so many.
pub(crate) async fn until_count(sql: &Sql, query: &str, wanted: i64) {
    eventually(&format!("{query} counts {wanted}"), async || {
        (count(sql, query).await == wanted).then_some(())
    })
    .await;
}

/// Waits until nobody is subscribed to anything. Whoever comes back before that is given what this host has delivered, and what follows
/// by and by; afterwards the log is asked.
pub(crate) async fn until_nobody_listens(host: &TestHost) {
    eventually("nobody is subscribed to anything", async || {
        let all = call(host, "channels", json!({})).await;
        (all["result"]["channels"] == json!({})).then_some(())
    })
    .await;
}

/// A family with a member of that role, who is not its owner: family, person and membership.
pub(crate) async fn family(sql: &Sql, role: Role) -> (Uuid, Uuid, Uuid) {
    let person = async |name: &str| -> Uuid {
        let make = "insert into public.users (display_name) values ($1) returning id";
        sql.query_one(make, &[&name])
            .await
            .expect("a person")
            .get(0)
    };
    let (owner, member) = (person("Owner").await, person("Member").await);
    let make = "select public.create_family('Home', $1)";
    let family: Uuid = sql
        .query_one(make, &[&owner])
        .await
        .expect("a family")
        .get(0);
    let add = "select public.add_member($1, $2, $3, $4, $4)";
    let role = role.name();
    let added = sql.query_one(add, &[&family, &member, &role, &owner]).await;
    (family, member, added.expect("a member").get(0))
}

/// A host whose tokens are the fixture's, and a session's token of some epoch.
pub(crate) async fn issued(host: &TestHost, session: Uuid, epoch: u32) -> String {
    let user = session;
    let claims = json!({
        "iss": "fixture", "aud": "fixture", "sub": user, "sid": session, "exp": 4_000_000_000_u64, "epoch": epoch,
        "https://hasura.io/jwt/claims": {"x-hasura-user-id": user, "x-hasura-default-role": "user"},
    });
    sign(host, &claims).await
}

/// A token with these claims, of a host whose tokens are the fixture's.
pub(crate) async fn sign(host: &TestHost, claims: &Value) -> String {
    let head = json!({"alg": "ES256", "kid": "fixture-1", "typ": "JWT"});
    let signed = format!(
        "{}.{}",
        encode(head.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = host
        .post("/fixture/token")
        .body(signed.clone())
        .send()
        .await
        .expect_status(200)
        .body;
    format!("{signed}.{}", encode(&signature))
}

/// Base64 as tokens have it.
fn encode(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

/// Calls a method with the key as Centrifugo's SDKs send it.
pub(crate) async fn call(host: &TestHost, method: &str, request: Value) -> Value {
    let call = host
        .post(&format!("/api/{method}"))
        .header("x-api-key", TestHost::OPERATOR_KEY);
    call.json(&request).send().await.expect_status(200).json()
}
