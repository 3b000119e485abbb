//! A server that says what it is told, whether that is SMTP or not.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use nself_plugin_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a server does when it has said all that it has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    /// It listens until the client goes.
    Listen,
    /// It says this again and again, until the client goes or a gibibyte was sent.
    Repeat(&'static [u8]),
    /// It goes.
    HangUp,
}

/// What endless servers send at most.
const SENT_BYTES_MAX: usize = 1 << 30;

/// What a client may say at most: its mails are short.
const HEARD_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Default)]
struct State {
    heard: Mutex<Vec<u8>>,
    sent: AtomicUsize,
    came: AtomicUsize,
    left: AtomicUsize,
}

/// The server.
pub(crate) struct ScriptedServer {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ScriptedServer {
    /// Greets with the first of `says`, and answers whatever comes with the next one.
    pub(crate) async fn start(says: &[&'static str], then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (state, says) = (Arc::<State>::default(), says.to_vec());
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (state, says) = (Arc::clone(&shared), says.clone());
                tokio::spawn(async move {
                    state.came.fetch_add(1, Ordering::SeqCst);
                    // That the client goes is what the tests wait for.
                    let _ = speak(caller, &says, then, &state).await;
                    state.left.fetch_add(1, Ordering::SeqCst);
                });
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

    /// What clients said.
    pub(crate) fn heard(&self) -> String {
        let heard = self.state.heard.lock().expect("nobody panicked");
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// How many bytes were sent behind the script.
    pub(crate) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// How many clients there were.
    pub(crate) fn came(&self) -> usize {
        self.state.came.load(Ordering::SeqCst)
    }

    /// Waits until every client has gone.
    pub(crate) async fn is_left(&self) {
        eventually("the client to go", async || {
            let left = self.state.left.load(Ordering::SeqCst);
            (left > 0 && left == self.came()).then_some(())
        })
        .await;
    }
}

async fn speak(
    mut caller: TcpStream,
    says: &[&'static str],
    then: Then,
    state: &State,
) -> std::io::Result<()> {
    for (at, text) in says.iter().enumerate() {
        if at > 0 && !hear(&mut caller, state).await? {
            return Ok(());
        }
        caller.write_all(text.as_bytes()).await?;
    }
    match then {
        Then::Listen => while hear(&mut caller, state).await? {},
        Then::HangUp => {
            hear(&mut caller, state).await?;
        }
        Then::Repeat(bytes) => {
            let block = bytes.repeat(64 * 1024 / bytes.len());
            while state.sent.fetch_add(block.len(), Ordering::SeqCst) < SENT_BYTES_MAX {
                caller.write_all(&block).await?;
            }
        }
    }
    Ok(())
}

/// Listens to the client; whether it is still there.
async fn hear(caller: &mut TcpStream, state: &State) -> std::io::Result<bool> {
    let mut bytes = [0; 4096];
    let read = caller.read(&mut bytes).await?;
    let mut heard = state.heard.lock().expect("nobody panicked");
    heard.extend_from_slice(&bytes[..read]);
    assert!(heard.len() < HEARD_BYTES_MAX, "the client says too much");
    Ok(read > 0)
}
