//! What a client says until it hears messages, and how somebody speaks to all.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    MESSAGE_BYTES,
    frames::{masked, read},
};
use crate::{Failure, Result};

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Who has connected hears everything, and what anybody sends is sent to all.
    Plain,
    /// The same in frames of text that begin with what kind of message they are.
    SocketIo,
    /// There is a second address for who speaks.
    Nchan,
    /// Centrifugo's: a token, then a subscription. Publications come out of the database.
    Centrifugo,
}

/// Where a subscriber comes in.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    pub(super) address: SocketAddr,
    pub(super) path: &'static str,
    pub(super) dialect: Dialect,
    /// Of the channel that everybody is subscribed to.
    pub(super) channel: String,
    /// As many as there can be subscribers.
    pub(super) tokens: Vec<String>,
}

/// A position in a channel, to come back to.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) epoch: String,
}

impl Entrance {
    /// Connects the subscriber of that number, until it hears what is said; where it is in its channel. Who comes back to a position has
    /// to be given all that was published since.
    pub(super) async fn enter(
        &self,
        number: usize,
        back: Option<&Position>,
    ) -> Result<(TcpStream, Option<Position>)> {
        let mut stream = shake_hands(self.address, self.path).await?;
        match self.dialect {
            Dialect::Plain | Dialect::Nchan => Ok((stream, None)),
            Dialect::SocketIo => {
                expect(&mut stream, "0").await?;
                stream.write_all(&masked(TEXT, b"40")).await?;
                expect(&mut stream, "40").await?;
                Ok((stream, None))
            }
            Dialect::Centrifugo => {
                let position = self.subscribe(&mut stream, number, back).await?;
                Ok((stream, Some(position)))
            }
        }
    }

    async fn subscribe(
        &self,
        stream: &mut TcpStream,
        number: usize,
        back: Option<&Position>,
    ) -> Result<Position> {
        let token = self.tokens.get(number);
        let token = token.ok_or_else(|| Failure::from("there are not so many tokens"))?;
        command(stream, &json!({"id": 1, "connect": {"token": token}})).await?;
        let mut subscribe = json!({"channel": self.channel});
        if let Some(Position { offset, epoch }) = back {
            subscribe =
                json!({"channel": self.channel, "recover": true, "offset": offset, "epoch": epoch});
        }
        let answer = command(stream, &json!({"id": 2, "subscribe": subscribe})).await?;
        let result = &answer["subscribe"];
        let offset = result["offset"].as_u64().unwrap_or_default();
        if let Some(back) = back {
            let missed = result["publications"].as_array().map_or(0, Vec::len);
            if result["recovered"] != true || back.offset + u64::try_from(missed)? != offset {
                return Err(format!("not all was recovered: {answer}").into());
            }
        }
        Ok(Position {
            offset,
            epoch: result["epoch"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// The connection of somebody who speaks, and what one message is.
    pub(super) async fn speaker(&self) -> Result<(TcpStream, Vec<u8>)> {
        let text = "x".repeat(MESSAGE_BYTES);
        match self.dialect {
            Dialect::Plain => {
                let stream = shake_hands(self.address, self.path).await?;
                Ok((stream, masked(BINARY, text.as_bytes())))
            }
            Dialect::Nchan => {
                let stream = shake_hands(self.address, "/publish").await?;
                Ok((stream, masked(TEXT, text.as_bytes())))
            }
            Dialect::SocketIo => {
                let (stream, _) = self.enter(0, None).await?;
                let event = format!("42{}", json!(["m", text]));
                Ok((stream, masked(TEXT, event.as_bytes())))
            }
            Dialect::Centrifugo => Err(Failure::from("publications come out of the database")),
        }
    }
}

/// Sends a command; its answer. What is pushed before it is not looked at.
async fn command(stream: &mut TcpStream, command: &Value) -> Result<Value> {
    let frame = masked(TEXT, command.to_string().as_bytes());
    stream.write_all(&frame).await?;
    loop {
        let text = read(stream).await?;
        for line in text.lines() {
            let answer: Value = serde_json::from_str(line)?;
            if !answer["error"].is_null() {
                return Err(format!("refused: {answer}").into());
            }
            if answer["id"] == command["id"] {
                return Ok(answer);
            }
        }
    }
}

async fn expect(stream: &mut TcpStream, beginning: &str) -> Result<()> {
    let text = read(stream).await?;
    if text.starts_with(beginning) {
        return Ok(());
    }
    Err(format!("{text} where {beginning} was expected").into())
}

async fn shake_hands(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Err(format!("no upgrade: {head}").into())
}
