//! Responses: status, one block of headers, and a body that is bytes, a stream, or a WebSocket to come.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

use super::layout::layout;
use super::{bytes::Bytes, entry::RawHandle, interface::interface, stream::Stream};

interface! {
    /// An open WebSocket. The host does framing, ping and pong, and the limits.
    pub interface Socket: SocketProvider / SocketTable = "nself.socket/1" {
        /// The next message; [`message::CLOSE`] is the last one.
        async fn receive() -> Message;
        /// Sends; resolves when the message has been handed to the transport, which is the back pressure.
        async fn send(message: Message);
        /// The socket's number in the hub. Since minor 5: [`number_in_hub`](Socket::number_in_hub) looks whether it is there.
        sync fn number() -> u64;
    }
}

impl Socket {
    /// The socket's number in the hub, or nothing when the host that made it has none.
    pub fn number_in_hub(&self) -> Option<u64> {
        // SAFETY: every table starts with its size, a `usize`. The rest of it may not be there.
        let size = unsafe { *self.table.cast::<usize>() };
        (size >= size_of::<SocketTable>())
            .then(|| self.number())
            .filter(|number| *number != 0)
    }
}

interface! {
    /// What runs once the host has upgraded the connection.
    pub interface Upgrade: UpgradeProvider / UpgradeTable = "nself.upgrade/1" {
        /// Serves the socket until this resolves.
        async fn run(socket: Socket);
    }
}

/// `kind` of a WebSocket message.
pub mod message {
    /// UTF-8 text.
    pub const TEXT: u32 = 1;
    /// Bytes.
    pub const BINARY: u32 = 2;
    /// Close with `code` and the reason as text.
    pub const CLOSE: u32 = 3;
}

/// One WebSocket message.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Message {
    /// One of [`message`].
    pub kind: u32,
    /// Close code (RFC 6455, section 7.4); 0 otherwise.
    pub code: u32,
    /// Payload.
    pub data: Bytes,
}

/// A response.
#[repr(C)]
pub struct Response {
    status: u32,
    headers: Bytes,
    bytes: Bytes,
    stream: Stream,
    upgrade: RawHandle,
}

/// The body of a response.
pub enum Body {
    /// Whole.
    Bytes(Bytes),
    /// Chunk by chunk.
    Stream(Stream),
    /// The connection becomes a WebSocket.
    Upgrade(Upgrade),
}

impl Response {
    /// A response; `headers` is a block made with [`push_header`].
    pub fn new(status: u16, headers: Vec<u8>, body: Body) -> Self {
        let mut this = Self {
            status: status.into(),
            headers: headers.into(),
            bytes: Bytes::new(),
            stream: Stream::empty(),
            upgrade: RawHandle::default(),
        };
        match body {
            Body::Bytes(bytes) => this.bytes = bytes,
            Body::Stream(stream) => this.stream = stream,
            Body::Upgrade(upgrade) => this.upgrade = upgrade.into_raw(),
        }
        this
    }

    /// Status, header block and body.
    pub fn into_parts(mut self) -> (u16, Bytes, Body) {
        let status = u16::try_from(self.status).unwrap_or(500);
        let headers = std::mem::take(&mut self.headers);
        // SAFETY: the handle was put there by `new` with `into_raw` of an `Upgrade`; taking it leaves null behind.
        let body = match unsafe { Upgrade::from_raw(std::mem::take(&mut self.upgrade)) } {
            Some(upgrade) => Body::Upgrade(upgrade),
            None if self.stream.is_empty() => Body::Bytes(std::mem::take(&mut self.bytes)),
            None => Body::Stream(std::mem::take(&mut self.stream)),
        };
        (status, headers, body)
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        // SAFETY: as in `into_parts`.
        drop(unsafe { Upgrade::from_raw(std::mem::take(&mut self.upgrade)) });
    }
}

/// Appends `name: value` to a header block: `[u16 name length][u32 value length][name][value]`, little endian.
///
/// Returns false, and appends nothing, when one is too long to be a header.
pub fn push_header(block: &mut Vec<u8>, name: &str, value: &[u8]) -> bool {
    let (Ok(name_len), Ok(value_len)) = (u16::try_from(name.len()), u32::try_from(value.len()))
    else {
        return false;
    };
    block.extend_from_slice(&name_len.to_le_bytes());
    block.extend_from_slice(&value_len.to_le_bytes());
    block.extend_from_slice(name.as_bytes());
    block.extend_from_slice(value);
    true
}

/// The headers of a block. Ends early at the first entry that does not fit into the block.
pub fn headers(mut block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (name_len, rest) = block.split_first_chunk::<2>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_len).into())?;
        let (value, rest) =
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*value_len)).ok()?)?;
        block = rest;
        Some((name, value))
    })
}

