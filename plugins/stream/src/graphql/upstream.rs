//! The WebSocket to Hasura: frames by tungstenite, which is handed bytes and hands bytes back, over a stream of the host's.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nself_plugin_api::{
    capability::connect::{Outgoing, Tls},
    futures_util::lock::Mutex,
    prelude::*,
};
use tungstenite::{
    Error as FrameError, Message as Frame,
    protocol::{CloseFrame, Role, WebSocket, WebSocketConfig},
};

use super::{PATH, handshake};
use crate::Stream;

/// How long Hasura has for the beginning.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long Hasura may be silent, and how long a message may take. Both protocols, and Hasura, ping more often.
const SILENCE_MAX: Duration = Duration::from_secs(3_600);
/// Bytes that are read at a time.
const READ_BYTES: u32 = 16_384;
/// Longest message of Hasura's.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a handshake's key.
const KEY_BYTES: u32 = 16;

/// What Hasura says.
pub(super) enum Heard {
    Text(String),
    Close(u16, String),
    /// It has gone without a word.
    End,
}

/// A connection to Hasura. One reads and one writes; what the reader has to answer (a ping) goes between the other's messages.
pub(crate) struct Upstream {
    stream: Outgoing,
    reader: Mutex<WebSocket<Pipe>>,
    writer: Mutex<WebSocket<Pipe>>,
}

impl Upstream {
    /// Connects and shakes hands.
    pub(super) async fn open(
        cx: &Cx<Stream>,
        host: &str,
        protocol: &str,
        bearer: Option<&str>,
    ) -> Result<Self> {
        let config = &cx.plugin().config;
        let tls = if config.hasura_tls { Tls::Yes } else { Tls::No };
        let port = config.hasura_port;
        let stream = cx.connect().open(host, port, tls, OPEN_TIMEOUT).await?;
        let key = STANDARD.encode(cx.crypto().random(KEY_BYTES)?);
        let host = format!("{host}:{port}");
        let request = handshake::request(&host, PATH, &key, protocol, bearer);
        stream.write(request.into_bytes()).await?;
        let mut answer = Vec::new();
        let length = loop {
            let bytes = stream.read(READ_BYTES).await?;
            answer.extend_from_slice(&bytes);
            let found =
                handshake::consent(&answer, &key, protocol).map_err(|error| broken(&error))?;
            match found {
                Some(length) => break length,
                None if bytes.is_empty() || answer.len() > handshake::BYTES_MAX => {
                    return Err(broken(&"it ends in the middle of its answer"));
                }
                None => {}
            }
        };
        stream.set_deadline(SILENCE_MAX);
        // Its first message may have come with the answer.
        let reader = framed(answer.split_off(length));
        Ok(Self {
            stream,
            reader: Mutex::new(reader),
            writer: Mutex::new(framed(Vec::new())),
        })
    }

    /// The next message.
    pub(super) async fn hear(&self) -> Result<Heard> {
        let mut reader = self.reader.lock().await;
        loop {
            match reader.read() {
                Ok(Frame::Text(text)) => return Ok(Heard::Text(text.as_str().to_owned())),
                Ok(Frame::Close(frame)) => {
                    let (code, reason) = frame.map_or((1000, String::new()), |frame| {
                        (frame.code.into(), frame.reason.as_str().to_owned())
                    });
                    return Ok(Heard::Close(code, reason));
                }
                Ok(_) => {}
                Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.answer(&mut reader).await?;
                    let bytes = self.stream.read(READ_BYTES).await?;
                    if bytes.is_empty() {
                        return Ok(Heard::End);
                    }
                    self.stream.set_deadline(SILENCE_MAX);
                    reader.get_mut().incoming.extend(bytes.iter());
                }
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// Pongs, if there are any to be sent.
    async fn answer(&self, reader: &mut WebSocket<Pipe>) -> Result<()> {
        reader.flush().map_err(|error| broken(&error))?;
        let bytes = std::mem::take(&mut reader.get_mut().outgoing);
        if bytes.is_empty() {
            return Ok(());
        }
        let _turn = self.writer.lock().await;
        self.stream.write(bytes).await
    }

    /// Says something.
    pub(super) async fn say(&self, text: String) -> Result<()> {
        self.write(Frame::text(text)).await
    }

    /// Says that it is over.
    pub(super) async fn close(&self, code: u16, reason: String) -> Result<()> {
        // These say that nothing was said, and may not be said.
        let is_said = !matches!(code, 1005 | 1006 | 1015);
        let frame = is_said.then(|| CloseFrame {
            code: code.into(),
            reason: reason.into(),
        });
        self.write(Frame::Close(frame)).await
    }

    async fn write(&self, frame: Frame) -> Result<()> {
        let mut writer = self.writer.lock().await;
        writer.send(frame).map_err(|error| broken(&error))?;
        let bytes = std::mem::take(&mut writer.get_mut().outgoing);
        self.stream.write(bytes).await
    }
}

fn framed(incoming: Vec<u8>) -> WebSocket<Pipe> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES as usize)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let pipe = Pipe {
        incoming: incoming.into(),
        outgoing: Vec::new(),
    };
    WebSocket::from_raw_socket(pipe, Role::Client, Some(config))
}

fn broken(cause: &impl ToString) -> Error {
    Error::internal(io::Error::other(cause.to_string()))
}

/// Bytes that have come and bytes that are to go.
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
