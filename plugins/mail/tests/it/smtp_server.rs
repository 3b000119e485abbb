//! An SMTP server of a test, which takes mails or does what it is told instead.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinHandle},
};
use tokio_rustls::TlsAcceptor;

/// How the server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes everything.
    #[default]
    Good,
    /// Answers every recipient so.
    Recipient(&'static str),
    /// Answers every login so.
    Login(&'static str),
    /// Takes a mail and says nothing more.
    Silent,
}

/// A mail that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub from: String,
    pub to: String,
    pub data: String,
    pub is_encrypted: bool,
    pub login: Option<String>,
}

impl Received {
    /// A header of the mail.
    pub(crate) fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let line = self
            .data
            .lines()
            .find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_default()
    }
}

/// When the server speaks TLS.
#[derive(Clone, Default)]
pub(crate) enum Encryption {
    #[default]
    Never,
    Starttls(TlsAcceptor),
    FromTheStart(TlsAcceptor),
}

#[derive(Default)]
struct State {
    mood: Mutex<Mood>,
    received: Mutex<Vec<Received>>,
    encryption: Encryption,
    dialogues: Mutex<Vec<AbortHandle>>,
}

/// The server; dropped, its port is free.
pub(crate) struct SmtpServer {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl SmtpServer {
    pub(crate) async fn start() -> Self {
        Self::start_at(0, Encryption::Never).await
    }

    pub(crate) async fn start_at(port: u16, encryption: Encryption) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.expect("the port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            encryption,
            ..State::default()
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let dialogue = tokio::spawn(async move {
                    // A client that hangs up in between is none of the server's business.
                    let _ = serve(stream, &state).await;
                });
                let mut dialogues = shared.dialogues.lock().expect("nobody panicked");
                dialogues.push(dialogue.abort_handle());
            }
        });
        Self {
            port,
            state,
            accepting,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.state.mood.lock().expect("nobody panicked") = mood;
    }

    /// Ends every dialogue, as a server that crashes does.
    pub(crate) fn hang_up(&self) {
        let dialogues = self.state.dialogues.lock().expect("nobody panicked");
        for dialogue in dialogues.iter() {
            dialogue.abort();
        }
    }

    /// How often somebody has connected.
    pub(crate) fn dialogues(&self) -> usize {
        self.state.dialogues.lock().expect("nobody panicked").len()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("nobody panicked").clone()
    }

    /// The mails, once there are so many.
    pub(crate) async fn receives(&self, count: usize) -> Vec<Received> {
        let what = format!("{count} mails at the server");
        nself_plugin_testkit::eventually(&what, async || {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

async fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    match &state.encryption {
        Encryption::Never => converse(stream, state, false, true).await.map(drop),
        Encryption::FromTheStart(tls) => {
            let stream = tls.accept(stream).await?;
            converse(stream, state, true, true).await.map(drop)
        }
        Encryption::Starttls(tls) => {
            let Some(stream) = converse(stream, state, false, true).await? else {
                return Ok(());
            };
            let stream = tls.accept(stream).await?;
            converse(stream, state, true, false).await.map(drop)
        }
    }
}

/// Speaks until the client goes; the stream when it wants to speak TLS from now on.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    state: &State,
    is_encrypted: bool,
    greets: bool,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220 test\r\n").await?;
    }
    let mut mail = Received {
        from: String::new(),
        to: String::new(),
        data: String::new(),
        is_encrypted,
        login: None,
    };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        let mood = state.mood.lock().expect("nobody panicked").clone();
        let (verb, rest) = line.split_at(line.len().min(4));
        let answer = match (verb, mood) {
            ("EHLO", _) => {
                let starttls = match state.encryption {
                    Encryption::Starttls(_) if !is_encrypted => "250-STARTTLS\r\n",
                    _ => "",
                };
                format!("250-test\r\n{starttls}250-8BITMIME\r\n250 AUTH PLAIN LOGIN")
            }
            ("STAR", _) => {
                stream.write_all(b"220 go on\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            ("AUTH", Mood::Login(reply)) | ("RCPT", Mood::Recipient(reply)) => reply.to_owned(),
            ("AUTH", _) => {
                mail.login = rest.rsplit(' ').next().map(str::to_owned);
                "235 2.7.0 OK".to_owned()
            }
            ("MAIL", _) => {
                rest.clone_into(&mut mail.from);
                "250 OK".to_owned()
            }
            ("RCPT", _) => {
                rest.clone_into(&mut mail.to);
                "250 OK".to_owned()
            }
            ("DATA", mood) => {
                stream.write_all(b"354 go on\r\n").await?;
                mail.data = data(&mut stream).await?;
                let mut received = state.received.lock().expect("nobody panicked");
                received.push(mail.clone());
                if mood == Mood::Silent {
                    continue;
                }
                "250 OK".to_owned()
            }
            ("QUIT", _) => "221 bye".to_owned(),
            _ => "250 OK".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

async fn data(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(data);
        }
        data.push_str(&line);
    }
}
