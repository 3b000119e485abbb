//! A mail server that comes and goes.

use std::sync::{Arc, Mutex};

use nself_plugin_testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::stage::{decoded, token_in};

/// Takes every mail; dropped, its port is free.
pub(super) struct Postbox {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Postbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Postbox {
    pub(super) async fn open() -> Self {
        Self::open_at(0).await
    }

    pub(super) async fn open_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.expect("the port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&mails);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up in between is no matter of the server's.
                tokio::spawn(take(stream, Arc::clone(&taken)));
            }
        });
        Self {
            port,
            mails,
            accepting,
        }
    }

    /// Closes it; the port that it had.
    pub(super) fn close(self) -> u16 {
        self.port
    }

    pub(super) fn count(&self) -> usize {
        self.mails.lock().expect("nobody panicked").len()
    }

    /// The token of a link in a mail, as soon as it is there.
    pub(super) async fn token_of(&self, page: &str) -> String {
        eventually("a mail with a link", async || {
            let mails = self.mails.lock().expect("nobody panicked").clone();
            mails.iter().find_map(|mail| token_in(mail, page))
        })
        .await
    }
}

async fn take(stream: TcpStream, mails: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 test\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match line.get(..4) {
            Some("EHLO") => "250-test\r\n250 8BITMIME",
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") && stream.read_line(&mut mail).await? > 0 {}
                mails.lock().expect("nobody panicked").push(decoded(&mail));
                "250 OK"
            }
            Some("QUIT") => "221 bye",
            _ => "250 OK",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}
