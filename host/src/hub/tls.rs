//! A socket inside TLS, in two halves. Both work on one session: what comes is made readable by it, and what goes is sealed by it and lies
//! in it until the socket takes it. So a write that was taken may not have gone out, which [`Sink::holds_back`] says.

use std::{
    io::{self, BufRead as _, Read, Write},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::outbound::Sink;

/// Bytes that are sealed at once: one record. More would lie in the session where the socket takes them no more.
const SEALED_BYTES: usize = 16 * 1024;

/// What both halves have.
#[derive(Clone)]
struct Session(Arc<Mutex<ServerConnection>>);

impl Session {
    /// Nobody holds it longer than it takes to seal or to open a record.
    fn lock(&self) -> MutexGuard<'_, ServerConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes.
pub(super) struct TlsReading {
    half: OwnedReadHalf,
    session: Session,
}

/// What goes.
pub(super) struct TlsWriting {
    half: OwnedWriteHalf,
    session: Session,
}

pub(super) fn split(stream: TcpStream, session: ServerConnection) -> (TlsReading, TlsWriting) {
    let session = Session(Arc::new(Mutex::new(session)));
    let (reading, writing) = stream.into_split();
    let reading = TlsReading {
        half: reading,
        session: session.clone(),
    };
    let writing = TlsWriting {
        half: writing,
        session,
    };
    (reading, writing)
}

impl AsyncRead for TlsReading {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { half, session } = self.get_mut();
        let mut session = session.lock();
        loop {
            match session.reader().into_first_chunk() {
                Ok(chunk) => {
                    // None of it: the other side has said that it ends.
                    let count = chunk.len().min(buffer.remaining());
                    buffer.put_slice(&chunk[..count]);
                    session.reader().consume(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(polled(session.read_tls(&mut Polled { half, context })))?;
            if let Err(error) = session.process_new_packets() {
                // It may hear what it did wrong, as far as the socket takes that at once.
                let _ = session.write_tls(&mut AtOnce(half.as_ref()));
                return Poll::Ready(Err(io::Error::other(error)));
            }
        }
    }
}

impl Sink for TlsWriting {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session.lock();
        put(&mut session, bytes, &mut AtOnce(self.half.as_ref()))
    }

    fn holds_back(&self) -> bool {
        self.session.lock().wants_write()
    }
}

impl AsyncWrite for TlsWriting {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { half, session } = self.get_mut();
        let mut session = session.lock();
        polled(put(&mut session, bytes, &mut Polled { half, context }))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { half, session } = self.get_mut();
        let mut session = session.lock();
        polled(drain(&mut session, &mut Polled { half, context }))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.lock().send_close_notify();
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.half).poll_shutdown(context)
    }
}

impl Drop for TlsWriting {
    /// Some clients take an end that was not announced for a failure.
    fn drop(&mut self) {
        let mut session = self.session.lock();
        session.send_close_notify();
        let _ = drain(&mut session, &mut AtOnce(self.half.as_ref()));
    }
}

/// Seals as much as fits a record, once all before it has gone.
fn put(session: &mut ServerConnection, bytes: &[u8], wire: &mut impl Write) -> io::Result<usize> {
    drain(session, wire)?;
    let taken = session
        .writer()
        .write(&bytes[..bytes.len().min(SEALED_BYTES)])?;
    match drain(session, wire) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        // What has not gone goes before the next.
        _ => Ok(taken),
    }
}