/// A header whose name or value HTTP does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHttp {
    /// Its name, as far as it is text.
    pub name: String,
}

/// What most answers say of themselves, and nothing more.
const JSON: (&[u8], &[u8]) = (b"content-type", b"application/json");

/// Appends the headers of a block. Their values share the block instead of being copied one by one; the commonest needs none.
///
/// # Errors
///
/// The first header that is none, or that the map has no room for.
pub fn read_headers(block: Bytes, into: &mut HeaderMap) -> Result<(), NotHttp> {
    let is_json_alone = {
        let mut all = headers(block.as_slice());
        (all.next(), all.next()) == (Some(JSON), None)
    };
    if is_json_alone {
        into.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(());
    }
    let block = ::bytes::Bytes::from(block);
    for (name, value) in headers(&block) {
        let not_http = || NotHttp {
            name: String::from_utf8_lossy(name).into_owned(),
        };
        let key = HeaderName::from_bytes(name).map_err(|_| not_http())?;
        let value = HeaderValue::from_maybe_shared(block.slice_ref(value));
        let value = value.map_err(|_| not_http())?;
        into.try_append(key, value).map_err(|_| not_http())?;
    }
    Ok(())
}

layout!(MESSAGE: Message {
    kind: u32,
    code: u32,
    data: Bytes,
});
layout!(RESPONSE: Response {
    status: u32,
    headers: Bytes,
    bytes: Bytes,
    stream: Stream,
    upgrade: RawHandle,
});

#[cfg(test)]
mod tests {
    use std::{future::ready, sync::Arc};

    use super::*;
    use crate::abi::error::Error;

    struct Numbered;

    impl SocketProvider for Numbered {
        fn receive(&self) -> impl Future<Output = Result<Message, Error>> + Send + 'static {
            ready(Ok(Message::default()))
        }

        fn send(&self, _: Message) -> impl Future<Output = Result<(), Error>> + Send + 'static {
            ready(Ok(()))
        }

        fn number(&self) -> u64 {
            7
        }
    }

    #[test]
    fn a_socket_of_a_host_without_a_hub_has_no_number() {
        let socket = Socket::new(Arc::new(Numbered));
        assert_eq!(socket.number_in_hub(), Some(7));
        let raw = socket.into_raw();
        // SAFETY: the handle has just been made, and its table is a static.
        let mut table = unsafe { raw.table.cast::<SocketTable>().read() };
        // As it was made before there were numbers.
        table.size = std::mem::offset_of!(SocketTable, number);
        let older = Socket {
            context: raw.context,
            table: &raw const table,
        };
        assert_eq!(older.number_in_hub(), None);
    }

    #[test]
    fn a_header_block_reads_back_and_a_cut_one_ends_early() {
        let mut block = Vec::new();
        assert!(push_header(&mut block, "a", b"1"));
        assert!(push_header(&mut block, "b", b""));
        let all: Vec<_> = headers(&block).collect();
        assert_eq!(all, [(&b"a"[..], &b"1"[..]), (b"b", b"")]);
        assert_eq!(headers(&block[..block.len() - 1]).count(), 1);
        assert!(!push_header(&mut block, &"n".repeat(70_000), b""));
    }

    fn read(all: &[(&str, &str)]) -> Result<HeaderMap, NotHttp> {
        let mut block = Vec::new();
        for (name, value) in all {
            assert!(push_header(&mut block, name, value.as_bytes()));
        }
        let mut map = HeaderMap::new();
        read_headers(block.into(), &mut map).map(|()| map)
    }

    #[test]
    fn headers_of_an_answer_arrive_whole_and_what_is_none_is_named() {
        let json = ("content-type", "application/json");
        assert_eq!(
            read(&[json]).expect("one header")["content-type"],
            "application/json"
        );
        let both = read(&[json, ("x-mark", "1"), ("x-mark", "2")]).expect("three headers");
        assert_eq!(both.get_all("x-mark").iter().count(), 2);
        assert_eq!(both["content-type"], "application/json");
        assert!(read(&[]).expect("none").is_empty());
        for wrong in [("x mark", "1"), ("x-mark", "a\nb")] {
            assert_eq!(read(&[json, wrong]).expect_err("no header").name, wrong.0);
        }
    }

    #[test]
    fn more_headers_than_a_map_has_room_for_are_refused() {
        let names: Vec<_> = (0..40_000).map(|number| format!("x-{number}")).collect();
        let all: Vec<_> = names.iter().map(|name| (&**name, "")).collect();
        assert!(read(&all[..20_000]).is_ok());
        let refused = read(&all).expect_err("too many");
        assert!(refused.name.starts_with("x-"), "{refused:?}");
    }
}
