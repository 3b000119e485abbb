//! Handlers that reach for what is not the plugin's, and say what became of it.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::parent_id},
    },
    process::Command,
};

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use crate::Bad;

/// What is reached for.
#[derive(Deserialize, Schema)]
pub(crate) struct Wanted {
    /// A path or an address.
    #[serde(default)]
    at: String,
}

/// More than plugins are given.
const MUCH: usize = 3 << 30;

pub(crate) async fn reach(
    _: Cx<Bad>,
    Path(what): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<String>> {
    let at = wanted.at;
    let reached = match &*what {
        "read" => fs::read(at).map(drop),
        "list" => fs::read_dir(at).map(drop),
        "write" => fs::write(at, "reached"),
        "connect" => TcpStream::connect(at).map(drop),
        "listen" => TcpListener::bind(at).map(drop),
        "socket" => UnixStream::connect(at).map(drop),
        "program" => Command::new(at).status().map(drop),
        "parent" => fs::read(format!("/proc/{}/environ", parent_id())).map(drop),
        "memory" => fill(),
        "host" => garble(),
        _ => {
            return Err(Error::new(
                404,
                "BAD_UNKNOWN",
                "it reaches for no such thing",
            ));
        }
    };
    Ok(Json(match reached {
        Ok(()) => "reached".to_owned(),
        Err(error) => error.kind().to_string(),
    }))
}

/// Takes memory and writes to it.
fn fill() -> io::Result<()> {
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(MUCH)?;
    bytes.resize(MUCH, 1);
    Ok(())
}

/// Says something to the host that makes no sense: in a process of its own, the standard input is the way to it.
fn garble() -> io::Result<()> {
    let mut way = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    way.write_all(&[0xff; 64])
}