fn drain(session: &mut ServerConnection, wire: &mut impl Write) -> io::Result<()> {
    while session.wants_write() {
        if session.write_tls(wire)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// As tasks are told of it.
fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// The socket, which wakes the task where it would block.
struct Polled<'a, 'b, H> {
    half: &'a mut H,
    context: &'a mut Context<'b>,
}

impl<H> Polled<'_, '_, H> {
    fn now<T>(result: Poll<io::Result<T>>) -> io::Result<T> {
        match result {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for Polled<'_, '_, OwnedReadHalf> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        Self::now(Pin::new(&mut *self.half).poll_read(self.context, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Polled<'_, '_, OwnedWriteHalf> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.half).poll_write(self.context, bytes))
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.half).poll_write_vectored(self.context, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The socket, as far as it takes something at once.
struct AtOnce<'a>(&'a TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use prometheus::Registry;
    use rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs::default_provider,
        pki_types::{PrivatePkcs8KeyDer, ServerName},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };
    use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

    use super::*;
    use crate::{
        http::Departed,
        hub::{BINARY, Hub, Said, TEXT, encode},
    };

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Both ends of a connection that has shaken hands.
    async fn connected() -> ((TcpStream, ServerConnection), TlsStream<TcpStream>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("both versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a pair");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, (accepted, _)) = (stream.expect("a client"), accepted.expect("a client"));
        let name = ServerName::try_from("localhost").expect("a name");
        let (client, server) = tokio::join!(
            TlsConnector::from(Arc::new(client)).connect(name, stream),
            TlsAcceptor::from(Arc::new(server)).accept(accepted),
        );
        let server = server.expect("hands are shaken").into_inner();
        (server, client.expect("hands are shaken"))
    }

    async fn departed() -> (Departed, TlsStream<TcpStream>) {
        let ((stream, session), client) = connected().await;
        let departed = Departed {
            stream,
            tls: Some(Box::new(session)),
            ahead: Bytes::new(),
            write_timeout: PATIENCE,
            seat: None,
        };
        (departed, client)
    }

    #[tokio::test]
    async fn what_a_client_does_not_read_at_once_arrives_though_nothing_follows_it() {
        let hub = Hub::new(&Registry::new()).expect("fresh metrics");
        let (departed, mut client) = departed().await;
        let (connection, incoming) = hub.open(departed, "notes".into(), PATIENCE, None);
        let payload: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        let frame = hub.frame(BINARY, &payload);
        // Far more than a socket keeps.
        let sending = async {
            for _ in 0..40 {
                assert!(connection.send_in_turn(frame.clone()).await);
            }
            connection.flushed().await;
        };
        let expected = encode(BINARY, &payload);
        let reading = async {
            let mut read = vec![0; expected.len()];
            for _ in 0..40 {
                client.read_exact(&mut read).await.expect("a frame");
                assert!(read == expected);
            }
        };
        let both = async { tokio::join!(sending, reading) };
        timeout(PATIENCE, both).await.expect("all of it in time");
        hub.close(&connection);
        drop((connection, incoming));
        let mut rest = Vec::new();
        // An end without its announcement is an error here.
        client.read_to_end(&mut rest).await.expect("the end");
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn what_a_client_says_is_heard_until_it_says_that_it_ends() {
        let hub = Hub::new(&Registry::new()).expect("fresh metrics");
        let (departed, mut client) = departed().await;
        let (_connection, mut incoming) = hub.open(departed, "notes".into(), PATIENCE, None);
        let text = "word ".repeat(10_000);
        let mut frame = encode(TEXT, text.as_bytes());
        frame[1] |= 0x80;
        let head = frame.len() - text.len();
        frame.splice(head..head, [0; 4]);
        let saying = async {
            client.write_all(&frame).await.expect("it is open");
            client.write_all(&frame).await.expect("it is open");
            client.shutdown().await.expect("it is open");
        };
        let hearing = async {
            for _ in 0..2 {
                let said = incoming.next().await.expect("a message");
                assert!(said == Said::Text(text.clone().into()));
            }
            incoming.next().await.map(drop).expect_err("the end");
        };
        let both = async { tokio::join!(saying, hearing) };
        timeout(PATIENCE, both).await.expect("all of it in time");
    }

    #[tokio::test]
    async fn what_is_no_record_of_the_session_ends_it() {
        let ((stream, session), client) = connected().await;
        let (mut reading, mut writing) = split(stream, session);
        let (mut wire, _) = client.into_inner();
        // Whole, and sealed by nobody.
        wire.write_all(&[23, 3, 3, 0, 4, 1, 2, 3, 4])
            .await
            .expect("it is open");
        let mut bytes = [0; 64];
        let error = reading
            .read(&mut bytes)
            .await
            .expect_err("nobody sealed it");
        assert!(error.to_string().contains("decrypt"), "{error}");
        // It is told why, in a record.
        let mut alert = [0; 5];
        wire.read_exact(&mut alert).await.expect("an alert");
        assert_eq!(&alert[1..3], &[3, 3]);
        writing.write_all(b"more").await.expect_err("it has ended");
    }
}
