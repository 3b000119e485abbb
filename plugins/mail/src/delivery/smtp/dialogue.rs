//! The dialogue with an SMTP server (RFC 5321, 3207, 4954), over a connection that the host has made.
//!
//! One question at a time: the server answers when it is asked, and what it says unasked ends the dialogue. That is also what
//! keeps out who speaks before TLS begins and wants to be heard behind it (CVE-2011-0411 and its kin).

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use lettre::address::Envelope;
use nself_plugin_api::{Error, bytes::Bytes, capability::connect::Outgoing};

use super::{
    content::transparent,
    reply::{Garbage, Replies, Reply},
};

/// Bytes of one read.
const READ_BYTES_MAX: u32 = 4 * 1024;
/// Bytes of a mail that are one step of the dialogue.
const CONTENT_BYTES: usize = 64 * 1024;
/// How long a server may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Why a dialogue came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server said no.
    #[error("{0}")]
    Refused(Reply),
    #[error(transparent)]
    Garbage(#[from] Garbage),
    #[error("the server does not offer {0}")]
    NotOffered(&'static str),
    #[error("the server closed the connection")]
    Closed,
    #[error("the dialogue took too long")]
    Late,
    #[error("an address or a name holds a control character")]
    Command,
    #[error("{}: {}", .0, .0.cause().unwrap_or_default())]
    Broken(#[from] Error),
}

impl Failure {
    /// The code with which the server said no.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(reply) => Some(reply.code),
            _ => None,
        }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Each step.
    pub step: Duration,
    /// All of them: what lasts longer than its lease would be done twice.
    pub end: Instant,
}

/// Who logs in.
pub(super) struct Login {
    pub user: String,
    pub password: String,
}

/// How a dialogue begins.
pub(super) struct Opening {
    /// Who we are.
    pub hello: String,
    pub is_starttls: bool,
    pub login: Option<Login>,
}

/// A dialogue in which nobody is waiting for anything, or one that has failed.
pub(super) struct Dialogue {
    connection: Outgoing,
    replies: Replies,
    /// What the server offers, in capital letters: the lines of its answer to EHLO.
    offers: Vec<String>,
    limits: Limits,
}

impl Dialogue {
    /// Says hello, turns to TLS, logs in.
    pub(super) async fn begin(
        connection: Outgoing,
        opening: &Opening,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let mut this = Self {
            connection,
            replies: Replies::default(),
            offers: Vec::new(),
            limits,
        };
        this.step()?;
        let greeting = this.reply().await?;
        accept(greeting, 2)?;
        this.hello(&opening.hello).await?;
        if opening.is_starttls {
            this.start_tls().await?;
            this.hello(&opening.hello).await?;
        }
        if let Some(login) = &opening.login {
            this.log_in(login).await?;
        }
        Ok(this)
    }

    /// Goes on with a dialogue that has rested, if its server is still there.
    pub(super) async fn resume(mut self, limits: Limits) -> Option<Self> {
        self.limits = limits;
        self.ask("NOOP", 2).await.is_ok().then_some(self)
    }

    /// Hands over a mail.
    pub(super) async fn send(&mut self, envelope: &Envelope, mail: &[u8]) -> Result<(), Failure> {
        let sender: &str = envelope.from().map_or("", AsRef::as_ref);
        let mut command = format!("MAIL FROM:<{sender}>");
        let mut addresses = envelope.to().iter().chain(envelope.from());
        if addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
            self.need("SMTPUTF8")?;
            command.push_str(" SMTPUTF8");
        }
        if !mail.is_ascii() {
            self.need("8BITMIME")?;
            command.push_str(" BODY=8BITMIME");
        }
        self.ask(&command, 2).await?;
        for recipient in envelope.to() {
            self.ask(&format!("RCPT TO:<{recipient}>"), 2).await?;
        }
        self.ask("DATA", 3).await?;
        self.content(transparent(mail).into()).await
    }

    /// Takes leave, as far as the server lets it.
    pub(super) async fn quit(self) {
        self.connection.set_deadline(GOODBYE_MAX);
        if self.connection.write("QUIT\r\n").await.is_ok() {
            let _ = self.connection.read(READ_BYTES_MAX).await;
        }
    }

    async fn hello(&mut self, name: &str) -> Result<(), Failure> {
        let reply = self.ask(&format!("EHLO {name}"), 2).await?;
        // The first line is the server's name.
        let offers = reply.lines.iter().skip(1);
        self.offers = offers.map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    async fn start_tls(&mut self) -> Result<(), Failure> {
        self.need("STARTTLS")?;
        self.ask("STARTTLS", 2).await?;
        self.be_silent()?;
        self.step()?;
        self.connection.start_tls().await?;
        // What was offered before came from anybody.
        self.offers.clear();
        Ok(())
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), Failure> {
        let Login { user, password } = login;
        if self.offers_login("PLAIN") {
            // RFC 4616: in whose name, who, and the password.
            let proof = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
            self.ask(&format!("AUTH PLAIN {proof}"), 2).await?;
        } else if self.offers_login("LOGIN") {
            self.ask("AUTH LOGIN", 3).await?;
            self.ask(&BASE64_STANDARD.encode(user), 3).await?;
            self.ask(&BASE64_STANDARD.encode(password), 2).await?;
        } else {
            return Err(Failure::NotOffered("AUTH PLAIN or AUTH LOGIN"));
        }
        Ok(())
    }

    async fn content(&mut self, mut content: Bytes) -> Result<(), Failure> {
        while !content.is_empty() {
            let chunk = content.split_to(content.len().min(CONTENT_BYTES));
            self.step()?;
            self.connection.write(chunk).await?;
        }
        self.step()?;
        let reply = self.reply().await?;
        accept(reply, 2).map(drop)
    }

    /// Asks, and hears an answer of that class.
    async fn ask(&mut self, command: &str, class: u16) -> Result<Reply, Failure> {
        if command.chars().any(char::is_control) {
            return Err(Failure::Command);
        }
        self.be_silent()?;
        self.step()?;
        self.connection.write(format!("{command}\r\n")).await?;
        let reply = self.reply().await?;
        accept(reply, class)
    }

    /// Begins a step: what follows must be done in its time.
    fn step(&self) -> Result<(), Failure> {
        let Limits { step, end } = self.limits;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Late);
        }
        self.connection.set_deadline(step.min(left));
        Ok(())
    }

    fn be_silent(&self) -> Result<(), Garbage> {
        if self.replies.are_read() {
            return Ok(());
        }
        Err(Garbage("it answers what it was not asked"))
    }

    async fn reply(&mut self) -> Result<Reply, Failure> {
        loop {
            if let Some(reply) = self.replies.next()? {
                return Ok(reply);
            }
            let bytes = self.connection.read(READ_BYTES_MAX).await?;
            if bytes.is_empty() {
                return Err(Failure::Closed);
            }
            self.replies.feed(&bytes);
        }
    }

    fn need(&self, extension: &'static str) -> Result<(), Failure> {
        let mut names = self.offers.iter().map(|line| line.split(' ').next());
        if names.any(|name| name == Some(extension)) {
            return Ok(());
        }
        Err(Failure::NotOffered(extension))
    }

    /// Some servers still write `AUTH=LOGIN`, as a draft of the extension had it.
    fn offers_login(&self, mechanism: &str) -> bool {
        self.offers.iter().any(|line| {
            let mut words = line.split([' ', '=']);
            words.next() == Some("AUTH") && words.any(|word| word == mechanism)
        })
    }
}

fn accept(reply: Reply, class: u16) -> Result<Reply, Failure> {
    match reply.class() {
        got if got == class => Ok(reply),
        4 | 5 => Err(Failure::Refused(reply)),
        _ => Err(Garbage("its answer does not suit the question").into()),
    }
}
