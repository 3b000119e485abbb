//! The peers' packages, and the processes of those that say by themselves where they listen.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{Failure, Result};

/// The packages and programs of `bench/peers/NAME`, installed below this program's directory. Packages run no scripts there.
pub(crate) async fn installed(name: &str) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(name);
    let directory = std::env::current_exe()?.with_file_name(format!("bench-{name}"));
    fs::create_dir_all(&directory)?;
    for file in fs::read_dir(source)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), directory.join(file.file_name()))?;
        }
    }
    let installed = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
        ])
        .current_dir(&directory)
        .stdout(Stdio::null())
        .status()
        .await
        .map_err(|error| format!("cannot run npm, which the peers of {name} need: {error}"))?;
    if installed.success() {
        Ok(directory)
    } else {
        Err(Failure::from(format!(
            "npm could not install the peers of {name}"
        )))
    }
}

/// Starts a server that prints where it listens when it is ready, and ends with its standard input.
pub(crate) async fn start(command: &mut Command) -> Result<(Child, SocketAddr)> {
    let program = command.as_std().get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let line = BufReader::new(stdout).lines().next_line().await?;
    let line = line.ok_or_else(|| format!("{} did not start", program.display()))?;
    let ready: Value = serde_json::from_str(&line)?;
    let address = ready["gateway"].as_str().and_then(|text| text.parse().ok());
    let address = address.ok_or_else(|| format!("{} says no address", program.display()))?;
    Ok((child, address))
}
