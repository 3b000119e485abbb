//! The limit: a server that knows how long messages are, and writes them to everybody without looking.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::oneshot,
    task::{LocalSet, spawn_local},
};

use super::MESSAGE_BYTES;
use crate::Result;

/// The first argument of its process.
pub(crate) const BARE: &str = "bare";

/// Bytes of a frame from the server: two of its header, two that say the length.
const FRAME_BYTES: usize = 4 + MESSAGE_BYTES;
/// Bytes of a message from a client: as those of a frame to it, and the mask.
const MESSAGE_FRAME_BYTES: usize = FRAME_BYTES + 4;

type Everybody = Rc<RefCell<Vec<OwnedWriteHalf>>>;

/// Serves until its standard input ends.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (parent, ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // It ends when its parent does, however that ends.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(parent);
    });
    runtime.block_on(LocalSet::new().run_until(async {
        tokio::select! {
            failed = accept() => failed,
            _ = ended => Ok(()),
        }
    }))
}

async fn accept() -> Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any).await?;
    println!("{}", json!({"gateway": listener.local_addr()?}));
    let everybody = Everybody::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let everybody = Rc::clone(&everybody);
        spawn_local(async move {
            // A client that has gone is no matter.
            let _ = converse(stream, &everybody).await;
        });
    }
}

async fn converse(mut stream: TcpStream, everybody: &Everybody) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let answer =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(answer).await?;
    let (reading, writing) = stream.into_split();
    everybody.borrow_mut().push(writing);
    let mut frame = vec![
        0x82,
        126,
        0,
        u8::try_from(MESSAGE_BYTES).unwrap_or_default(),
    ];
    frame.extend([b'x'; MESSAGE_BYTES]);
    let mut begun = 0;
    loop {
        reading.readable().await?;
        // Not across the wait: an idle connection has no buffer.
        let mut buffer = [0; 16 * 1024];
        match reading.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(amount) => begun += amount,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let frames = frame.repeat(begun / MESSAGE_FRAME_BYTES);
        begun %= MESSAGE_FRAME_BYTES;
        if !frames.is_empty() {
            // What a client does not take at once is more than this server keeps: then nothing is measured.
            everybody.borrow_mut().retain(
                |writing| matches!(writing.try_write(&frames), Ok(bytes) if bytes == frames.len()),
            );
        }
    }
}
