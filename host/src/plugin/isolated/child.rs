//! The plugin's process. It is told which file, puts up its [`walls`](super::walls), and only then opens the file, makes an
//! instance of it, and works for the host until that closes the socket.

mod log;
mod tasks;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use nself_plugin_api::abi::{
    bytes::Str,
    capability::{clock::Clock, log::Log, task::Tasks},
    entry::{Capability, Entry, Host, HostProvider, RawHandle},
    error::Error,
    wire::{Garbled, Object, Reader, RemoteObject, Reply, Wire, Writer},
};

use super::{
    Begin, ROOT,
    instance::Made,
    link::{Connection, Out, Serving},
    message::Message,
    offered, walls,
};
use crate::{
    capability::{
        clock::{ClockCapability, SystemClock},
        error::error,
    },
    loader,
};

/// The first word of its command line.
pub(crate) const WORD: &str = "--nself-plugin";
/// Threads that plugins' futures are polled by.
const WORKERS: usize = 2;

/// Functions of the process's root object.
pub(super) mod root {
    /// `create(config) -> Made`
    pub(in super::super) const CREATE: u16 = 0;
}

/// Works for the host that this was started by.
pub(crate) fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("this process cannot begin: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut reads = BufReader::with_capacity(64 << 10, socket.try_clone()?);
    let mut line = Vec::new();
    reads.read_until(b'\n', &mut line)?;
    let begin: Begin = serde_json::from_slice(&line)?;
    let walls = walls::put_up(&begin.file, begin.memory_bytes)?;
    // No reactor: a plugin's process opens nothing.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_time()
        .build()?;
    let entered = runtime.enter();
    let file = Arc::new(File { begin, walls });
    let outbox = Box::new(Outbox(Mutex::new(socket)));
    let connection = Connection::new(Serving::Apart, outbox, file);
    drop(entered);
    // This thread waits for nothing but the host, so that whoever waits for an answer gets it.
    while let Some(message) = next(&mut reads) {
        let message = message?;
        if let Err(why) = connection.receive(message) {
            return Err(why.into());
        }
    }
    leave()
}

/// The host is gone, or wants this no more. What still runs goes as it is: the plugin was asked to stop before.
#[expect(
    clippy::disallowed_methods,
    reason = "a plugin's thread that does not end would keep the process"
)]
fn leave() -> ! {
    std::process::exit(0)
}

/// The next message; nothing at the end.
fn next(reads: &mut BufReader<UnixStream>) -> Option<io::Result<Message>> {
    let mut length = [0; 4];
    reads.read_exact(&mut length).ok()?;
    let mut bytes = BytesMut::zeroed(u32::from_le_bytes(length) as usize);
    reads.read_exact(&mut bytes).ok()?;
    let message = Message::decode(bytes.freeze());
    Some(message.map_err(|_| io::Error::other("the host is of another version")))
}

/// The way to the host. Who writes waits for it: a plugin is not faster than its host.
struct Outbox(Mutex<UnixStream>);

impl Out for Outbox {
    fn send(&self, message: Vec<u8>) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a host there is nothing to do; the reader sees its end.
        let _ = socket.write_all(&message);
    }
}

/// The plugin's file.
struct File {
    begin: Begin,
    walls: String,
}

impl Object for File {
    /// Makes an instance.
    fn serve(&self, method: u16, arguments: &mut Reader) -> Result<Reply, Garbled> {
        if method != root::CREATE {
            return Err(Garbled);
        }
        let config = String::from_utf8(arguments.bytes()?.into()).map_err(|_| Garbled)?;
        arguments.end()?;
        let (begin, walls) = (self.begin.clone(), self.walls.clone());
        let host = Host::new(Arc::new(Offered {
            root: RemoteObject::new(Arc::clone(arguments.link()), ROOT),
            is_machines_clock: begin.is_machines_clock,
        }));
        let made = async move {
            let entry = tokio::task::spawn_blocking(move || open(&begin));
            let entry = entry.await.map_err(|join| refused(&join))?;
            let entry = entry.map_err(|refusal| refused(&refusal))?;
            let instance = entry.create(host, &config).await?;
            let jobs = instance.job_handlers();
            Ok(Made {
                instance,
                jobs,
                walls,
            })
        };
        Ok(Reply::later(arguments.link(), made))
    }
}

fn refused(why: &impl std::fmt::Display) -> Error {
    error(
        500,
        "PLUGIN_NOT_OPENED",
        why.to_string(),
        "it was not opened",
    )
}

fn open(begin: &Begin) -> Result<&'static Entry, loader::Refusal> {
    let loaded = loader::open(&loader::Kept::handed(begin.file.clone()))?;
    loader::entry(&loaded, begin.major, begin.needs)
}

/// What the host offers.
struct Offered {
    root: RemoteObject,
    is_machines_clock: bool,
}

impl Offered {
    fn ask(&self, id: &str) -> Option<RemoteObject> {
        let asked = self.root.arguments().bytes(id.as_bytes());
        let found: Result<Found, Error> = self.root.ask(offered::root::CAPABILITY, asked);
        found.ok()?.0
    }
}

/// An object, or nothing.
struct Found(Option<RemoteObject>);

impl Wire for Found {
    fn send(self, out: Writer) -> Writer {
        // Only what is kept here can be sent, and this is kept by the other side.
        out.with(0_u32)
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        match u32::receive(input)? {
            0 => Ok(Self(None)),
            _ => input.object().map(|object| Self(Some(object))),
        }
    }
}

impl HostProvider for Offered {
    fn capability(&self, id: Str<'_>) -> RawHandle {
        let id = id.as_str();
        let capability = match id {
            Clock::ID if self.is_machines_clock => Some(Capability::clock(Clock::new(Arc::new(
                ClockCapability::new(Arc::new(SystemClock::default())),
            )))),
            Log::ID => self.ask(id).map(log::capability).map(Capability::log),
            Tasks::ID => {
                let object = self.ask(id);
                object.map(tasks::capability).map(Capability::task)
            }
            _ => self
                .ask(id)
                .and_then(|object| Capability::remote(id, object)),
        };
        capability.map(Capability::into_raw).unwrap_or_default()
    }
}
