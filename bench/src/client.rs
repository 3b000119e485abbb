//! A caller that costs next to nothing: HTTP/1.1 with keep-alive, read just far enough to know where an answer ends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// One connection.
pub(crate) struct Http<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: usize,
    /// The server will close the connection.
    pub(crate) last: bool,
}

/// The bytes of a POST with some headers.
pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:3000\r\nuser-agent: nself-bench/0.1\r\naccept: */*\r\n\
         content-type: application/octet-stream\r\ncontent-length: {}\r\nx-mark: 0123456789abcdef\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The bytes of a GET.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:3000\r\n\r\n").into_bytes()
}

/// The bytes of a POST of JSON.
pub(crate) fn json_post(path: &str, body: &serde_json::Value) -> Vec<u8> {
    with_json("POST", path, "", body)
}

/// The bytes of a POST of JSON with a bearer token.
pub(crate) fn json_post_by(path: &str, token: &str, body: &serde_json::Value) -> Vec<u8> {
    with_json("POST", path, &bearer(token), body)
}

/// The bytes of a request with JSON, and with the line of a header or none.
pub(crate) fn with_json(
    method: &str,
    path: &str,
    header: &str,
    body: &serde_json::Value,
) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://127.0.0.1\r\n{header}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The bytes of a GET with a bearer token.
pub(crate) fn with_bearer(path: &str, token: &str) -> Vec<u8> {
    bare("GET", path, &bearer(token))
}

/// The bytes of a request without a body, and with the line of a header or none.
pub(crate) fn bare(method: &str, path: &str, header: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://127.0.0.1\r\n{header}\r\n"
    )
    .into_bytes()
}

/// The line of the header with a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        }
    }

    /// Sends a request and reads its answer to the end; the body is not kept.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.exchange(request, None).await
    }

    /// As [`send`](Self::send), with the body.
    pub(crate) async fn send_for_body(&mut self, request: &[u8]) -> io::Result<(Answer, Vec<u8>)> {
        let mut body = Vec::new();
        let answer = self.exchange(request, Some(&mut body)).await?;
        Ok((answer, body))
    }

    async fn exchange(
        &mut self,
        request: &[u8],
        mut body: Option<&mut Vec<u8>>,
    ) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        let head = self.read_head().await?;
        let text = std::str::from_utf8(&head).map_err(|_| broken("the head is not text"))?;
        let status = text
            .get(9..12)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| broken("no status"))?;
        let last = header(text, "connection").is_some_and(|value| value == "close");
        let body_bytes = match header(text, "content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| broken("no length"))?;
                self.fill(length).await?;
                let read = self.buffer.drain(..length);
                if let Some(body) = &mut body {
                    body.extend(read);
                }
                length
            }
            None if header(text, "transfer-encoding").is_some() => self.chunks(body).await?,
            None => 0,
        };
        Ok(Answer {
            status,
            body_bytes,
            last,
        })
    }

    async fn read_head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(self.buffer.drain(..at + 4).collect());
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self, mut body: Option<&mut Vec<u8>>) -> io::Result<usize> {
        let mut total = 0;
        loop {
            let end = loop {
                if let Some(at) = find(&self.buffer, b"\r\n") {
                    break at;
                }
                self.more().await?;
            };
            let size = std::str::from_utf8(&self.buffer[..end])
                .ok()
                .and_then(|text| usize::from_str_radix(text, 16).ok())
                .ok_or_else(|| broken("no chunk size"))?;
            self.fill(end + 2 + size + 2).await?;
            if let Some(body) = &mut body {
                body.extend_from_slice(&self.buffer[end + 2..end + 2 + size]);
            }
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                return Ok(total);
            }
            total += size;
        }
    }

    async fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.buffer.len() < bytes {
            self.more().await?;
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Gives the connection away after an upgrade.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
